"""Embed: each document's vector, for mechanisms that compare documents.

The column `embedding:embed` holds the unit vector without the mean of the pool's sample. With a
target, the utility is the greatest cosine with one of its texts: what facility location calls a
document's similarity to the queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Column
from dataworth.features.embeddings import Vectors, unit_rows
from dataworth.methods.base import Batch, Pool, State, Targets, utility_column
from dataworth.methods.embedded import Embedded
from dataworth.registry import register
from dataworth.table.table import EMBEDDING

_BLOCK = 1024  # texts of a target that are compared with a batch at once


@register
@dataclass(frozen=True)
class Embed(Embedded):
    """Write an embedding of each document, and how near it is to the nearest text of a target."""

    name: ClassVar[str] = "embed"
    version: ClassVar[int] = 1

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return the vectors, float32 [d], and a utility for each target."""
        kind = pa.list_(pa.float32(), self.feature.dimension)
        vectors = Column(f"{EMBEDDING}{self.name}", kind, "unit vector", self.name)
        return (vectors, *(utility_column(self.name, name, "cosine") for name in targets))

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Embed the sample, for its mean, and the targets."""
        learned = self.learn_mean(self.embed(pool.sample()))
        return {
            **learned,
            **{
                f"target_{t}": unit_rows(self.embed(targets.fit[name]) - learned["mean"])
                for t, name in enumerate(targets.names)
            },
        }

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return the vectors and the utilities."""
        vectors = self.unit_vectors(batch, state)
        names = [column.name for column in self.columns(state.targets)]
        targets = [
            state.array(f"target_{t}", np.float32, (None, vectors.shape[1]))
            for t in range(len(state.targets))
        ]
        utilities = [greatest_cosine(vectors, target) for target in targets]
        return dict(zip(names, [vectors, *utilities], strict=True))


def greatest_cosine(vectors: Vectors, others: Vectors) -> NDArray[np.float64]:
    """Return the greatest inner product of each vector with one of some others, float64 [n]."""
    best = np.full(len(vectors), -1.0, np.float32)
    for start in range(0, len(others), _BLOCK):
        np.maximum(best, (vectors @ others[start : start + _BLOCK].T).max(1), out=best)
    return best.astype(np.float64)
