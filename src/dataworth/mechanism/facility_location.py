"""Facility location: documents that stand for all of the pool, for a target, or for what is new.

With s the cosine of two documents, 0 where it is negative (ours: the sums must not fall), and S
what is chosen, the next document is the one that raises the objective most:

cover         sum over v of max over i in S of s(v, i)
target        sum over v of min(max over i in S of s(v, i), weight · u(v))
new           sum over v of max(max over i in S of s(v, i) - weight · u(v), 0)

u is the utility, which must be a cosine with the nearest of a target's texts, as of
`embedding_similarity(nearest=1)` with the same embedder; so "target" is the mutual information with
the target and "new" the gain conditional on it (Kaushal, Kothawade, Ramakrishnan, Bilmes and Iyer,
2021, arXiv 2103.00128; the formulas were read in a third-party summary). All three are monotone and
submodular, so the first k of a batch reach 1 - 1/e of the best k's objective (Nemhauser, Wolsey and
Fisher 1978). Evaluation is lazy (Minoux 1978), which changes no choice.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.mechanism.over_vectors import OverVectors, on_grid
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class FacilityLocation(OverVectors):
    """Order by the gain in how well the chosen documents represent all documents."""

    name: ClassVar[str] = "facility_location"
    objective: Literal["cover", "target", "new"] = option(
        "cover",
        help='What is represented: all documents ("cover"), what is like the target ("target"), '
        'or what the target does not represent already ("new").',
    )
    weight: float = option(
        1.0,
        help="Of the target: eta of the mutual information, nu of the conditional gain.",
        minimum=0,
    )
    candidates: int = option(
        0,
        help="Look at so many random documents in each step, not at all (0). With n/k · ln(1/ε) "
        "of them, k of n documents reach 1 - 1/e - ε in expectation (Mirzasoleiman et al. 2015).",
        minimum=0,
    )

    @property
    def needs_utility(self) -> bool:
        """Tell if the objective is about a target."""
        return self.objective != "cover"

    def walk(
        self, cosine: NDArray[np.float32], utility: NDArray[np.float64] | None, seed: int
    ) -> NDArray[np.int64]:
        """Return the greedy order of a batch."""
        similar = np.maximum(cosine, 0)
        covered = np.zeros(len(similar), np.float32)
        if utility is not None:
            target = on_grid(np.clip(utility * self.weight, 0, 1))
            if self.objective == "target":
                np.minimum(similar, target, out=similar)  # [i, v]: rows are candidates
            else:
                covered = target
        if self.candidates:
            return _sampled(similar, covered, self.candidates, seed)
        return lazy_greedy(similar, covered)


def lazy_greedy(similar: NDArray[np.float32], covered: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return candidates by falling gain, each given those before it, int64 [m].

    Parameters
    ----------
    similar
        How well candidate i stands for v, [m, n], 0 or more.
    covered
        How well each v is represented before anything is chosen, [n].
    """
    covered = covered.copy()
    heap = [(-_gain(one, covered), row, 0) for row, one in enumerate(similar)]
    heapq.heapify(heap)
    order: list[int] = []
    while heap:
        bound, row, known = heapq.heappop(heap)
        # A gain only falls as more is chosen: one computed in this step is the greatest.
        if known < len(order) and bound < 0:
            heapq.heappush(heap, (-_gain(similar[row], covered), row, len(order)))
            continue
        order.append(row)
        np.maximum(covered, similar[row], out=covered)
    return np.array(order, np.int64)


def _gain(similar: NDArray[np.float32], covered: NDArray[np.float32]) -> float:
    return float(np.maximum(similar - covered, 0).sum(dtype=np.float64))


def _sampled(
    similar: NDArray[np.float32], covered: NDArray[np.float32], candidates: int, seed: int
) -> NDArray[np.int64]:
    """Return the order of stochastic greedy: each step looks at some random candidates alone."""
    random = np.random.default_rng(seed)
    covered = covered.copy()
    left = np.arange(len(similar))
    order = np.empty(len(similar), np.int64)
    for step in range(len(order)):
        places = np.sort(random.choice(len(left), min(candidates, len(left)), replace=False))
        gains = np.maximum(similar[left[places]] - covered, 0).sum(1, dtype=np.float64)
        place = places[int(gains.argmax())]
        order[step] = left[place]
        np.maximum(covered, similar[order[step]], out=covered)
        left = np.delete(left, place)
    return order
