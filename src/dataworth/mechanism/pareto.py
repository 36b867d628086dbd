"""Pareto: the noisy threshold with which GPT-3's pre-training data were filtered.

A document of quality s in [0, 1] is accepted where a Pareto(alpha) number exceeds 1 - s, that is
with probability (2 - s)^-alpha: 0.00195 at 0, 0.0260 at 0.5, 0.424 at 0.9 and 1 at 1 for alpha = 9
(Brown et al. 2020, appendix A, with NumPy's Lomax numbers). Passes over the pool are repeated
until enough is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import DataworthError
from dataworth.mechanism.base import (
    CHOICE,
    Order,
    Table,
    by_cost,
    eligible_rows,
    only_utility,
    uniforms,
)
from dataworth.options import option
from dataworth.registry import register

PASSES = CHOICE + 1
"""The stream for the pass of acceptance: apart from `CHOICE`, which orders within a pass."""


@register
@dataclass(frozen=True)
class Pareto:
    """Order by the pass in which a document is accepted, within a pass at random.

    The pass is a geometric number with the acceptance probability (2 - s)^-alpha, drawn at once
    from (seed, uid).

    Departure from the published procedure: where the last pass accepts more than is needed, only
    that pass is sampled, not the union of all, so that a larger budget holds the smaller one's
    documents.
    """

    name: ClassVar[str] = "pareto"
    alpha: float = option(
        9.0, help="Steepness: acceptance has the probability (2 - s)^-alpha.", above=0
    )
    scale: Literal["logit", "probability"] = option(
        "logit",
        help='How s comes from the utility: its logistic function ("logit", for log odds or log '
        'ratios in nats), or the utility itself ("probability", in [0, 1]).',
    )

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers, best first, in blocks.

        Raises DataworthError where `scale` is "probability" and a utility lies outside [0, 1].
        """
        rows = eligible_rows(table)
        values = only_utility(table, "pareto", rows)
        if (
            self.scale == "probability"
            and len(values)
            and not 0 <= values.min() <= values.max() <= 1
        ):
            raise DataworthError(
                f"pareto: {table.utilities[0]} runs from {values.min():g} to {values.max():g}, not "
                'within 0 and 1: use scale="logit" for log ratios'
            )
        # The pass is 1 + floor(log u / log(1 - p)): above 1 with probability 1 - p, above 2 with
        # (1 - p)^2, and so on. Where p is 1, log(1 - p) is -inf and the pass is 1.
        cost = np.log(uniforms(table, seed, rows, PASSES))
        with np.errstate(divide="ignore", over="ignore"):
            accepted = self.acceptance(values)
            np.negative(accepted, out=accepted)
            np.log1p(accepted, out=accepted)
            np.divide(cost, accepted, out=cost)
        np.floor(cost, out=cost)
        return by_cost(table, seed, cost, rows)

    def acceptance(self, utility: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of acceptance in one pass, float64 of the utilities' shape."""
        if self.scale == "probability":
            quality = utility.copy()
        else:
            with np.errstate(over="ignore"):
                quality = 1 / (1 + np.exp(-utility))
        np.subtract(2, quality, out=quality)
        return np.power(quality, -self.alpha, out=quality)
