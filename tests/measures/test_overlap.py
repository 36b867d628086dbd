"""Overlap of selections: sets by hand, chance by simulation, ranks against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dataworth.measures.overlap import common, expected_jaccard, jaccard, rank_correlation

uids = st.lists(st.integers(0, 30), max_size=40)


def array(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


@settings(deadline=None, derandomize=True)
@given(uids, uids)
def test_jaccard_is_that_of_sets(a: list[int], b: list[int]) -> None:
    both, either = set(a) & set(b), set(a) | set(b)
    assert common(array(a), array(b)) == len(both)
    found = jaccard(array(a), array(b))
    if not either:
        assert math.isnan(found)
        return
    assert found == len(both) / len(either)
    assert found == jaccard(array(b), array(a))
    assert jaccard(array(a), array(a)) == 1 or not a


def test_jaccard_by_chance() -> None:
    random = np.random.default_rng(0)
    pool = random.integers(0, 2**63, 5_000, np.uint64)
    found = [
        jaccard(random.choice(pool, 900, replace=False), random.choice(pool, 400, replace=False))
        for _ in range(50)
    ]
    assert expected_jaccard(900, 400, 5_000) == pytest.approx(72 / 1228)
    assert np.mean(found) == pytest.approx(72 / 1228, rel=0.05)
    assert expected_jaccard(10, 10, 10) == 1
    assert math.isnan(expected_jaccard(0, 0, 10)) and math.isnan(expected_jaccard(1, 1, 0))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=20))
def test_ranks_are_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(side, float) for side in zip(*pairs, strict=True))
    uid = np.arange(len(x), dtype=np.uint64)
    order = np.random.default_rng(0).permutation(len(x))
    found, n = rank_correlation(uid, x, uid[order], y[order])
    assert n == len(x)
    if np.ptp(x) and np.ptp(y):
        assert found == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    else:
        assert math.isnan(found)


def test_only_what_both_know_is_compared() -> None:
    nan = math.nan
    # In both: 2, 3 and 5; of the text 2 that is there twice, the first value.
    found, n = rank_correlation(
        array([1, 2, 2, 3, 4, 5]),
        np.array([9.0, 1, 8, 2, nan, 3]),
        array([5, 4, 3, 2, 7]),
        np.array([30.0, 5, 20, 10, 1]),
    )
    assert (found, n) == (pytest.approx(1), 3)
    found, n = rank_correlation(array([1]), np.ones(1), array([2]), np.ones(1))
    assert math.isnan(found) and n == 0


def test_many_documents_are_thinned() -> None:
    random = np.random.default_rng(1)
    uid = random.integers(0, 2**63, 3_000, np.uint64)
    x = random.normal(size=3_000)
    y = x + random.normal(size=3_000)
    whole, n = rank_correlation(uid, x, uid, y)
    few, m = rank_correlation(uid, x, uid, y, most=1_000)
    assert (n, m) == (3_000, 1_000)
    assert few == pytest.approx(whole, abs=0.06) and few != whole
    order = random.permutation(3_000)
    assert rank_correlation(uid[order], x[order], uid, y, most=1_000)[0] == pytest.approx(few)
