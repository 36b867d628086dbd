"""A temperature from the data: the one whose selection has the largest gain on the target.

Gumbel top-k with temperature τ lies between top-k (0), which takes the most typical documents over
and over, and random choice. For each τ of a grid the choice is played through on the pool's random
sample, at the same share, and its gain taken (`dataworth.measures.gain`). Where the share is a few
documents of the sample, the mean over several draws of the noise counts. The largest τ within
`SLACK` of the best wins: it turns least away from the rest of the pool. This uses the half of the
target that the utility was fitted on. The other half stays unseen, for the report. How near it
comes to the τ that trains best: benchmarks/results/ruler.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import uniform
from dataworth.measures.gain import Ruler
from dataworth.mechanism.base import CHOICE

# In standard deviations of the utility over the sample (half the span of the middle 68 %).
GRID = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.5, 2.0)
# Text looked at for each τ in all draws, the documents that make a measure, the most draws.
_TEXT_BYTES = 8 * 2**20
_ENOUGH = 400
_DRAWS = 16
SLACK = 0.005  # nats per word


@dataclass(frozen=True)
class Found:
    """The temperature, in the unit of the utility, and the log-likelihood of each one tried."""

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
    """Return the best temperature for choosing `share` of the pool by size.

    `sample`: random documents of the pool, in random order; `utility` float64 [n] and `sizes` int64
    [n] are theirs. Where nothing tells temperatures apart (no document, one utility for all), it
    is 0.
    """
    finite = np.flatnonzero(np.isfinite(utility))
    sample, utility, sizes = sample.take(finite), utility[finite], sizes[finite]
    ruler = Ruler(target, sample)
    share = min(max(share, 1 / max(len(sample), 1)), 1.0)
    # The beginning of the sample is a smaller sample.
    n = max(int(np.count_nonzero(np.cumsum(sample.text_bytes) <= _TEXT_BYTES / share)), 1)
    n = min(n, len(sample))
    draws = int(np.clip(np.ceil(_ENOUGH / max(share * n, 1.0)), 1, _DRAWS))
    utility, sizes, uid = utility[:n], sizes[:n], sample.uid[:n]
    low, high = np.quantile(utility, [0.16, 0.84]) if n else (0.0, 0.0)
    spread = float(high - low) / 2
    noises = [-np.log(-np.log(uniform(seed + draw, uid, CHOICE))) for draw in range(draws)]
    budget = share * float(sizes.sum())
    chosen: dict[float, list[NDArray[np.int64]]] = {}
    for factor in GRID if spread else GRID[:1]:
        temperature = factor * spread
        chosen[temperature] = [
            _cut(utility + temperature * noise, sizes, budget)
            for noise in noises[: draws if factor else 1]
        ]
    union = np.unique(np.concatenate([rows for parts in chosen.values() for rows in parts]))
    seen = ruler.look(sample.take(union))
    tried = []
    for temperature, parts in chosen.items():
        shares = [seen.shares(np.searchsorted(union, rows)) for rows in parts]
        values = [ruler.likelihood(found) for found in shares]
        tried.append((temperature, float(np.mean(values))))
    enough = max(value for _, value in tried) - SLACK
    best = max(temperature for temperature, value in tried if value >= enough)
    return Found(_rounded(best), tuple(tried), n)


def _cut(keys: NDArray[np.float64], sizes: NDArray[np.int64], budget: float) -> NDArray[np.int64]:
    """Return the rows with the largest keys, up to the budget, in order; of equal ones the first.

    Only about the part that is needed is sorted.
    """
    likely = int(1.5 * budget * len(keys) / max(float(sizes.sum()), 1.0)) + 64
    if likely < len(keys) // 2:
        rows = np.sort(np.argpartition(keys, len(keys) - likely)[len(keys) - likely :])
        order = rows[np.argsort(-keys[rows], kind="stable")]
        ends = np.cumsum(sizes[order])
        count = int(np.searchsorted(ends, budget)) + 1
        # Rows that are as good as the last of these may have been left out.
        if count < likely and keys[order[count - 1]] > keys[order[-1]]:
            return np.sort(order[:count])
    order = np.argsort(-keys, kind="stable")
    return np.sort(order[: int(np.searchsorted(np.cumsum(sizes[order]), budget)) + 1])


def _rounded(value: float) -> float:
    """Three digits: more would be noise."""
    return float(f"{value:.3g}")
