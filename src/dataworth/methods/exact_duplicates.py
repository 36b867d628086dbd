"""Exact duplicates: of documents with one text, the first stays.

Documents meet by uid, and before one is called a copy of another their texts are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataworth.corpus.documents import Column
from dataworth.engine.grouping import Groups, Pairs, connect
from dataworth.methods.base import (
    Batch,
    Pool,
    State,
    Targets,
    copy_columns,
)
from dataworth.registry import register


@register
@dataclass(frozen=True)
class ExactDuplicates:
    """Keep the first of documents with one text, in the order of the pool; the others are dropped.

    Chats are copies where who says what is the same too.
    """

    name: ClassVar[str] = "exact_duplicates"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    answers: ClassVar[Literal["pairs"]] = "pairs"
    reasons: ClassVar[tuple[str, ...]] = ("exact duplicate",)
    carries: ClassVar[tuple[str, ...]] = ("text",)

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop`, and the cluster: the uid of the text."""
        return copy_columns(self.name)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Learn nothing."""
        return {}

    def keys(self, batch: Batch, state: State) -> NDArray[np.uint64]:
        """The uid."""
        return batch.documents.uid[:, None]

    def rank(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """A second hash: should two texts share a uid, copies of each still lie side by side."""
        return np.asarray(batch.arrow("check").to_numpy(), np.float64)

    def resolve(self, groups: Groups, state: State) -> Pairs:
        """Candidates: who shares a uid."""
        return connect(groups, 2)

    def verify(self, pairs: Groups, state: State) -> NDArray[np.bool_]:
        """Whether the texts are the same, byte by byte."""
        texts = pairs.carried["text"]
        even = np.arange(0, len(texts), 2)
        return np.asarray(pc.equal(texts.take(even), texts.take(even + 1)))
