"""Cluster-balanced sampling: clusters give in proportion to a power of their size.

Common practice without one source; the form is ours. A cluster of n documents is to give in
proportion to n^exponent: 1 is the pool as it is, 0 all clusters alike, and no cluster gives more
than it has. Weights n^(exponent - 1) and sampling without replacement do that; for `inside` other
than "random" a document of a cluster's nearest or farthest share q has the utility
(exponent - 1) ln n - ln q, whose best are exactly the capped quotas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.methods.embedded import Embedded, nearest_centroid, sample_clusters
from dataworth.options import option
from dataworth.registry import register

_GRID = np.linspace(0, 1, 129)


@register
@dataclass(frozen=True)
class ClusterBalanced(Embedded, Score):
    """Log weight of a document that evens clusters out."""

    name: ClassVar[str] = "cluster_balanced"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    unit = "nats"
    clusters: int = option(
        100, help="Clusters of k-means, and one for every 32 documents of the sample.", minimum=1
    )
    exponent: float = option(
        0.5, help="Clusters of n documents give in proportion to n^exponent.", minimum=0, maximum=1
    )
    inside: Literal["random", "nearest", "farthest"] = option(
        "random", help="Which documents of a cluster come first, by distance from its centroid."
    )

    @property
    def mechanism(self) -> str:
        """Sampling by the weights, or the largest first."""
        return "gumbel_top_k(temperature=1)" if self.inside == "random" else "top_k"

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Cluster the sample; the clusters' sizes, and how far their documents lie."""
        learned, vectors, clustered = sample_clusters(self, pool, self.clusters)
        own = 1 - np.einsum("nd,nd->n", vectors, learned["centroids"][clustered.labels])
        sizes = clustered.sizes
        spread = np.stack(
            [
                np.quantile(own[clustered.labels == c], _GRID) if sizes[c] else np.zeros(len(_GRID))
                for c in range(len(sizes))
            ]
        )
        # A cluster that the sample has nothing of counts as one document.
        sizes = np.maximum(sizes, 1).astype(np.float64)
        return {**learned, "sizes": sizes, "distance": spread}

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the utility, [n, 1]."""
        nearest, cosine = nearest_centroid(self, batch, state)
        sizes = state.array("sizes", np.float64, (len(state["centroids"]),))
        utility: NDArray[np.float64] = (self.exponent - 1) * np.log(sizes[nearest])
        if self.inside == "random":
            return utility[:, None]
        spread = state.array("distance", np.float64, (len(sizes), len(_GRID)))
        for c in np.unique(nearest):
            rows = np.flatnonzero(nearest == c)
            before = np.interp(1 - cosine[rows], spread[c], _GRID)
            if self.inside == "farthest":
                before = 1 - before
            # At least half a document of the sample, where one lies farther out than all of it.
            utility[rows] -= np.log(np.maximum(before, 0.5 / sizes[c]))
        return utility[:, None]
