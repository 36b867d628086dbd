"""UtiliMax: a portfolio of groups, useful for all losses and not too much of any group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dataworth.errors import check_extra
from dataworth.mixture.learned import Learned, check_models, water_fill
from dataworth.mixture.registry import register
from dataworth.mixture.swarm import Floats, SwarmTable
from dataworth.options import option


@register
@dataclass(frozen=True)
class UtiliMax(Learned):
    """Shares that come near the best group's utility for each loss, spread over groups.

    The least of |U'w - 1| + `risk` |w|^2 (Euclidean norms) under the caps (Held et al. 2025,
    "Optimizing Pretraining Data Mixtures with LLM-Estimated Utility", arXiv 2501.11747; the
    objective as another reading of the paper gives it, not checked against its code). U [k, v] is
    1 for the group that is best for a loss and 0 for the worst; it comes from least squares in the
    shares on the swarm, in place of the paper's trainings on one group each. `risk` is dataworth's
    own where the paper weighs by the number of groups.
    """

    name: ClassVar[str] = "utilimax"
    risk: float = option(0.0, help="Weight of |w|^2; 0: the number of groups.", minimum=0)

    def __post_init__(self) -> None:
        check_extra("utilimax", "mixtures")

    def optimum(self, table: SwarmTable, losses: Floats, caps: Floats) -> Floats:
        """Return the best shares float64 [k]."""
        check_models(table, len(caps) + 1, self.name)
        alone = np.linalg.lstsq(table.weights, losses, rcond=None)[0]
        best, worst = alone.min(0), alone.max(0)
        utilities = (worst - alone) / np.maximum(worst - best, 1e-12)
        return best_shares(utilities, caps, self.risk or float(len(caps)))


def best_shares(utilities: Floats, caps: Floats, risk: float) -> Floats:
    """Return the shares [k] of least |U'w - 1| + risk |w|^2; `utilities` [k, v] are U."""
    from scipy.optimize import minimize

    def objective(w: Floats) -> tuple[float, Floats]:
        short = utilities.T @ w - 1
        distance = max(float(np.linalg.norm(short)), 1e-12)
        return distance + risk * float(w @ w), utilities @ short / distance + 2 * risk * w

    solution = minimize(
        objective,
        water_fill(np.ones_like(caps), caps),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, float(cap)) for cap in caps],
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    return water_fill(np.clip(solution.x, 0.0, caps), caps)
