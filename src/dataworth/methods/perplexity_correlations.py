"""Perplexity correlations: text whose losses rise and fall with benchmark errors over models.

Thrush, Potts and Hashimoto, "Improving Pretraining Data Using Perplexity Correlations", 2024, arXiv
2409.05816. Each domain, or document, has an estimate of how its loss goes with the models' errors;
a projection makes weights of them, at most each one's share of the pool over `ratio`; a classifier
tells the domains with a weight from the others, and scores the pool. Departures: the size of a
domain is in bytes of the pool, all of its documents are read, and see `from_losses.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.features.correlations import ESTIMATORS, PROJECTIONS
from dataworth.features.loss_table import LossTable
from dataworth.methods.from_losses import FromLosses
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class PerplexityCorrelations(FromLosses):
    """Log odds that a document is of domains whose losses go with the errors of models."""

    name: ClassVar[str] = "perplexity_correlations"
    estimator: Literal["spearmanr", "sign_sign", "sign_cdf", "sign", "product"] = option(
        "spearmanr", help="How correlation is estimated; product and sign hang on outliers."
    )
    projection: Literal["linear", "l2"] = option(
        "linear", help="How estimates become weights: the best first, or the nearest weights."
    )
    ratio: float = option(
        0.1, help="Share of the pool that no domain is repeated in.", above=0, maximum=1
    )

    def labels(self, table: LossTable, sizes: NDArray[np.float64]) -> NDArray[np.int8]:
        """Return 1 for a column with a weight, -1 for others."""
        estimates = ESTIMATORS[self.estimator](table.losses, table.errors)
        weights = PROJECTIONS[self.projection](estimates, sizes / sizes.sum() / self.ratio)
        return np.where(weights > 0, 1, -1).astype(np.int8)
