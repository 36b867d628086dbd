"""A temperature from the data: the one whose selection is nearest to the target.

Gumbel top-k with temperature τ lies between top-k (0), which takes the most typical documents over
and over, and random choice. For each τ of a grid the choice is played through on the pool's random
sample, at the same share (with one target, with the very noise of the real one); the τ with the
largest KL reduction wins. This uses the half of the target that the utility was fitted on: on our
data the τ it finds is as good as one found by cross-validation (benchmarks/results/defaults.md).
The other half stays unseen, for the report.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import uniform
from dataworth.judges.kl import FEATURE, divergence, smoothed
from dataworth.mechanism.base import CHOICE

# In standard deviations of the utility over the sample (half the span of the middle 68 %).
GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.5, 2.0)
# Text looked at for each τ, and the fewest documents that make a choice worth measuring.
_TEXT_BYTES = 8 * 2**20
_LEAST = 100


@dataclass(frozen=True)
class Found:
    """The temperature, in the unit of the utility, and the KL divergence of each one tried."""

    temperature: float
    tried: tuple[tuple[float, float], ...]
    documents: int


def find_temperature(
    sample: Documents,
    utility: NDArray[np.float64],
    sizes: NDArray[np.int64],
    target: Documents,
    *,
    share: float,
    seed: int,
) -> Found:
    """The best temperature for choosing `share` of the pool by size.

    `sample`: random documents of the pool; `utility` float64 [n] and `sizes` int64 [n] are theirs.
    Where nothing tells temperatures apart (no document, one utility for all), it is 0.
    """
    finite = np.flatnonzero(np.isfinite(utility))
    sample, utility, sizes = sample.take(finite), utility[finite], sizes[finite]
    share = min(max(share, _LEAST / max(len(sample), 1)), 1.0)
    # The sample lies in random order, so that its beginning is a smaller sample.
    enough = np.cumsum(sample.text_bytes) <= _TEXT_BYTES / share
    n = max(int(np.count_nonzero(enough)), min(len(sample), 1))
    rows = np.arange(n)
    sample, utility, sizes = sample.take(rows), utility[:n], sizes[:n]
    p = smoothed(FEATURE.count(target).counts)
    low, high = np.quantile(utility, [0.16, 0.84]) if n else (0.0, 0.0)
    spread = float(high - low) / 2
    noise = -np.log(-np.log(uniform(seed, sample.uid, CHOICE)))
    tried = []
    for factor in GRID:
        temperature = factor * spread
        order = np.argsort(-(utility + temperature * noise), kind="stable")
        stop = int(np.searchsorted(np.cumsum(sizes[order]), share * sizes.sum())) + 1
        chosen = FEATURE.count(sample.take(np.sort(order[:stop])))
        tried.append((temperature, divergence(p, smoothed(chosen.counts))))
        if spread == 0:
            break
    best = min(tried, key=lambda pair: (pair[1], pair[0]))
    return Found(_rounded(best[0]), tuple(tried), n)


def _rounded(value: float) -> float:
    """Three digits: more would be noise."""
    return float(f"{value:.3g}")
