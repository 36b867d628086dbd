"""k-means over vectors, and the balanced order of documents that clusters give.

Plain NumPy: blocks of a matrix product, the same result for the same seed on one machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.uid import hash_uid
from dataworth.errors import ConfigError
from dataworth.features.embeddings.base import Vectors

_BLOCK = 1 << 25  # products that lie in memory at once
_STREAM = 0x6B6D65616E73  # of `hash_uid`


@dataclass(frozen=True)
class Clusters:
    """`centroids` float32 [k, d]; `labels` int64 [n]; `distance` float32 [n], squared, to its own.

    `inertia`: the mean of `distance` after each round, falling.
    """

    centroids: Vectors
    labels: NDArray[np.int64]
    distance: NDArray[np.float32]
    inertia: list[float]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Documents of each cluster, int64 [k]."""
        return np.bincount(self.labels, minlength=len(self.centroids))


def kmeans(vectors: Vectors, k: int, *, seed: int = 0, rounds: int = 25) -> Clusters:
    """Run Lloyd's algorithm from `k` random rows until no label changes or `rounds` passed.

    A cluster that lost all its documents begins again at the document that lies farthest from its
    centroid. For cosine give rows of length 1. Raises ConfigError unless 1 ≤ k ≤ n.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if not 1 <= k <= len(vectors):
        raise ConfigError(f"k must lie between 1 and {len(vectors)}, not {k}")
    order = np.argsort(hash_uid(seed, np.arange(len(vectors), dtype=np.uint64), _STREAM))
    # Equal documents would make equal centroids: those that differ come first.
    _, first = np.unique(vectors[order], axis=0, return_index=True)
    different = np.zeros(len(order), np.bool_)
    different[first] = True
    order = np.concatenate([order[different], order[~different]])
    centroids = vectors[order[:k]].copy()
    labels, distance = _assign(vectors, centroids)
    inertia = [float(distance.mean())]
    for _ in range(rounds):
        centroids = _means(vectors, labels, distance, k)
        before = labels
        labels, distance = _assign(vectors, centroids)
        inertia.append(float(distance.mean()))
        if np.array_equal(labels, before):
            break
    return Clusters(centroids, labels, distance, inertia)


def _assign(vectors: Vectors, centroids: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return each vector's nearest centroid, the first of a tie, and its squared distance."""
    labels = np.empty(len(vectors), np.int64)
    distance = np.empty(len(vectors), np.float32)
    half = 0.5 * np.einsum("kd,kd->k", centroids, centroids)
    step = max(1, _BLOCK // len(centroids))
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step]
        nearness = block @ centroids.T - half
        found = nearness.argmax(axis=1)
        labels[start : start + step] = found
        own = block - centroids[found]
        distance[start : start + step] = np.einsum("nd,nd->n", own, own)
    return labels, distance


def _means(
    vectors: Vectors, labels: NDArray[np.int64], distance: NDArray[np.float32], k: int
) -> Vectors:
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=k)
    full = np.flatnonzero(sizes)
    starts = (np.cumsum(sizes) - sizes)[full]
    centroids = np.empty((k, vectors.shape[1]), np.float32)
    centroids[full] = np.add.reduceat(vectors[order], starts, axis=0) / sizes[full, None]
    empty = np.flatnonzero(sizes == 0)
    centroids[empty] = vectors[np.argsort(-distance, kind="stable")[: len(empty)]]
    return centroids


def round_robin(
    labels: NDArray[np.int64], keys: NDArray[np.uint64], *, seed: int = 0
) -> NDArray[np.int64]:
    """Order all documents so that each cluster gives one in turn, int64 [n].

    Within a cluster, and among the clusters of one turn, by the seeded hash of `keys` (uid). Any
    beginning of the order is balanced: no cluster has two documents more than another that has
    some left.
    """
    hashed = hash_uid(seed, keys, _STREAM + 1)
    order = np.lexsort((hashed, labels))
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    turn = np.arange(len(labels)) - starts[labels[order]]
    return order[np.lexsort((hashed[order], turn))]
