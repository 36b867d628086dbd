"""Is one better than the other? Paired differences, correlations, and pairs ordered alike.

Intervals are of 95 %. Where one holds zero, no difference was shown, which does not say that there
is none.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataworth.errors import ConfigError, MissingExtra
from dataworth.measures.weights import correlation as pearson
from dataworth.measures.weights import ranks

CONFIDENCE = 0.95
DRAWS = 2000
_MOST_AT_ONCE = 2**22  # numbers of an array of all draws by all points

Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Paired:
    """The mean of paired differences (value - baseline) with its t interval.

    `points`: the differences, one a pair. `low`, `high`, `p` are NaN for fewer than two pairs.
    """

    difference: float
    low: float
    high: float
    p: float
    points: tuple[float, ...]
    verdict: Verdict


def paired(
    values: ArrayLike,
    baseline: ArrayLike,
    *,
    lower_is_better: bool = True,
    confidence: float = CONFIDENCE,
) -> Paired:
    """Paired t test of values against the baseline's: element i of both shares seed and all else.

    `values`, `baseline` [n] are for example the losses of n seeds. The interval is
    mean ± t(n - 1) * sd / √n, the p value two-sided. Raises ConfigError for lengths that differ,
    for no pair, and for a value that is not finite; MissingExtra without scipy.
    """
    x, y = _series(values, "values"), _series(baseline, "baseline")
    if len(x) != len(y) or not len(x):
        raise ConfigError(f"paired differences need pairs: {len(x)} values, {len(y)} of a baseline")
    points = x - y
    mean = float(points.mean())
    low = high = p = math.nan
    if len(points) > 1:
        t = _student()
        spread = float(points.std(ddof=1)) / math.sqrt(len(points))
        reach = float(t.ppf((1 + confidence) / 2, len(points) - 1)) * spread
        low, high = mean - reach, mean + reach
        if spread:
            p = 2 * float(t.sf(abs(mean) / spread, len(points) - 1))
        else:
            p = 1.0 if mean == 0 else 0.0
    verdict: Verdict = "no difference shown"
    if low > 0 or high < 0:
        verdict = "better" if (high < 0) == lower_is_better else "worse"
    return Paired(mean, low, high, p, tuple(points.tolist()), verdict)


@dataclass(frozen=True)
class Correlation:
    """Pearson's r with its interval, over `n` points in `groups` groups; NaN where undefined."""

    r: float
    low: float
    high: float
    spearman: float
    n: int
    groups: int


def correlation(
    x: ArrayLike,
    y: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    *,
    interval: Literal["fisher", "bootstrap"] = "fisher",
    clusters: Sequence[Hashable] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Correlation:
    """Does x predict y? With `groups` (a target for each point) within them: both sides are
    centred on their group's mean first, so that targets of different difficulty do not count.

    Intervals: "fisher", tanh(atanh r ± z / √(n - groups - 2)), which takes points for independent
    and loses one for each group's mean; "bootstrap", the percentiles of `draws` resamplings of the
    points within their groups, or of whole `clusters` (one method's points on all targets, which
    are not independent), each centred anew. `spearman` is of the ranks within groups, centred.
    Points with a value that is not finite are left out. Raises ConfigError for unequal lengths.
    """
    a, b = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    codes = _codes(groups, len(a))
    units = np.arange(len(a)) if clusters is None else _codes(clusters, len(a))
    if not len(a) == len(b) == len(codes) == len(units):
        raise ConfigError(
            f"a correlation needs pairs: {len(a)} and {len(b)} values, {len(codes)} groups, "
            f"{len(units)} clusters"
        )
    finite = np.isfinite(a) & np.isfinite(b)
    a, b, codes, units = a[finite], b[finite], codes[finite], units[finite]
    count = len(np.unique(codes))
    r = _within(a, b, codes)
    rho = _within(_ranks_within(a, codes), _ranks_within(b, codes), codes)
    if interval == "fisher":
        low, high = fisher_interval(r, len(a) - count + 1)
    else:
        strata = codes if clusters is None else np.zeros(len(a), np.int64)
        low, high = _bootstrap(a, b, codes, units, strata, draws, seed)
    return Correlation(r, low, high, rho, len(a), count)


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's correlation of the ranks, ties sharing their mean; NaN where it is not defined."""
    a, b = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if len(a) != len(b):
        raise ConfigError(f"a correlation needs pairs: {len(a)} and {len(b)} values")
    finite = np.isfinite(a) & np.isfinite(b)
    return pearson(ranks(a[finite]), ranks(b[finite]))


def decision_accuracy(x: ArrayLike, y: ArrayLike) -> float:
    """The share of pairs of candidates that x and y order alike; chance is 0.5, NaN without a pair.

    A pair that one side ties counts half, so that the share is (1 + Kendall's tau_a) / 2
    (DataDecide, Magnusson et al. 2025). Both sides must point the same way: negate one if not.
    """
    a, b = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if len(a) != len(b):
        raise ConfigError(f"candidates need two numbers each: {len(a)} and {len(b)} values")
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    if len(a) < 2:
        return math.nan
    first, second = np.triu_indices(len(a), 1)
    alike = np.sign(a[first] - a[second]) * np.sign(b[first] - b[second])
    return float((1 + alike.mean()) / 2)


def fisher_interval(r: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of a correlation of `n` independent points; NaN for fewer than four."""
    if not math.isfinite(r) or n < 4:
        return math.nan, math.nan
    if abs(r) >= 1:
        return r, r
    reach = NormalDist().inv_cdf((1 + confidence) / 2) / math.sqrt(n - 3)
    middle = math.atanh(r)
    return math.tanh(middle - reach), math.tanh(middle + reach)


def _within(a: NDArray[np.float64], b: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    a, b = _centred(a, codes), _centred(b, codes)
    # What rounding leaves of a constant is no variation.
    for side in (a, b):
        if len(side) and np.ptp(side) <= 1e-12 * max(1.0, float(np.abs(side).max())):
            return math.nan
    return pearson(a, b)


def _centred(values: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    _, place = np.unique(codes, return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place)
    result: NDArray[np.float64] = values - (sums / np.maximum(counts, 1))[place]
    return result


def _ranks_within(values: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    out = np.empty(len(values))
    for code in np.unique(codes):
        inside = codes == code
        out[inside] = ranks(values[inside])
    return out


def _codes(labels: Sequence[Hashable] | None, n: int) -> NDArray[np.int64]:
    if labels is None:
        return np.zeros(n, np.int64)
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(label, len(known)) for label in labels], np.int64)


def _bootstrap(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    codes: NDArray[np.int64],
    units: NDArray[np.int64],
    strata: NDArray[np.int64],
    draws: int,
    seed: int,
) -> tuple[float, float]:
    """The middle 95 % of `_within` over rows drawn by units, with replacement, in each stratum.

    A row weighs as much as its unit was drawn often, so that many draws are computed at once.
    """
    if not len(a):
        return math.nan, math.nan
    random = np.random.default_rng(seed)
    _, first, unit_of = np.unique(units, return_index=True, return_inverse=True)
    home = strata[first]
    kinds = [np.flatnonzero(home == stratum) for stratum in np.unique(home)]
    chunks = []
    at_once = max(1, _MOST_AT_ONCE // len(a))
    for begin in range(0, draws, at_once):
        size = min(at_once, draws - begin)
        counts = np.zeros((size, len(first)))
        for kind in kinds:
            drawn = kind[random.integers(0, len(kind), (size, len(kind)))]
            np.add.at(counts, (np.arange(size)[:, None], drawn), 1)
        chunks.append(_weighted(a, b, codes, counts[:, unit_of]))
    values = np.concatenate(chunks) if chunks else np.empty(0)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _weighted(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    codes: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return `_within` of the rows taken `weights` [draws, n] times each, one a draw."""
    groups, group_of = np.unique(codes, return_inverse=True)
    member = (group_of[:, None] == np.arange(len(groups))).astype(np.float64)
    sizes = np.maximum(weights @ member, 1)
    undefined = weights.sum(1) < 2
    sides = []
    for values in (a, b):
        side = values - ((weights * values) @ member / sizes)[:, group_of]
        side[weights == 0] = 0.0
        reach = np.abs(side).max(1)
        least = np.where(weights > 0, side, np.inf).min(1)
        most = np.where(weights > 0, side, -np.inf).max(1)
        undefined |= most - least <= 1e-12 * np.maximum(1.0, reach)
        sides.append(side)
    one, two = sides
    products = [(weights * x * y).sum(1) for x, y in ((one, two), (one, one), (two, two))]
    with np.errstate(divide="ignore", invalid="ignore"):
        result: NDArray[np.float64] = products[0] / np.sqrt(products[1] * products[2])
    return np.where(undefined, np.nan, np.clip(result, -1, 1))


def _series(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64).ravel()
    if not np.isfinite(array).all():
        raise ConfigError(f"the {name} of paired differences must be finite numbers")
    return array


def _student() -> Any:
    try:
        from scipy.stats import t
    except ImportError as error:
        raise MissingExtra("a t interval", "lm") from error
    return t
