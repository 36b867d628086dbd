"""SemDeDup: documents whose embedding is nearly that of another one are dropped.

Abbas, Tirumala, Simig, Ganguli and Morcos 2023, arXiv 2303.09540. In each cluster of k-means
documents come by distance from the centroid, and one is dropped whose cosine with any before it,
dropped ones too, is above 1 - epsilon. Departures: a sample's mean is taken from the embeddings
first (`centre`), and the sample bounds the number of clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Column
from dataworth.corpus.uid import uniform
from dataworth.engine.grouping import Groups
from dataworth.features.embeddings import nearest_before, unit_rows
from dataworth.methods.base import Batch, Pool, State, Targets, copy_columns, matrix
from dataworth.methods.embedded import Embedded, nearest_centroid, sample_clusters
from dataworth.options import option
from dataworth.registry import register

_DECIMALS = 5  # of a cosine: the rest hangs on the order in which it was summed


@register
@dataclass(frozen=True)
class SemDeDup(Embedded):
    """Keep one of documents that mean nearly the same, by cosine of embeddings within clusters.

    The column `similarity` is the largest cosine with a document before it in its cluster: it tells
    what another `epsilon` would drop.
    """

    name: ClassVar[str] = "semdedup"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    answers: ClassVar[Literal["columns"]] = "columns"
    reasons: ClassVar[tuple[str, ...]] = ("semantic duplicate",)
    epsilon: float = option(
        0.05,
        help="A document goes whose cosine with one before it is above 1 - epsilon; what fits "
        "belongs to the embedder.",
        above=0,
        maximum=2,
    )
    clusters: int = option(
        11_000,
        help="At most so many (as on C4), and one for every 32 documents of the sample.",
        minimum=1,
    )
    keep: Literal["hard", "easy", "random"] = option(
        "hard",
        help='Which document leads its cluster: "hard" is furthest from the centroid, "easy" '
        "nearest.",
    )

    @property
    def carries(self) -> tuple[Any, ...]:
        """The embedding."""
        return (self.feature,)

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop`, the cluster of k-means, and the greatest cosine with a document before."""
        similar = Column(f"similarity:{self.name}", pa.float32(), "cosine", self.name)
        return (*copy_columns(self.name), similar)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Fit the mean and the centroids on the sample."""
        if not len(pool.sample()):
            mean = self.learn_mean(np.zeros((0, self.feature.dimension), np.float32))
            return {**mean, "centroids": mean["mean"][None]}
        return sample_clusters(self, pool, self.clusters)[0]

    def keys(self, batch: Batch, state: State) -> NDArray[np.uint64]:
        """Return the nearest centroid, counted from 1."""
        nearest, _ = nearest_centroid(self, batch, state)
        return np.asarray(nearest[:, None] + 1, np.uint64)

    def rank(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Cosine with the centroid, rising for "hard"."""
        if self.keep == "random":
            return uniform(0, batch.documents.uid)
        cosine = np.round(nearest_centroid(self, batch, state)[1], _DECIMALS)
        return np.asarray(cosine if self.keep == "hard" else -cosine)

    def resolve(self, groups: Groups, state: State) -> dict[str, pa.Array]:
        """Drop what is too near to any document before it in its cluster."""
        vectors = unit_rows(matrix(groups.carried[self.feature.name]) - state["mean"])
        nearest = np.round(nearest_before(vectors, groups.starts), _DECIMALS)
        cluster = np.repeat(groups.key - np.uint64(1), groups.sizes)
        drop = (nearest > np.float32(1 - self.epsilon)).astype(np.uint8)
        names = [column.name for column in self.columns(())]
        return dict(zip(names, map(pa.array, (drop, cluster, nearest)), strict=True))
