"""Density-based pruning: fewer documents from clusters that are tight or near to others.

Abbas, Rusak, Tirumala, Brendel, Chaudhuri and Morcos 2024, "Effective pruning of web-scale datasets
based on complexity of concept clusters", ICLR 2024, arXiv 2401.04578. A cluster's complexity is the
mean distance of its documents from the centroid times the mean distance of the centroid from the 20
nearest ones; a softmax of it over the temperature gives the clusters' shares of what is kept,
within bounds; within a cluster those farthest from the centroid are kept.

The number to keep is the budget's, which a step does not know. So the utility of a document is the
least share of the pool at which its cluster keeps it, taken negative: at any budget the best are
those that the published procedure keeps for it, up to the sample's error. It wants duplicates gone:
run a deduplication by meaning before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.features.embeddings.quotas import bounded_quotas
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.methods.embedded import Embedded, nearest_centroid, sample_clusters
from dataworth.options import option
from dataworth.registry import register

_GRID = np.linspace(0, 1, 129)


@register
@dataclass(frozen=True)
class Density(Embedded, Score):
    """Share of the pool at which density-based pruning starts to keep a document, negative."""

    name: ClassVar[str] = "density"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    unit = "share of the pool"
    clusters: int = option(
        500,
        help="Clusters of k-means (paper: 500), and one for every 32 documents of the sample.",
        minimum=1,
    )
    temperature: float = option(
        0.1, help="Of the softmax of complexities (paper: 0.1, released code: 0.5).", above=0
    )
    neighbours: int = option(20, help="Nearest other centroids (paper: 20).", minimum=1)
    least: float = option(
        0.5,
        help="A cluster keeps at least this much of an equal share, but for one document (released "
        "code: 0.5; 0: one document).",
        minimum=0,
        maximum=1,
    )

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Cluster the sample; the shares that clusters keep, and how far their documents lie."""
        learned, vectors, clustered = sample_clusters(self, pool, self.clusters)
        centroids = learned["centroids"]
        sizes = clustered.sizes.astype(np.float64)
        own = 1 - np.einsum("nd,nd->n", vectors, centroids[clustered.labels]).astype(np.float64)
        worth = complexity(own, clustered.labels, centroids, self.neighbours)
        softmax = np.exp((worth - worth.max()) / self.temperature)
        kept = kept_shares(softmax / softmax.sum(), sizes, self.least)
        spread = np.stack(
            [
                np.quantile(own[clustered.labels == c], _GRID) if sizes[c] else np.zeros(len(_GRID))
                for c in range(len(sizes))
            ]
        )
        return {**learned, "kept": kept, "distance": spread, "complexity": worth}

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the utility, [n, 1]."""
        nearest, cosine = nearest_centroid(self, batch, state)
        shape = (len(state["centroids"]), len(_GRID))
        kept, spread = (state.array(name, np.float64, shape) for name in ("kept", "distance"))
        utility = np.empty((len(nearest), 1))
        for c in np.unique(nearest):
            rows = np.flatnonzero(nearest == c)
            # The share of the cluster that lies farther out than a document.
            farther = 1 - np.interp(1 - cosine[rows], spread[c], _GRID)
            utility[rows, 0] = -np.interp(farther, kept[c], _GRID)
        return utility


def complexity(
    distance: NDArray[np.float64],
    labels: NDArray[np.int64],
    centroids: NDArray[np.float32],
    neighbours: int,
) -> NDArray[np.float64]:
    """Return the complexity of each cluster, [k]: spread within times distance to others.

    Parameters
    ----------
    distance
        Cosine distance of each document from its centroid, [n].
    labels
        Cluster of each document, [n].
    centroids
        Unit vectors, [k, d].
    neighbours
        Nearest other centroids that count. A cluster that is empty, or alone, has the mean of
        the others, and 1 where there is none.
    """
    k = len(centroids)
    sizes = np.bincount(labels, minlength=k)
    within = np.bincount(labels, distance, minlength=k) / np.where(sizes > 0, sizes, np.nan)
    apart = 1 - centroids.astype(np.float64) @ centroids.T.astype(np.float64)
    np.fill_diagonal(apart, np.inf)
    nearest = np.sort(apart, 1)[:, : min(neighbours, k - 1)]
    between = nearest.mean(1) if k > 1 else np.full(k, np.nan)
    worth = within * between
    known = worth[np.isfinite(worth)]
    return np.where(np.isfinite(worth), worth, known.mean() if len(known) else 1.0)


def kept_shares(
    shares: NDArray[np.float64], sizes: NDArray[np.float64], least: float
) -> NDArray[np.float64]:
    """Return the share of each cluster that is kept at each point of the grid, [k, points].

    `shares` [k] of what is kept, adding up to 1; `sizes` [k]; `least` as the option.
    """
    kept = np.zeros((len(sizes), len(_GRID)))
    for point, share in enumerate(_GRID):
        total = share * sizes.sum()
        low = np.floor(least * total / len(sizes)) if least else 1.0
        low = np.minimum(low, np.maximum(sizes - 1, 0))
        if low.sum() > total:  # fewer documents than clusters
            low *= total / low.sum()
        kept[:, point] = bounded_quotas(shares * total, low, sizes) / np.maximum(sizes, 1)
    # A floor rounds, so a share may fall by less than a document where the whole grows. And it
    # rises everywhere by a little, so that the least point that reaches a share is one.
    np.maximum.accumulate(kept, axis=1, out=kept)
    kept += 1e-9 * np.arange(len(_GRID))
    return kept
