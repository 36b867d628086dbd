"""KL reduction: how much nearer a selection's n-grams are to the target's than the pool's are.

    KL(target ‖ pool) - KL(target ‖ selection), in nats

over hashed 1- and 2-grams (DSIR, section 5; the exact notation is remembered, not checked). Every
distribution gets 1e-8 added to each bucket after normalising, and is normalised again.

A small sample is farther from everything than a large one, so a random selection has a negative
KL reduction. Hence pool and selection are compared at equal size: the pool's side is random
documents with as many n-grams as the selection was measured on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.features.ngrams import HashedNgrams

FEATURE = HashedNgrams()
FLOOR = 1e-8
DRAWS = 5
_STREAM = 0x6B6C  # of `hash_uid`, for the random selections
MEASURED = "hashed 1- and 2-grams in 10,000 buckets, 1e-8 added, at equal size"


@dataclass(frozen=True)
class Reduction:
    """`value` against a random selection of equal size, `bound` what a perfect match would reach.

    `random_spread`: standard deviation over `draws` random selections of the same size.
    `documents`: how many of the selection it was measured on. All in nats.
    """

    value: float
    bound: float
    random_spread: float
    draws: int
    documents: int


def smoothed(counts: NDArray[np.integer] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a distribution from counts: normalised, the floor added, normalised again."""
    shares = counts / max(float(counts.sum()), 1.0) + FLOOR
    result: NDArray[np.float64] = shares / shares.sum()
    return result


def divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """KL(p ‖ q) in nats; both positive and normalised."""
    return float(np.sum(p * np.log(p / q)))


def kl_reduction(
    target: Documents, pool: Documents, selection: Documents, *, seed: int = 0
) -> Reduction:
    """Return the reduction for one target; `pool` is a random sample of the pool's documents."""
    p = smoothed(FEATURE.count(target).counts)
    chosen = FEATURE.count(selection)
    baselines = [
        divergence(p, smoothed(counts))
        for counts in random_counts(pool, int(chosen.grams.sum()), seed)
    ]
    distance = divergence(p, smoothed(chosen.counts))
    mean = float(np.mean(baselines)) if baselines else float("nan")
    return Reduction(
        value=mean - distance,
        bound=mean,
        random_spread=float(np.std(baselines)) if baselines else float("nan"),
        draws=len(baselines),
        documents=len(selection),
    )


def random_counts(pool: Documents, grams: int, seed: int) -> list[NDArray[np.int64]]:
    """n-gram counts of random documents of the pool, about `grams` n-grams each time.

    As many draws as the sample gives without using a document twice, at most `DRAWS`; where the
    sample is smaller than `grams`, one draw of all of it.
    """
    if not len(pool):
        return []
    order = np.argsort(hash_uid(seed, pool.uid, _STREAM))
    # Bytes stand for n-grams here: they are known without looking at the text.
    each = FEATURE.count(pool.take(order[: min(len(order), 2000)]))
    per_byte = each.grams.sum() / max(int(pool.text_bytes[order[:2000]].sum()), 1)
    ends = np.cumsum(pool.text_bytes[order]) * per_byte
    out: list[NDArray[np.int64]] = []
    start = 0
    while len(out) < DRAWS and start < len(order):
        begin = ends[start - 1] if start else 0.0
        stop = int(np.searchsorted(ends, begin + grams)) + 1
        if stop > len(order):
            break
        out.append(FEATURE.count(pool.take(order[start:stop])).counts)
        start = stop
    return out or [FEATURE.count(pool).counts]
