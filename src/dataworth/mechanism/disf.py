"""DiSF: documents whose vectors, together, point in all directions alike.

Fan et al. 2025, "Combatting dimensional collapse in LLM pre-training data via submodular file
selection", ICLR 2025, arXiv 2504.20644. Within a batch the next document is the one that makes the
Frobenius norm of the chosen vectors' correlation matrix least. For unit vectors f and the second
moment C = mean f fᵀ (our normaliser, since the paper's was not at hand), ‖C‖² is the mean of all
squared inner products, so the next one has the least sum of squared cosines with those before. The
paper calls the objective weakly submodular; a bound for this order is not claimed here.
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
class DiSF(OverVectors):
    """Order by how little the chosen vectors' covariance departs from a sphere."""

    name: ClassVar[str] = "disf"
    needs_utility: ClassVar[bool] = False

    def walk(
        self, cosine: NDArray[np.float32], utility: NDArray[np.float64] | None, seed: int
    ) -> NDArray[np.int64]:
        """Return the greedy order of a batch. A document without a direction comes last."""
        square = cosine.astype(np.float64) ** 2
        crowded = np.where(np.diag(square) > 0, 0.0, float(len(square) + 1))
        order = np.empty(len(square), np.int64)
        for step in range(len(order)):
            row = int(crowded.argmin())
            order[step] = row
            crowded += square[row]
            crowded[row] = np.inf
        return order
