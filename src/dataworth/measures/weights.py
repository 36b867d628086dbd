"""Diagnostics of sampling weights: effective sample size, and correlation with length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST = 200_000
_BLOCK = 1 << 18  # utilities whose weights are held at a time


def effective_sample_size(utility: NDArray[np.float64], temperature: float) -> float:
    """Return (Σw)² / Σw² with w = exp(utility / temperature): how many documents carry the weight.

    At temperature 0 the largest utilities alone count. NaN for no documents, or if one is NaN.
    """
    if not len(utility) or np.isnan(utility).any():
        return float("nan")
    top = float(np.max(utility))
    if temperature == 0 or not np.isfinite(top):
        return float(np.count_nonzero(utility == top))
    total = squares = 0.0
    for start in range(0, len(utility), _BLOCK):
        with np.errstate(over="ignore"):  # a weight of exp(-inf) is 0, as it should be
            weights = np.exp((utility[start : start + _BLOCK] - top) / temperature)
        total += float(weights.sum())
        squares += float(np.square(weights).sum())
    return total**2 / squares


def length_correlation(
    utility: NDArray[np.float64], lengths: NDArray[np.int64], uid: NDArray[np.uint64]
) -> tuple[float, float]:
    """Return (Pearson, Spearman) correlation of the utility with the logarithm of the length.

    On at most 200,000 documents, those of smallest uid, which is a hash of the text. NaN where one
    of both is constant.
    """
    finite = _finite_of_smallest_uid(utility, uid)
    x, y = utility[finite], np.log(np.maximum(lengths[finite], 1))
    return correlation(x, y), correlation(ranks(x), ranks(y))


def _finite_of_smallest_uid(
    utility: NDArray[np.float64], uid: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Rows with a finite utility, the `_MOST` of smallest uid if there are more."""
    # Nearly always so many are below this bound, and the others need not be looked at.
    bound = min(2**64 - 1, int(1.25 * 2**64 * _MOST / max(len(uid), 1)))
    for wanted in (uid <= np.uint64(bound), np.ones(1, np.bool_)):
        rows = np.flatnonzero(np.isfinite(utility) & wanted)
        if len(rows) > _MOST:
            return rows[np.argpartition(uid[rows], _MOST)[:_MOST]]
    return rows


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's correlation; NaN where it is not defined."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    result: NDArray[np.float64] = (ends - (counts + 1) / 2)[inverse]
    return result
