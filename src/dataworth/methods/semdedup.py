"""SemDeDup: documents whose embedding is nearly that of another one are dropped.

Abbas, Tirumala, Simig, Ganguli and Morcos 2023, arXiv 2303.09540. In each cluster of k-means
documents come by distance from the centroid, and one is dropped whose cosine with any before it,
dropped ones too, is above 1 - epsilon. Departures: a sample's mean is taken from the embeddings
first (`centre`), and the sample bounds the number of clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Column
from dataworth.corpus.uid import uniform
from dataworth.engine.grouping import Groups
from dataworth.features.embeddings import kmeans, nearest_before, unit_rows
from dataworth.methods.base import Batch, Pool, State, Targets, copy_columns, matrix
from dataworth.methods.embedding_similarity import EmbeddingSimilarity
from dataworth.options import option
from dataworth.registry import register

_DECIMALS = 5  # of a cosine: the rest hangs on the order in which it was summed


@register
@dataclass(frozen=True)
class SemDeDup:
    """Keep one of documents that mean nearly the same, by cosine of embeddings within clusters.

    The column `similarity` is the largest cosine with a document before it in its cluster: it tells
    what another `epsilon` would drop.
    """

    name: ClassVar[str] = "semdedup"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    answers: ClassVar[Literal["columns"]] = "columns"
    reasons: ClassVar[tuple[str, ...]] = ("semantic duplicate",)
    embedder: Literal["sentence", "words", "states", "tokens", "ngrams"] = option(
        "sentence", help="As of `embedding_similarity`."
    )
    model: str = option("", help="Folder or name of the embedder's model.", content=True)
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
    centre: bool = option(True, help="Take the sample's mean away.")

    def __post_init__(self) -> None:
        EmbeddingSimilarity(self.embedder, self.model)

    @cached_property
    def feature(self) -> Any:
        """The embedder."""
        return EmbeddingSimilarity(self.embedder, self.model).feature

    def check(self) -> None:
        """Raise MissingExtra or ConfigError for an extra or a model that is not there."""
        EmbeddingSimilarity(self.embedder, self.model).check()

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
        vectors = Batch(pool.sample()).values(self.feature)
        mean = np.zeros(self.feature.dimension, np.float32)
        if not len(vectors):
            return {"mean": mean, "centroids": mean[None]}
        if self.centre:
            mean = vectors.mean(0)
        k = min(self.clusters, max(1, len(vectors) // 32))
        found = kmeans(unit_rows(vectors - mean), k, seed=pool.seed, rounds=100)
        return {"mean": mean, "centroids": unit_rows(found.centroids)}

    def _cosines(self, batch: Batch, state: State) -> NDArray[np.float32]:
        centroids: NDArray[np.float32] = state["centroids"]
        return unit_rows(batch.values(self.feature) - state["mean"]) @ centroids.T

    def keys(self, batch: Batch, state: State) -> NDArray[np.uint64]:
        """The nearest centroid, counted from 1."""
        nearest = self._cosines(batch, state).argmax(1)
        return np.asarray(nearest[:, None] + 1, np.uint64)

    def rank(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Cosine with the centroid, rising for "hard"."""
        if self.keep == "random":
            return uniform(0, batch.documents.uid)
        cosine = np.round(self._cosines(batch, state).max(1).astype(np.float64), _DECIMALS)
        return np.asarray(cosine if self.keep == "hard" else -cosine)

    def resolve(self, groups: Groups, state: State) -> dict[str, pa.Array]:
        """Drop what is too near to any document before it in its cluster."""
        vectors = unit_rows(matrix(groups.carried[self.feature.name]) - state["mean"])
        nearest = np.round(nearest_before(vectors, groups.starts), _DECIMALS)
        cluster = np.repeat(groups.key - np.uint64(1), groups.sizes)
        drop = (nearest > np.float32(1 - self.epsilon)).astype(np.uint8)
        names = [column.name for column in self.columns(())]
        return dict(zip(names, map(pa.array, (drop, cluster, nearest)), strict=True))
