"""Facility location against naive greedy, against the best subset, and in cases by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from dataworth.mechanism.facility_location import FacilityLocation, lazy_greedy
from mechanism.tables import rows_of
from mechanism.vectors import cloud, table_with


def objective(
    name: str, cosine: NDArray[np.float64], utility: NDArray[np.float64], chosen: list[int]
) -> float:
    """The formula of the module, literally."""
    total = 0.0
    for v in range(len(cosine)):
        best = max((max(cosine[i, v], 0.0) for i in chosen), default=0.0)
        if name == "cover":
            total += best
        elif name == "target":
            total += min(best, max(utility[v], 0.0))
        else:
            total += max(best - max(utility[v], 0.0), 0.0)
    return total


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float64)


@pytest.mark.parametrize("name", ["cover", "target", "new"])
def test_it_is_naive_greedy_and_keeps_its_bound(name):
    vectors = cloud(11, 3)
    utility = np.linspace(-0.2, 0.9, 11)
    cosine = unit(vectors) @ unit(vectors).T
    order = rows_of(FacilityLocation(objective=name), table_with(vectors, utility))
    chosen: list[int] = []
    for row in order:
        before = objective(name, cosine, utility, chosen)
        gains = {
            i: objective(name, cosine, utility, [*chosen, i]) - before
            for i in range(11)
            if i not in chosen
        }
        assert gains[row] == pytest.approx(max(gains.values()), abs=1e-6)
        chosen.append(row)
    for k in (2, 3):
        best = max(
            objective(name, cosine, utility, list(some))
            for some in itertools.combinations(range(11), k)
        )
        assert objective(name, cosine, utility, order[:k]) >= (1 - 1 / math.e) * best - 1e-6


def test_lazy_evaluation_changes_no_choice():
    similar = np.random.default_rng(0).random((40, 30)).astype(np.float32)
    covered = np.zeros(30, np.float32)
    order = []
    left = list(range(40))
    now = covered
    while left:
        gains = [float(np.maximum(similar[i] - now, 0).sum(dtype=np.float64)) for i in left]
        row = left[int(np.argmax(gains))]
        order.append(row)
        left.remove(row)
        now = np.maximum(now, similar[row])
    assert lazy_greedy(similar, covered).tolist() == order


def test_one_of_each_group_first_and_the_target_or_what_is_new_when_asked():
    """Three groups of copies: 5, 3 and 2 documents; the target is like the smallest."""
    vectors = np.repeat(np.eye(3), [5, 3, 2], axis=0)
    group = np.repeat([0, 1, 2], [5, 3, 2])
    utility = (group == 2) * 1.0
    cover = rows_of(FacilityLocation(), table_with(vectors, utility))
    assert group[cover[:3]].tolist() == [0, 1, 2]
    target = rows_of(FacilityLocation(objective="target"), table_with(vectors, utility))
    assert group[target[0]] == 2
    new = rows_of(FacilityLocation(objective="new"), table_with(vectors, utility))
    assert group[new[:2]].tolist() == [0, 1]
    # A target of no weight leaves the plain objective.
    plain = rows_of(FacilityLocation(objective="new", weight=0), table_with(vectors, utility))
    assert plain == cover


def test_random_candidates_reach_nearly_as_much():
    vectors = cloud(200, 8)
    cosine = unit(vectors) @ unit(vectors).T
    table = table_with(vectors)
    exact = objective("cover", cosine, np.zeros(200), rows_of(FacilityLocation(), table)[:20])
    # n/k · ln(1/ε) with ε = 0.1
    some = rows_of(FacilityLocation(candidates=23), table)
    assert sorted(some) == list(range(200))
    assert objective("cover", cosine, np.zeros(200), some[:20]) > 0.95 * exact
    assert rows_of(FacilityLocation(candidates=200), table) == rows_of(FacilityLocation(), table)
