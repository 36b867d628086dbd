"""Scaling laws: how a loss falls with compute, tokens or parameters, and what a selection saves.

    one axis    L(x)    = E + A x^-alpha
    two axes    L(N, D) = E + A N^-alpha + B D^-beta        (Hoffmann et al. 2022, section 3.3)

fitted by the Huber loss, δ = 0.001, of log residuals from a grid of starts, as DataDecide's code
does (remembered). Each axis is divided by its geometric mean first, so that the grid fits any unit;
the minimum is found as `fitting.py` says.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataworth.errors import ConfigError
from dataworth.measures import fitting

DRAWS = 200
_INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Law:
    """loss = floor + scale * x^-exponent, with the bootstrap's standard errors (NaN: unknown).

    `error`: root mean square of the residuals, in the loss's unit. `low_x`, `high_x`: the measured
    range. `points`: how many losses it was fitted to.
    """

    floor: float
    scale: float
    exponent: float
    floor_error: float
    scale_error: float
    exponent_error: float
    error: float
    low_x: float
    high_x: float
    points: int

    def predict(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the loss at some x, float64 [any]."""
        values = np.asarray(x, np.float64)
        result: NDArray[np.float64] = self.floor + self.scale * values**-self.exponent
        return result

    def reach(self, loss: float) -> float:
        """Return the x at which the loss is reached; infinite where the law stays above it."""
        return float(_reach(np.array([[self.floor, self.scale, self.exponent]]), np.array(loss))[0])


@dataclass(frozen=True)
class LawND:
    """loss = floor + scale_n * n^-exponent_n + scale_d * d^-exponent_d.

    `errors`: the bootstrap's standard errors of the five in this order (NaN: unknown). `error`:
    root mean square of the residuals, in the loss's unit.
    """

    floor: float
    scale_n: float
    exponent_n: float
    scale_d: float
    exponent_d: float
    errors: tuple[float, ...]
    error: float
    points: int

    def predict(self, n: ArrayLike, d: ArrayLike) -> NDArray[np.float64]:
        """Return the loss of a model of n parameters after d tokens, float64 [any]."""
        result: NDArray[np.float64] = (
            self.floor
            + self.scale_n * np.asarray(n, np.float64) ** -self.exponent_n
            + self.scale_d * np.asarray(d, np.float64) ** -self.exponent_d
        )
        return result


@dataclass(frozen=True)
class Multiplier:
    """The factor by which a selection needs less compute (or fewer tokens) than the baseline.

    `value` = C / C' at the baseline's C = `at`, where the selection has the baseline's loss at C'.
    `low`, `high`: the middle 95 % of the bootstrap. `outside`: C' is not within the range that the
    selection was measured in, so that `value` is a guess. 0 where it never reaches that loss.
    """

    value: float
    low: float
    high: float
    at: float
    outside: bool


def fit_law(
    x: ArrayLike,
    loss: ArrayLike,
    *,
    floor: bool | None = None,
    seeds: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
    random: int = 0,
) -> Law:
    """Return the law of one axis through points (x [n], loss [n]), both positive.

    `floor`: whether E is fitted; None does where there are three different x, with two E is 0.
    `seeds`: the run that each point is of. The bootstrap draws whole seeds where each was measured
    at every x; else the points of each x; else, with one point for each x, residuals. `draws` 0
    leaves the errors out; `random` is its seed.

    Raises ConfigError for fewer than two different x (three with a floor), for lengths that differ
    and for values that are not positive.
    """
    problem = _Problem.of([x], loss, floor)
    best = problem.best()
    drawn = problem.drawn(best, seeds, draws, random)
    values = problem.natural(best[None])[0]
    errors = _spread(problem.natural(drawn))
    return Law(
        floor=float(values[0]),
        scale=float(values[1]),
        exponent=float(values[2]),
        floor_error=errors[0],
        scale_error=errors[1],
        exponent_error=errors[2],
        error=problem.error(best),
        low_x=float(problem.x[0].min()),
        high_x=float(problem.x[0].max()),
        points=len(problem.y),
    )


def fit_nd(
    n: ArrayLike,
    d: ArrayLike,
    loss: ArrayLike,
    *,
    seeds: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
    random: int = 0,
) -> LawND:
    """The law of parameters n and tokens d through points [k], all positive; else as `fit_law`.

    Raises ConfigError for fewer than five different (n, d), or fewer than two different n or d.
    """
    problem = _Problem.of([n, d], loss, True)
    best = problem.best()
    drawn = problem.drawn(best, seeds, draws, random)
    values = problem.natural(best[None])[0]
    return LawND(
        floor=float(values[0]),
        scale_n=float(values[1]),
        exponent_n=float(values[2]),
        scale_d=float(values[3]),
        exponent_d=float(values[4]),
        errors=_spread(problem.natural(drawn)),
        error=problem.error(best),
        points=len(problem.y),
    )


def compute_multiplier(
    x: ArrayLike,
    loss: ArrayLike,
    baseline_x: ArrayLike,
    baseline_loss: ArrayLike,
    *,
    seeds: Sequence[Hashable] | None = None,
    baseline_seeds: Sequence[Hashable] | None = None,
    at: float | None = None,
    draws: int = DRAWS,
    random: int = 0,
) -> Multiplier:
    """Return the compute multiplier of a selection over the baseline (BETR, Mizrahi et al. 2025).

    CM(C) = C / C', where the selection's law has at C' the loss that the baseline's law has at C
    (definition remembered). `x`, `loss` [n] and `baseline_x`, `baseline_loss` [m]: points as of
    `fit_law`, one a run. `at`: C; None takes the largest x of the baseline for which C' lies within
    the selection's range, or the largest of all. Where both have the same seeds, the bootstrap
    draws the same ones for both.

    Raises ConfigError as `fit_law` does.
    """
    # One form for both: with a floor only if both can have one.
    floor = min(len(np.unique(np.asarray(axis))) for axis in (x, baseline_x)) > 2
    own, base = _Problem.of([x], loss, floor), _Problem.of([baseline_x], baseline_loss, floor)
    own_best, base_best = own.best(), base.best()
    low, high = float(own.x[0].min()), float(own.x[0].max())

    def same_loss(place: float, mine: NDArray[np.float64], other: NDArray[np.float64]) -> _Floats:
        return _reach(own.natural(mine), _value(base.natural(other), place))

    def within(place: float) -> bool:
        equal_at = float(same_loss(place, own_best[None], base_best[None])[0])
        return low * (1 - 1e-9) <= equal_at <= high * (1 + 1e-9)

    if at is None:
        places = sorted({float(value) for value in base.x[0]}, reverse=True)
        at = next((place for place in places if within(place)), places[0])
    drawn = own.drawn(own_best, seeds, draws, random)
    # Another stream for a baseline of other seeds, which has nothing to be paired by.
    paired = seeds is not None and baseline_seeds is not None and set(seeds) == set(baseline_seeds)
    base_drawn = base.drawn(base_best, baseline_seeds, draws, random if paired else random + 1)
    value = at / float(same_loss(at, own_best[None], base_best[None])[0])
    ends = (math.nan, math.nan)
    if len(drawn) and len(base_drawn):
        low_end, high_end = np.quantile(at / same_loss(at, drawn, base_drawn), _INTERVAL)
        ends = (float(low_end), float(high_end))
    return Multiplier(value, ends[0], ends[1], at, outside=not within(at))


_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Problem:
    """Points to fit: `x` [axes, n], `units` [axes] their geometric means, `y` [n] log losses."""

    x: _Floats
    units: _Floats
    y: _Floats
    floor: bool

    @staticmethod
    def of(axes: Sequence[ArrayLike], loss: ArrayLike, floor: bool | None) -> _Problem:
        y = _positive(loss, "loss")
        x = [_positive(axis, "x") for axis in axes]
        if any(len(axis) != len(y) for axis in x):
            raise ConfigError(f"a law needs a loss for each x: {len(x[0])} x, {len(y)} losses")
        different = min(len(np.unique(axis)) for axis in x)
        if floor is None:
            floor = different > 2
        least = 3 if floor and len(x) == 1 else 2
        if different < least:
            raise ConfigError(
                f"a scaling law needs {least} different budgets or sizes at least, not {different}"
            )
        places = len(np.unique(np.stack(x), axis=1).T)
        if places < 2 * len(x) + floor:
            raise ConfigError(
                f"a law of {len(x)} axes has {2 * len(x) + floor} numbers to find, more than "
                f"there are different points ({places})"
            )
        units = np.exp([np.log(axis).mean() for axis in x])
        return _Problem(np.stack(x), units, np.log(y), floor)

    @property
    def u(self) -> _Floats:
        """Centred logs, [axes, n]."""
        result: _Floats = np.log(self.x / self.units[:, None])
        return result

    def best(self) -> _Floats:
        return fitting.fit(self.u, self.y, floor=self.floor)

    def drawn(
        self, best: _Floats, seeds: Sequence[Hashable] | None, draws: int, random: int
    ) -> _Floats:
        """Fits of the bootstrap."""
        if seeds is not None and len(seeds) != len(self.y):
            raise ConfigError(f"there are {len(self.y)} points, but seeds of {len(seeds)}")
        generator = np.random.default_rng(random)
        where = [tuple(place) for place in self.x.T.tolist()]
        weights = fitting.resample(where, seeds, draws, generator) if draws else None
        return fitting.bootstrap(self.u, self.y, best, weights, draws, generator, floor=self.floor)

    def natural(self, fits: _Floats) -> _Floats:
        """[E, A_1, alpha_1, …] of each fit, in the units that the points came in."""
        axes = len(self.units)
        columns = [np.exp(fits[:, -1]) if self.floor else np.zeros(len(fits))]
        for axis in range(axes):
            exponent = fits[:, 2 * axis + 1]
            columns.append(np.exp(fits[:, 2 * axis] + exponent * np.log(self.units[axis])))
            columns.append(exponent)
        return np.stack(columns, 1)

    def error(self, best: _Floats) -> float:
        """Root mean square of the residuals, in the loss's unit."""
        predicted = np.exp(fitting.predict(self.u, best[None], floor=self.floor)[0])
        return float(np.sqrt(np.mean((predicted - np.exp(self.y)) ** 2)))


def _value(laws: _Floats, x: float) -> _Floats:
    """Return the loss of each law [E, A, alpha] at x."""
    result: _Floats = laws[:, 0] + laws[:, 1] * x ** -laws[:, 2]
    return result


def _reach(laws: _Floats, loss: _Floats) -> _Floats:
    """Return the x at which each law has its loss; infinite where it stays above."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        above = loss - laws[:, 0]
        found = (laws[:, 1] / above) ** (1 / laws[:, 2])
    result: _Floats = np.where((above > 0) & (laws[:, 2] > 0), found, np.inf)
    return result


def _spread(values: _Floats) -> tuple[float, ...]:
    """Standard deviations of the columns; NaN for fewer than two rows."""
    if len(values) < 2:
        return (math.nan,) * len(values.T)
    found: _Floats = values.std(0, ddof=1)
    return tuple(map(float, found))


def _positive(values: ArrayLike, name: str) -> _Floats:
    array = np.asarray(values, np.float64).ravel()
    if not len(array) or not (np.isfinite(array) & (array > 0)).all():
        raise ConfigError(f"a scaling law needs positive numbers: see the {name}")
    return array
