"""Sums of power laws fitted to losses: many starts, or many resamplings, at once.

    log L = log(exp(a_1 - alpha_1 u_1) + … + exp(a_K - alpha_K u_K) + exp(e)),   u_k = log x_k

The parameters of one fit are [a_1, alpha_1, …, a_K, alpha_K, e], without e where there is no
floor. What is minimised is the sum of Huber losses (δ = 0.001) of the residuals of log L, by
Levenberg-Marquardt steps on points weighted by δ / |residual| where that is below 1 (Huber's own
way). Batches of fits go through one set of array operations, so that a bootstrap of hundreds takes
milliseconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HUBER = 1e-3
_STEPS = 400
_STEEPEST = 5.0
_LOWEST = 1e-6  # the floor, as a share of the smallest loss
_FLOORS = (0.02, 0.4, 0.8, 0.97)  # starts, as shares of the smallest loss
_EXPONENTS = (0.05, 0.25, 0.5, 1.0)
_STILL = 1e-8  # a step that gains less than this share of the objective gains nothing
_PATIENCE = 12


def starts(u: Floats, y: Floats, *, floor: bool) -> Floats:
    """Return the grid of starts, [starts, parameters]: exponents and floors of four values each.

    `u` [axes, n] centred logs of x, `y` [n] logs of the loss. What is not floor is shared equally
    by the axes at the middle of the points.
    """
    axes = len(u)
    smallest, middle = float(np.exp(y.min())), float(np.exp(np.median(y)))
    rows = []
    for share in _FLOORS if floor else (0.0,):
        rest = np.log(max(middle - share * smallest, 0.01 * middle) / axes)
        for exponents in itertools.product(_EXPONENTS, repeat=axes):
            row = [value for exponent in exponents for value in (rest, exponent)]
            rows.append([*row, np.log(share * smallest)] if floor else row)
    return np.array(rows)


def predict(u: Floats, fits: Floats, *, floor: bool) -> Floats:
    """log L of each fit at each point: [fits, n]."""
    return _terms(u, fits, floor)[0]


def _terms(u: Floats, fits: Floats, floor: bool) -> tuple[Floats, Floats]:
    """Return (log of the sum [fits, n], each term's share of the sum [fits, terms, n])."""
    axes = len(u)
    terms = fits[:, 0 : 2 * axes : 2, None] - fits[:, 1 : 2 * axes : 2, None] * u[None]
    if floor:
        last = np.broadcast_to(fits[:, -1, None, None], (len(fits), 1, u.shape[1]))
        terms = np.concatenate([terms, last], 1)
    top = terms.max(1, keepdims=True)
    shares = np.exp(terms - top)
    total = shares.sum(1, keepdims=True)
    return (top + np.log(total))[:, 0], shares / total


def _slopes(u: Floats, shares: Floats, floor: bool) -> Floats:
    """d log L / d parameter, [fits, n, parameters]."""
    axes = len(u)
    columns = []
    for axis in range(axes):
        columns += [shares[:, axis], -shares[:, axis] * u[axis]]
    if floor:
        columns.append(shares[:, axes])
    return np.stack(columns, 2)


def huber(residuals: Floats) -> Floats:
    """r²/2 up to δ, then δ(|r| - δ/2)."""
    size = np.abs(residuals)
    inner: Floats = np.where(size <= HUBER, size**2 / 2, HUBER * (size - HUBER / 2))
    return inner


def minimise(
    u: Floats, y: Floats, begin: Floats, weights: Floats, *, floor: bool
) -> tuple[Floats, Floats]:
    """Return (fits [B, parameters], their objectives [B]) from `begin` [B, parameters].

    `u` [axes, n]; `y` and `weights` [B, n] or [1, n], each fit's own or shared by all.
    """
    least, most = float(y.min()) + np.log(_LOWEST), y.min(1)
    count = len(begin)
    out, objectives = begin.copy(), np.empty(count)
    live = np.arange(count)
    state = _State.at(u, begin.copy(), *_of(live, y, weights), floor)
    for _ in range(_STEPS):
        part_y, part_weights = _of(live, y, weights)
        tried = _State.at(
            u,
            _bounded(state.stepped(u, part_y, part_weights, floor), len(u), floor, least, most),
            part_y,
            part_weights,
            floor,
        )
        state.take_better(tried)
        done = state.still > _PATIENCE
        if done.any():  # those that are there no longer cost anything
            out[live[done]], objectives[live[done]] = state.fits[done], state.objective[done]
            live, state = live[~done], state.rows(~done)
            most = most if len(most) == 1 else most[~done]
            if not len(live):
                break
    out[live], objectives[live] = state.fits, state.objective
    return out, objectives


def _of(live: NDArray[np.int64], y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the points and weights of some of the fits."""
    return (y if len(y) == 1 else y[live]), (weights if len(weights) == 1 else weights[live])


@dataclass
class _State:
    """The state of a batch of fits. `still`: how many steps in a row gained nothing."""

    fits: Floats
    predicted: Floats
    shares: Floats
    objective: Floats
    damping: Floats
    still: NDArray[np.int64]

    @staticmethod
    def at(u: Floats, fits: Floats, y: Floats, weights: Floats, floor: bool) -> _State:
        predicted, shares = _terms(u, fits, floor)
        objective = (weights * huber(predicted - y)).sum(1)
        n = len(fits)
        return _State(fits, predicted, shares, objective, np.full(n, 1e-2), np.zeros(n, np.int64))

    def stepped(self, u: Floats, y: Floats, weights: Floats, floor: bool) -> Floats:
        """A damped Gauss-Newton step of each fit, on points weighted as Huber's loss wants."""
        residuals = self.predicted - y
        slopes = _slopes(u, self.shares, floor)
        pull = weights * np.minimum(1.0, HUBER / np.maximum(np.abs(residuals), 1e-300))
        weighted = slopes * pull[:, :, None]
        normal = np.einsum("bnp,bnq->bpq", weighted, slopes)
        gradient = np.einsum("bnp,bn->bp", weighted, residuals)
        diagonal = np.einsum("bpp->bp", normal)
        ridge = self.damping[:, None] * diagonal
        ridge += 1e-12 * diagonal.max(1, keepdims=True) + 1e-300
        step = np.linalg.solve(normal + _diagonal(ridge), gradient[:, :, None])[:, :, 0]
        moved: Floats = self.fits - step
        return moved

    def take_better(self, tried: _State) -> None:
        """Go where the objective is smaller, and damp the next step less; else more."""
        better = tried.objective < self.objective
        gain = np.where(better, self.objective - tried.objective, 0.0)
        moving = gain > _STILL * np.maximum(self.objective, 1e-300)
        self.still = np.where(moving, 0, self.still + 1)
        self.damping = np.clip(np.where(better, self.damping * 0.3, self.damping * 4), 1e-12, 1e8)
        for mine, theirs in (
            (self.fits, tried.fits),
            (self.predicted, tried.predicted),
            (self.shares, tried.shares),
            (self.objective, tried.objective),
        ):
            mine[better] = theirs[better]

    def rows(self, kept: NDArray[np.bool_]) -> _State:
        """Some of the batch."""
        return _State(
            self.fits[kept],
            self.predicted[kept],
            self.shares[kept],
            self.objective[kept],
            self.damping[kept],
            self.still[kept],
        )


def _diagonal(values: Floats) -> Floats:
    out = np.zeros((*values.shape, values.shape[1]))
    np.einsum("bpp->bp", out)[:] = values
    return out


def _bounded(fits: Floats, axes: int, floor: bool, least: float, most: Floats) -> Floats:
    """Exponents from 0 to 5; the floor from a millionth of the smallest loss to that loss."""
    fits[:, 1 : 2 * axes : 2] = np.clip(fits[:, 1 : 2 * axes : 2], 0.0, _STEEPEST)
    if floor:
        fits[:, -1] = np.clip(fits[:, -1], least, np.broadcast_to(most, len(fits)))
    return fits


def fit(u: Floats, y: Floats, *, floor: bool) -> Floats:
    """Return the best fit over the grid of starts, [parameters]. `u` [axes, n], `y` [n]."""
    begin = starts(u, y, floor=floor)
    fits, objective = minimise(u, y[None], begin, np.ones((1, len(y))), floor=floor)
    best: Floats = fits[np.argmin(objective)]
    return best


def resample(
    where: Sequence[Hashable],
    seeds: Sequence[Hashable] | None,
    draws: int,
    random: np.random.Generator,
) -> Floats | None:
    """Weights [draws, n] of a bootstrap, or None where every place was measured once only.

    Whole seeds are drawn where each was measured in every place, else points within each place.
    """
    n = len(where)
    if seeds is not None:
        runs = sorted(set(seeds), key=repr)  # so that two curves of the same seeds draw alike
        places = {run: {where[i] for i in range(n) if seeds[i] == run} for run in runs}
        if len(runs) > 1 and all(found == set(where) for found in places.values()):
            counts = random.multinomial(len(runs), [1 / len(runs)] * len(runs), draws)
            place = [runs.index(seed) for seed in seeds]
            return counts[:, place].astype(np.float64)
    weights = np.zeros((draws, n))
    again = False
    for here in dict.fromkeys(where):
        rows = [i for i in range(n) if where[i] == here]
        again |= len(rows) > 1
        weights[:, rows] = random.multinomial(len(rows), [1 / len(rows)] * len(rows), draws)
    return weights if again else None


def bootstrap(
    u: Floats,
    y: Floats,
    best: Floats,
    weights: Floats | None,
    draws: int,
    random: np.random.Generator,
    *,
    floor: bool,
) -> Floats:
    """Fits to resampled points, [draws, parameters]; [0, parameters] where nothing can be said.

    With `weights` (see `resample`) those. Without, residuals of the best fit are drawn and added
    to it, enlarged by sqrt(n / (n - parameters)) for what the fit took up.
    """
    if weights is not None:
        begin = np.repeat(best[None], len(weights), 0)
        return minimise(u, y[None], begin, weights, floor=floor)[0]
    spare = len(y) - len(best)
    if spare < 1 or not draws:
        return np.empty((0, len(best)))
    middle = predict(u, best[None], floor=floor)[0]
    residuals = (y - middle) * np.sqrt(len(y) / spare)
    drawn = middle + random.choice(residuals, (draws, len(y)))
    begin = np.repeat(best[None], draws, 0)
    return minimise(u, drawn, begin, np.ones((1, len(y))), floor=floor)[0]
