"""The overlap of two selections: the texts that both have, and their rank correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.uid import hash_uid
from dataworth.measures.weights import correlation, ranks

_STREAM = 0x6F766C70  # of `hash_uid`, for the documents that ranks are compared on
_MOST = 200_000


def common(uid_a: NDArray[np.uint64], uid_b: NDArray[np.uint64]) -> int:
    """Count the distinct uids that two sets share; copies count once."""
    return len(np.intersect1d(uid_a, uid_b))


def jaccard(uid_a: NDArray[np.uint64], uid_b: NDArray[np.uint64]) -> float:
    """Texts in both / texts in one or both: 0 to 1, NaN for two empty sets.

    `uid_a`, `uid_b` uint64 [any]: copies count once, the order does not matter.
    """
    a, b = np.unique(uid_a), np.unique(uid_b)
    both = len(np.intersect1d(a, b, assume_unique=True))
    either = len(a) + len(b) - both
    return both / either if either else float("nan")


def expected_jaccard(size_a: int, size_b: int, pool: int) -> float:
    """About what two random sets of these sizes have, of `pool` documents; NaN where undefined.

    The expected number in both is `size_a * size_b / pool`; the ratio is taken of expectations.
    """
    if not pool:
        return float("nan")
    both = size_a * size_b / pool
    either = size_a + size_b - both
    return both / either if either else float("nan")


def rank_correlation(
    uid_a: NDArray[np.uint64],
    values_a: NDArray[np.float64],
    uid_b: NDArray[np.uint64],
    values_b: NDArray[np.float64],
    *,
    most: int = _MOST,
) -> tuple[float, int]:
    """(Spearman's correlation over the documents that both have a finite value for, how many).

    `values_*` float64 [n], utilities or places in an order, of the documents `uid_*` uint64 [n]. A
    text that is there several times counts with its first value. Where both have more than
    `most` documents in common, those of smallest hash are taken. NaN where it is not defined.
    """
    uid_a, values_a = _firsts(uid_a, values_a)
    uid_b, values_b = _firsts(uid_b, values_b)
    _, in_a, in_b = np.intersect1d(uid_a, uid_b, assume_unique=True, return_indices=True)
    if len(in_a) > most:
        hashed = hash_uid(0, uid_a[in_a], _STREAM)
        few = np.argpartition(hashed, most)[:most]
        in_a, in_b = in_a[few], in_b[few]
    return correlation(ranks(values_a[in_a]), ranks(values_b[in_b])), len(in_a)


def _firsts(
    uid: NDArray[np.uint64], values: NDArray[np.float64]
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Return the different uids with a finite value, and the first one of each."""
    finite = np.isfinite(values)
    found, first = np.unique(uid[finite], return_index=True)
    return found, values[finite][first]
