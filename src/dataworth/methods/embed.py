"""Embed: each document's vector, for the mechanisms that compare documents.

The column `embedding:embed` holds the unit vector without the mean of the pool's sample, float32:
1 KB a document with 256 numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from dataworth.corpus.documents import Column
from dataworth.methods.base import Batch, Pool, State, Targets
from dataworth.methods.embedded import Embedded
from dataworth.registry import register
from dataworth.table.table import EMBEDDING


@register
@dataclass(frozen=True)
class Embed(Embedded):
    """Write an embedding of each document into the table."""

    name: ClassVar[str] = "embed"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return the vectors, float32 [d]; this loads the embedder."""
        kind = pa.list_(pa.float32(), self.feature.dimension)
        return (Column(f"{EMBEDDING}{self.name}", kind, "unit vector", self.name),)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Embed the sample, for its mean."""
        return self.learn_mean(self.embed(pool.sample()))

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return the vectors, [n, d]."""
        return {f"{EMBEDDING}{self.name}": self.unit_vectors(batch, state)}
