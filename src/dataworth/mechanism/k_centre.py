"""k-centre: the document farthest from all that are chosen comes next.

Gonzalez 1985, "Clustering to minimize the maximum intercluster distance": of each batch, the
greatest distance from a document to the nearest of the first k is at most twice the least possible.
It is the selection of core-sets of Sener and Savarese 2018 (arXiv 1708.00489) without labels. The
first document of a batch is the one of largest hash. It looks for what is unlike all else, so
damaged text comes early: filter before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.mechanism.over_vectors import OverVectors
from dataworth.registry import register


@register
@dataclass(frozen=True)
class KCentre(OverVectors):
    """Order by the distance to the nearest document before, the farthest first."""

    name: ClassVar[str] = "k_centre"
    needs_utility: ClassVar[bool] = False

    def walk(
        self, cosine: NDArray[np.float32], utility: NDArray[np.float64] | None, seed: int
    ) -> NDArray[np.int64]:
        """Return the farthest-first order of a batch, by Euclidean distance of unit vectors."""
        length = np.diag(cosine)
        near = np.full(len(cosine), np.inf, np.float32)
        order = np.empty(len(cosine), np.int64)
        row = 0
        for step in range(len(order)):
            order[step] = row
            # Squared distances; -1 marks what is chosen, which copies of it (0) come before.
            np.minimum(near, length + length[row] - 2 * cosine[row], out=near)
            np.maximum(near, 0, out=near, where=near > -1)
            near[row] = -1
            row = int(near.argmax())
        return order
