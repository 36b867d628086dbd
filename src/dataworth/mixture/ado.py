"""ADO: shares that follow how fast each group's loss still falls, by scaling laws fitted online."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dataworth.mixture.online import Online, Rule
from dataworth.mixture.registry import register
from dataworth.mixture.swarm import Floats
from dataworth.mixture.swarm_text import SwarmText
from dataworth.options import option

if TYPE_CHECKING:
    from dataworth.lm.online import Seen

_HUBER = 1e-3
_LEAST = 0.05  # exponents count as this at least
_MOST = 0.8  # of an exponent
_WINDOW, _ORDER = 101, 3  # of the Savitzky-Golay filter
_MEMORY, _OWN = 0.9, 0.1


@register
@dataclass(frozen=True)
class ADO(Online):
    """The mean over a training of shares in proportion to the slopes of the groups' losses.

    Now and then a law L_k(n) = e_k + b_k n^(-a_k) is fitted to the smoothed losses of each group,
    n the sequences of all groups so far (Huber's loss of the logarithm, 1e-3). A step's shares are
    in proportion to a_k (L_k - e_k) / n times the natural share times sqrt(h_k (1 - h_k)), h the
    moving average (0.9) of what was drawn, each at least `floor`; drawn is by 0.9 of the mean of
    these over the steps and 0.1 of the latest (Jiang et al. 2024, "Adaptive Data Optimization",
    arXiv 2410.11820; all values as in the released code, but the fits: every 1,000 steps there,
    `fits` times here, the first tenth of the training left out).
    """

    name: ClassVar[str] = "ado"
    fits: int = option(10, help="How often the laws are fitted, evenly spaced.", minimum=1)
    floor: float = option(0.01, help="Least share of a group before averaging.", minimum=0)

    def rule(self, text: SwarmText, targets: Sequence[str], folder: Path) -> Rule:
        """Return the state of a training that draws by the slopes."""
        return Slopes(text.groups.natural, self.fits, self.floor)


class Slopes(Rule):
    """The losses so far, the laws of the groups, and the shares that follow from them."""

    def __init__(self, natural: Floats, fits: int, floor: float) -> None:
        more = {"losses": np.zeros((0, len(natural))), "laws": np.zeros((0, 3))}
        super().__init__(natural, mean=natural, history=natural, **more)
        self.natural, self.fits, self.floor = natural, fits, floor

    def learn(self, seen: Seen) -> None:
        """Note the step's losses, fit the laws if it is time, and set the next step's shares."""
        state, size = self.state, seen.counts.sum()
        before = state["losses"][-1] if len(state["losses"]) else float(seen.nats.mean())
        losses = np.where(np.isnan(seen.losses), before, seen.losses)
        state["losses"] = np.vstack([state["losses"], losses])
        state["history"] = _MEMORY * state["history"] + (1 - _MEMORY) * seen.counts / size
        done, every = seen.step + 1, max(seen.steps // self.fits, 1)
        if done % every == 0 and done >= 2 * every:
            seen_so_far = size * np.arange(1, done + 1, dtype=np.float64)
            start = seen.steps // 10
            state["laws"] = fit_laws(seen_so_far[start:], state["losses"][start:])
        if not len(state["laws"]):
            return
        latest = slopes(state["laws"], float(size * done))
        history = state["history"]
        latest = latest * self.natural * np.sqrt(np.maximum(history * (1 - history), 0))
        latest = at_least(latest, self.floor)
        state["weights"] = (1 - _OWN) * state["mean"] + _OWN * latest
        state["mean"] = state["mean"] + (latest - state["mean"]) / (done + 1)


def slopes(laws: Floats, n: float) -> Floats:
    """Return how fast the losses fall at n, [k], by the laws (e, b, a) [k, 3]."""
    _, scale, exponent = laws.T
    fast: Floats = np.maximum(exponent, _LEAST) * scale * np.power(n, -exponent) / n
    return fast


def at_least(weights: Floats, floor: float) -> Floats:
    """Return weights [k] as shares of which none is below a floor, but for the last dividing.

    Where the weights are all 0 they are uniform.
    """
    total = weights.sum()
    shares = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
    raised = np.maximum(shares, min(floor, 1 / len(weights)))
    whole: Floats = raised / raised.sum()
    return whole


def fit_laws(n: Floats, losses: Floats) -> Floats:
    """Return (e, b, a) of L(n) = e + b n^(-a) for each group, float64 [k, 3].

    `n` [t], `losses` [t, k], both smoothed and thinned to a tenth before the fit.
    """
    from scipy.signal import savgol_filter

    window = min(_WINDOW, len(n) - (len(n) + 1) % 2)
    if window > _ORDER:
        losses = savgol_filter(losses, window, _ORDER, axis=0)
    thin = slice(None, None, 10 if len(n) >= 10 * _WINDOW // 2 else 1)
    return np.stack([_fit(n[thin], np.maximum(each, 1e-6)) for each in losses[thin].T])


def _fit(n: Floats, loss: Floats) -> Floats:
    """Return the best of fits from several first guesses of the floor and the exponent."""
    from scipy.optimize import least_squares

    logs, wanted, least = np.log(n), np.log(loss), np.log(loss.min())

    def residuals(x: Floats) -> Floats:
        error: Floats = np.logaddexp(x[0], x[1] - x[2] * logs) - wanted
        return error

    def jacobian(x: Floats) -> Floats:
        share = 1 / (1 + np.exp(np.clip(x[0] - x[1] + x[2] * logs, -500, 500)))
        return np.column_stack([1 - share, share, -share * logs])

    fits: list[Any] = []
    for part, exponent in ((0.5, 0.2), (0.9, 0.5), (0.1, 0.1)):
        rest = np.maximum(loss - part * loss.min(), 1e-9)
        start = [least + np.log(part), float(np.mean(np.log(rest) + exponent * logs)), exponent]
        bounds = ([least - 20, -np.inf, 0.0], [least, np.inf, _MOST])
        how: Any = {"loss": "huber", "f_scale": _HUBER, "x_scale": "jac", "bounds": bounds}
        fits.append(least_squares(residuals, start, jacobian, **how))
    floor, scale, exponent = min(fits, key=lambda one: one.cost).x
    return np.array([np.exp(floor), np.exp(scale), exponent])
