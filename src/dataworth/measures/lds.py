"""LDS, the linear datamodeling score: do scores predict what training without examples does?

Models are trained on many random subsets of the training examples, and what they do on each query
is measured. The prediction for a subset is the sum of the scores of the examples in it. The LDS of
a query is Spearman's correlation of measurements and predictions over the subsets; the LDS of a
method is the mean over queries (Park et al. 2023, arXiv 2303.14186, section 2; halves are their
default, remembered from a specification).

    masks = subsets(uid, 100)                 # bool [subsets, n]
    outputs = ...                             # train on each: [subsets, repeats, queries]
    found = lds(masks, scores, -losses)       # scores [n, queries]: larger is better
    limit = noise_ceiling(-losses)

Outputs are what the scores predict, so larger is better: minus the losses, for scores that are
reductions of a loss.

**Ceiling.** Training has noise of its own (initial weights, order), and no scores can predict it.
With several trainings of each subset (repeats) that differ in nothing but the seed, let r be the
mean correlation between two of them. The mean of R repeats then has the reliability
R r / (1 + (R - 1) r) (Spearman 1910, Brown 1910): the squared correlation of that mean with the
mean of endless repeats. So the best scores there can be reach its root. In closed form, with a
variance of s² between subsets and t² between repeats: r = s² / (s² + t²), and the ceiling is
1 / sqrt(1 + t² / (R s²)). That is Pearson's correlation; Spearman's rho is turned into it and back
by rho = 6/π · asin(r / 2), exact for normal distributions.

A method that explains one training with its own seed, start and order is measured against that
training repeated on subsets: then `repeats` is 1, and the ceiling is 1, training being a function.

**Intervals** are of 95 %, by the bootstrap: subsets and queries are both drawn again, with
replacement and independently of each other (`over="both"`), so that they tell how far the score
would move with other subsets and other queries of the kind. `over` one of them holds the other
fixed. Equal shapes and seed draw alike, so that the difference of two scores has an interval of its
own (`difference`), which is narrower than theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataworth.corpus.uid import hash_uid
from dataworth.errors import ConfigError
from dataworth.measures.statistics import CONFIDENCE

Over = Literal["both", "subsets", "queries"]
Values = NDArray[np.float64]

DRAWS = 1000
_SUBSET = 0x6C6473  # the stream of `hash_uid` for subsets
_FLAT = 1e-12  # of a column's largest value: what rounding leaves of a constant


def subsets(
    uid: NDArray[np.uint64], count: int, *, alpha: float = 0.5, seed: int = 0
) -> NDArray[np.bool_]:
    """Random subsets of the examples: bool [count, n], each with round(alpha n) of them.

    Subset j holds the examples with the smallest hashes of (seed, j, uid): it does not depend on
    their order, and more subsets leave the first ones as they are. ConfigError for an alpha that
    leaves nothing in or nothing out.
    """
    size = round(alpha * len(uid))
    if not 0 < size < len(uid):
        raise ConfigError(
            f"a share of {alpha:g} of {len(uid):,} examples is {size:,}: a subset leaves some out "
            "and keeps some"
        )
    masks = np.zeros((count, len(uid)), np.bool_)
    for number, mask in enumerate(masks):
        # The uid settles a tie of hashes; there is none unless a uid comes twice.
        order = np.lexsort((uid, hash_uid(seed, uid, _SUBSET + number)))
        mask[order[:size]] = True
    return masks


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean over queries with its interval.

    `by_query` [q]: NaN for a query whose output is the same whatever is trained on, which is left
    out; `undefined`: how many these are. `draws`: the bootstrap's. `over`: what was drawn again.
    """

    value: float
    low: float
    high: float
    by_query: Values = field(repr=False)
    draws: Values = field(repr=False)
    over: Over

    @property
    def undefined(self) -> int:
        """Queries that are left out."""
        return int(np.isnan(self.by_query).sum())


def lds(
    masks: NDArray[np.bool_],
    scores: ArrayLike,
    outputs: ArrayLike,
    *,
    over: Over = "both",
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Return the LDS of scores [n, q] on `masks` [subsets, n] with `outputs` [subsets, q].

    Outputs may be [subsets, repeats, q]; their mean over repeats counts. Ties share their mean
    rank. A query for which all predictions are equal scores 0: nothing was predicted.
    Raises ConfigError for shapes that do not fit, and for values that are not finite.
    """
    measured = _outputs(outputs).mean(1)
    weights = np.asarray(scores, np.float64)
    if weights.shape != (masks.shape[1], measured.shape[1]) or len(masks) != len(measured):
        raise ConfigError(
            f"masks {masks.shape}, scores {weights.shape} and outputs {measured.shape} do not fit: "
            "they are [subsets, n], [n, queries] and [subsets, queries]"
        )
    if not np.isfinite(weights).all():
        raise ConfigError("scores are finite numbers")
    truth, guess = _Columns(measured), _Columns(masks.astype(np.float64) @ weights)

    def by_query(count: Values) -> Values:
        return np.where(truth.flat, math.nan, _spearman(truth, guess, count))

    return _estimate(by_query, len(measured), over, draws, seed)


def noise_ceiling(
    outputs: ArrayLike, *, over: Over = "both", draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """The LDS that the best scores can have, from `outputs` [subsets, repeats, q]: see the module.

    A query whose repeats do not agree at all has a ceiling of 0; where r is not far from 0, few
    subsets give a ceiling that is somewhat low, a root being taken of an estimate. Raises
    ConfigError for fewer than two repeats, where noise cannot be told from truth.
    """
    values = _outputs(outputs)
    repeats = values.shape[1]
    if repeats < 2:
        raise ConfigError("a ceiling needs at least two trainings of each subset")
    columns = [_Columns(values[:, repeat]) for repeat in range(repeats)]
    pairs = [(a, b) for a in range(repeats) for b in range(a)]
    flat = np.all([column.flat for column in columns], axis=0)

    def by_query(count: Values) -> Values:
        agreed = [
            2 * np.sin(np.pi / 6 * _spearman(columns[a], columns[b], count)) for a, b in pairs
        ]
        r = np.clip(np.mean(agreed, axis=0), 0, 1)
        best = np.sqrt(repeats * r / (1 + (repeats - 1) * r))
        return np.where(flat, math.nan, 6 / np.pi * np.arcsin(best / 2))

    return _estimate(by_query, len(values), over, draws, seed)


def difference(a: Estimate, b: Estimate) -> tuple[float, float, float]:
    """Return (a - b, low, high), on the same subsets and queries; ConfigError if they are not."""
    if a.over != b.over or a.draws.shape != b.draws.shape or len(a.by_query) != len(b.by_query):
        raise ConfigError("a difference is of two scores of one experiment, drawn alike")
    value = a.value - b.value
    return value, *_interval(a.draws - b.draws, value)


def pooled(parts: Sequence[Estimate]) -> Estimate:
    """The mean of several estimates on the same subsets and queries, such as those of seeds."""
    first = parts[0]
    for part in parts[1:]:
        difference(first, part)  # says if they do not belong together
    draws = np.mean([part.draws for part in parts], 0)
    by_query = np.mean([part.by_query for part in parts], 0)
    value = float(np.mean([part.value for part in parts]))
    return Estimate(value, *_interval(draws, value), by_query, draws, first.over)


def _outputs(outputs: ArrayLike) -> Values:
    """[subsets, repeats, q]."""
    values = np.asarray(outputs, np.float64)
    if values.ndim == 2:
        values = values[:, None]
    if values.ndim != 3 or not values.size or not np.isfinite(values).all():
        raise ConfigError(
            "outputs are finite numbers, [subsets, queries] or [subsets, repeats, queries]"
        )
    return values


class _Columns:
    """Ranks of each column of [subsets, q], where subsets may count more than once or not at all.

    Values that rounding may have parted are ties.
    """

    def __init__(self, values: Values) -> None:
        self._order = np.argsort(values, axis=0, kind="stable")
        ordered = np.take_along_axis(values, self._order, 0)
        slack = _FLAT * np.maximum(np.abs(ordered).max(0), 1e-300)
        self.flat = ordered[-1] - ordered[0] <= slack
        new = np.ones(values.shape, np.bool_)
        new[1:] = np.diff(ordered, axis=0) > slack
        place = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
        self._first = np.maximum.accumulate(np.where(new, place, 0), axis=0)
        last = np.roll(new, -1, axis=0)
        last[-1] = True
        following = np.where(last, place, len(values))[::-1]
        self._last = np.minimum.accumulate(following, axis=0)[::-1]

    def ranks(self, count: Values) -> Values:
        """Mid-ranks [subsets, q], up to a constant; subset i stands `count[i]` times."""
        held = count[self._order]
        upto = np.cumsum(held, axis=0)
        start = np.take_along_axis(upto - held, self._first, 0)
        end = np.take_along_axis(upto, self._last, 0)
        out = np.empty(held.shape)
        np.put_along_axis(out, self._order, (start + end) / 2, 0)
        return out


def _spearman(a: _Columns, b: _Columns, count: Values) -> Values:
    """Spearman's correlation of each column [q]; 0 where a side is constant."""
    share = count / count.sum()
    x, y = a.ranks(count), b.ranks(count)
    x, y = x - share @ x, y - share @ y
    both, norm = share @ (x * y), np.sqrt((share @ (x * x)) * (share @ (y * y)))
    return np.where(norm > 0, both / np.where(norm > 0, norm, 1), 0.0)


def _estimate(
    by_query: Callable[[Values], Values],
    subsets: int,
    over: Over,
    draws: int,
    seed: int,
) -> Estimate:
    if over not in ("both", "subsets", "queries"):
        raise ConfigError(f"over is 'both', 'subsets' or 'queries', not {over!r}")
    per_query = by_query(np.ones(subsets))
    finite = np.flatnonzero(np.isfinite(per_query))
    if not len(finite):
        nothing = np.full(draws, math.nan)
        return Estimate(math.nan, math.nan, math.nan, per_query, nothing, over)
    random = np.random.default_rng(seed)
    means = np.empty(draws)
    for number in range(draws):
        rows = random.integers(subsets, size=subsets)
        chosen = random.integers(len(finite), size=len(finite))
        count = np.bincount(rows, minlength=subsets).astype(np.float64)
        values = per_query if over == "queries" else by_query(count)
        means[number] = values[finite if over == "subsets" else finite[chosen]].mean()
    value = float(per_query[finite].mean())
    return Estimate(value, *_interval(means, value), per_query, means, over)


def _interval(draws: Values, value: float) -> tuple[float, float]:
    """The middle 95 %, moved so that the draws' mean is the value: subsets that are drawn twice are
    ties, which take a little from a correlation of ranks.
    """
    if not len(draws) or np.isnan(draws).any():
        return math.nan, math.nan
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    bias = float(draws.mean()) - value
    return float(low) - bias, float(high) - bias
