"""Olmix' log-linear law of mixtures, with a KL-regularised optimum and caps on repetition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dataworth.errors import check_extra
from dataworth.mixture.learned import Learned, check_models, water_fill
from dataworth.mixture.registry import register
from dataworth.mixture.swarm import Floats, SwarmTable
from dataworth.options import option

_FLOORS = (0.1, 0.5, 2.0)  # first guesses of c, in ranges of the loss below its least


@register
@dataclass(frozen=True)
class LogLinear(Learned):
    """The mixture of least loss by a log-linear law, near the natural one.

    L_v(w) = c_v + exp(a_v . w), fitted to each loss by least squares with c_v >= 0. The mixture is
    the least mean over v of L_v(w), plus `kl` times KL(w, p), p the natural shares, under the caps:
    a convex problem (Chen et al. 2026, "Olmix", arXiv 2602.12237: its default law, and its exact
    solver). The law of one loss alone is least in a corner, so `kl` is not 0 by default; its value,
    the bound on c_v and the first guesses are dataworth's own.
    """

    name: ClassVar[str] = "log_linear"
    kl: float = option(0.05, help="Weight of the KL divergence, nats per token.", minimum=0)

    def __post_init__(self) -> None:
        check_extra("log_linear", "mixtures")

    def optimum(self, table: SwarmTable, losses: Floats, caps: Floats) -> Floats:
        """Return the best shares float64 [k]."""
        check_models(table, len(caps) + 2, self.name)
        slopes = np.stack([fit_law(table.weights, loss)[1] for loss in losses.T])
        return best_shares(slopes, table.natural, caps, self.kl)


def fit_law(weights: Floats, loss: Floats) -> tuple[float, Floats]:
    """Return (c, a [k]) of the law by least squares, from weights [n, k] and the loss [n]."""
    from scipy.optimize import least_squares

    least, width = loss.min(), max(np.ptp(loss), 1e-9)
    fits: list[Any] = []
    for floor in _FLOORS:
        c = max(least - floor * width, 0.0)
        a = np.linalg.lstsq(weights, np.log(np.maximum(loss - c, 1e-9)), rcond=None)[0]

        def residuals(x: Floats) -> Floats:
            left: Floats = x[0] + np.exp(np.minimum(weights @ x[1:], 50)) - loss
            return left

        def jacobian(x: Floats) -> Floats:
            law = np.exp(np.minimum(weights @ x[1:], 50))
            return np.column_stack([np.ones(len(loss)), law[:, None] * weights])

        bounds = ([0.0, *[-np.inf] * len(a)], np.inf)
        start = np.array([max(c, 1e-6), *a])
        fits.append(least_squares(residuals, start, jacobian, bounds=bounds, x_scale="jac"))
    best = min(fits, key=lambda one: one.cost)
    return float(best.x[0]), best.x[1:]


def best_shares(slopes: Floats, natural: Floats, caps: Floats, kl: float) -> Floats:
    """Return the shares [k] of least mean_v exp(a_v . w) + kl KL(w, p); `slopes` [v, k] are a."""
    from scipy.optimize import minimize

    prior = np.maximum(natural, 1e-9)

    def objective(w: Floats) -> tuple[float, Floats]:
        law = np.exp(slopes @ w)
        ratio = np.log(np.maximum(w, 1e-12) / prior)
        gradient = law @ slopes / len(slopes) + kl * (ratio + 1)
        return float(law.mean() + kl * (w * ratio).sum()), gradient

    solution = minimize(
        objective,
        water_fill(prior, caps),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, float(cap)) for cap in caps],
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    return water_fill(np.clip(solution.x, 0.0, caps), caps)
