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

from dataworth.corpus.documents import Column, Documents
from dataworth.corpus.uid import checks, uids
from dataworth.engine.grouping import Groups, Pairs, connect
from dataworth.features.grams import words_of
from dataworth.methods.base import (
    Batch,
    Computed,
    Pool,
    State,
    Targets,
    copy_columns,
)
from dataworth.options import option
from dataworth.registry import register


@dataclass(frozen=True)
class Folded:
    """A hash of a document's words in their order, or with `second` another one."""

    second: bool

    @property
    def name(self) -> str:
        """Its name among what travels."""
        return f"folded_{int(self.second)}"

    def values(self, documents: Documents) -> NDArray[np.uint64]:
        """Return the hashes, uint64 [n]; 0 without a word."""
        words = words_of(documents, punctuation=False)
        data = words.hashes.view(np.uint8)
        hashed = (checks if self.second else uids)(data, words.spans[:-1] * 8, words.spans[1:] * 8)
        return np.where(words.counts > 0, hashed, np.uint64(0))


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
    normalise: bool = option(
        False,
        help="Compare texts by their words: case, accents, signs and white space do not matter. "
        "What travels is then a second hash of the words, not the text.",
    )

    @property
    def carries(self) -> tuple[str | Computed, ...]:
        """The numbers or texts that candidates are compared by."""
        return (Folded(True),) if self.normalise else ("text",)

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop`, and the cluster: the uid of the text."""
        return copy_columns(self.name)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Learn nothing."""
        return {}

    def keys(self, batch: Batch, state: State) -> NDArray[np.uint64]:
        """Return the uid, or a hash of the words; 0 for a text without a word."""
        if self.normalise:
            return np.asarray(batch.values(Folded(False)), np.uint64)[:, None]
        return batch.documents.uid[:, None]

    def rank(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """A second hash: should two texts share a uid, copies of each still lie side by side."""
        if self.normalise:
            return np.zeros(len(batch))
        return np.asarray(batch.arrow("check").to_numpy(), np.float64)

    def resolve(self, groups: Groups, state: State) -> Pairs:
        """Candidates: who shares a uid."""
        return connect(groups, 2)

    def verify(self, pairs: Groups, state: State) -> NDArray[np.bool_]:
        """Tell if the texts are the same, byte by byte, or by a second hash of their words."""
        texts = next(iter(pairs.carried.values()))
        even = np.arange(0, len(texts), 2)
        return np.asarray(pc.equal(texts.take(even), texts.take(even + 1)))
