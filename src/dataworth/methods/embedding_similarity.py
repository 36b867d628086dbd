"""Embedding similarity: the cosine of a document with the target's texts.

The plain baseline of selection by embeddings (so in Xia et al., "LESS", ICML 2024, as RDS with the
states of a language model). What all documents of the pool have in common is taken away first, or
all cosines are near 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.features.embeddings import unit_rows
from dataworth.methods.base import Batch, Pool, State, Targets
from dataworth.methods.embedded import Embedded
from dataworth.methods.per_query import PerQuery
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class EmbeddingSimilarity(Embedded, PerQuery):
    """The mean cosine of a document with the target's texts, or with its nearest ones."""

    name: ClassVar[str] = "embedding_similarity"
    unit = "cosine"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    nearest: int = option(
        0, help="How many of the target's texts count, the nearest; 0: all.", minimum=0
    )
    sample: int = option(1000, help="Documents of the pool that the mean is of.", minimum=1)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Embed the targets, and the sample for what is taken away."""
        embedded = self.embed(pool.sample(self.sample) if self.centre else Documents.from_texts([]))
        learned = self.learn_mean(embedded)
        vectors = {
            f"target_{t}": unit_rows(self.embed(targets.fit[name]) - learned["mean"])
            for t, name in enumerate(targets.names)
        }
        return {**learned, **vectors, "queries": [len(vectors[name]) for name in vectors]}

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return a utility for each target. RunError for another embedder than was fitted with."""
        mine = self.unit_vectors(batch, state).astype(np.float64)
        columns = []
        for t in range(len(state.targets)):
            theirs = state.array(f"target_{t}", np.float32, (None, mine.shape[1]))
            if self.per_query:
                columns += list(theirs.astype(np.float64) @ mine.T)
                continue
            keep = min(self.nearest or len(theirs), len(theirs))
            if keep == len(theirs):
                columns.append(mine @ theirs.mean(0, dtype=np.float64))
            else:
                columns.append(_nearest(mine @ theirs.T.astype(np.float64), keep))
        return np.stack(columns, 1)

    def reduce(self, values: NDArray[np.float64], target: int, state: State) -> NDArray[np.float64]:
        """Return the mean cosine with the nearest texts, [n]."""
        return _nearest(values, min(self.nearest or values.shape[1], values.shape[1]))


def _nearest(cosines: NDArray[np.float64], keep: int) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.partition(cosines, -keep, axis=1)[:, -keep:].mean(1)
    return mean
