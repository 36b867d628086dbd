"""Paired differences, correlations and orders: closed forms, scipy, simulation."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dataworth.errors import ConfigError
from dataworth.measures import statistics
from dataworth.measures.statistics import (
    correlation,
    decision_accuracy,
    fisher_interval,
    paired,
    spearman,
)

finite = st.floats(-1e3, 1e3, allow_nan=False)


def test_paired_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1/√3, t(2) = 4.3027."""
    found = paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert found.points == (1.0, 2.0, 3.0) and found.difference == 2.0
    assert found.high - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.low == pytest.approx(4 - found.high)
    assert found.p == pytest.approx(0.0741799, rel=1e-5)
    assert found.verdict == "no difference shown"


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(finite, finite), min_size=2, max_size=12))
def test_paired_is_scipys(pairs: list[tuple[float, float]]) -> None:
    x, y = (list(side) for side in zip(*pairs, strict=True))
    points = np.subtract(x, y)
    if points.std() < 1e-6:
        return
    found, known = paired(x, y), stats.ttest_rel(x, y)
    assert found.p == pytest.approx(known.pvalue, rel=1e-6, abs=1e-12)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6)
    # The other way round is the same with signs turned.
    back = paired(y, x)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    turned = {"better": "worse", "worse": "better"}
    assert back.verdict == turned.get(found.verdict, found.verdict)
    # The verdict and the test say the same.
    assert (found.verdict == "no difference shown") == (found.low <= 0 <= found.high)


def test_verdicts() -> None:
    low, high = [1.0, 1.1, 0.9], [2.0, 2.2, 1.9]
    assert paired(low, high).verdict == "better"
    assert paired(high, low).verdict == "worse"
    assert paired(high, low, lower_is_better=False).verdict == "better"
    same = paired(low, low)
    assert (same.verdict, same.p, same.low, same.high) == ("no difference shown", 1.0, 0.0, 0.0)
    shifted = paired([1.0, 2.0], [2.0, 3.0])
    assert (shifted.verdict, shifted.p) == ("better", 0.0)


def test_one_pair_shows_nothing() -> None:
    found = paired([1.0], [9.0])
    assert found.difference == -8 and math.isnan(found.low) and math.isnan(found.p)
    assert found.verdict == "no difference shown"


@pytest.mark.parametrize(
    ("values", "baseline", "said"),
    [
        ([1.0], [1.0, 2.0], "1 values, 2 of a baseline"),
        ([], [], "0 values"),
        ([math.nan], [1.0], "values of paired differences must be finite"),
        ([1.0], [math.inf], "baseline of paired differences must be finite"),
    ],
)
def test_what_is_no_pair(values: list[float], baseline: list[float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        paired(values, baseline)


def test_the_interval_covers() -> None:
    """95 % of intervals hold the truth; and of no difference, 5 % are called one."""
    random = np.random.default_rng(0)
    inside = verdicts = 0
    for _ in range(600):
        noise = random.normal(size=5)
        found = paired(3 + noise + random.normal(0.5, 1, 5), 3 + noise)
        inside += found.low <= 0.5 <= found.high
        verdicts += paired(noise + random.normal(size=5), noise).verdict != "no difference shown"
    assert 0.92 < inside / 600 < 0.98
    assert 0.02 < verdicts / 600 < 0.08


def test_correlation_against_scipy() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=30)
    y = x + random.normal(size=30)
    found, known = correlation(x, y), stats.pearsonr(x, y)
    assert found.r == pytest.approx(known.statistic, rel=1e-12)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-12)
    assert (found.n, found.groups) == (30, 1)


def test_groups_differ_without_counting() -> None:
    """Simpson's paradox: within each target x predicts y perfectly, over all it seems not to."""
    x = np.array([0.0, 1, 2, 10, 11, 12])
    y = np.array([10.0, 11, 12, 0, 1, 2])
    groups = ["math"] * 3 + ["code"] * 3
    assert correlation(x, y).r < -0.9
    found = correlation(x, y, groups)
    assert found.r == pytest.approx(1) and found.spearman == pytest.approx(1)
    assert (found.n, found.groups) == (6, 2)
    # By hand: the deviations from the groups' means, and two means taken up.
    random = np.random.default_rng(2)
    a, b = random.normal(size=(2, 12))
    codes = np.repeat([0, 1, 2], 4)
    centred = [side - np.repeat([side[codes == c].mean() for c in range(3)], 4) for side in (a, b)]
    found = correlation(a, b, codes.tolist())
    assert found.r == pytest.approx(np.corrcoef(*centred)[0, 1], rel=1e-12)
    assert (found.low, found.high) == pytest.approx(fisher_interval(found.r, 10))


def test_fisher_by_hand() -> None:
    low, high = fisher_interval(0.5, 28)
    assert math.atanh(high) - math.atanh(0.5) == pytest.approx(1.959964 / 5, rel=1e-6)
    assert math.atanh(0.5) - math.atanh(low) == pytest.approx(1.959964 / 5, rel=1e-6)
    assert fisher_interval(1.0, 9) == (1.0, 1.0)
    assert all(math.isnan(value) for value in fisher_interval(0.5, 3))
    assert all(math.isnan(value) for value in fisher_interval(math.nan, 30))


def test_the_bootstrap() -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=60)
    y = x + random.normal(size=60)
    fisher, drawn = correlation(x, y), correlation(x, y, interval="bootstrap", draws=500)
    assert (drawn.low, drawn.high) == pytest.approx((fisher.low, fisher.high), abs=0.08)
    assert drawn == correlation(x, y, interval="bootstrap", draws=500)
    # Points that are copies say no more than one of them: drawn as clusters, the interval knows.
    many = [np.repeat(side, 5) for side in (x, y)]
    clusters = np.repeat(np.arange(60), 5).tolist()
    wide = correlation(*many, interval="bootstrap", clusters=clusters, draws=500)
    narrow = correlation(*many, interval="bootstrap", draws=500)
    assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)
    assert wide.high - wide.low == pytest.approx(drawn.high - drawn.low, rel=0.2)


@pytest.mark.parametrize("at_once", [2**22, 100])
def test_the_bootstrap_is_that_of_rows_drawn_one_after_the_other(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole clusters, which lie in several groups; draws of one cluster alone say nothing."""
    monkeypatch.setattr(statistics, "_MOST_AT_ONCE", at_once)
    random = np.random.default_rng(5)
    x, noise = random.normal(size=(2, 12))
    y, groups, clusters = x + noise, np.tile(np.arange(3), 4), np.repeat(np.arange(4), 3)
    drawn, found = np.random.default_rng(0), []
    for _ in range(300):
        rows = np.concatenate([np.flatnonzero(clusters == c) for c in drawn.choice(4, 4)])
        found.append(statistics._within(x[rows], y[rows], groups[rows]))
    assert any(map(math.isnan, found))
    expected = np.nanquantile(found, [0.025, 0.975])
    made = correlation(
        x, y, groups.tolist(), interval="bootstrap", clusters=clusters.tolist(), draws=300
    )
    assert (made.low, made.high) == pytest.approx(tuple(expected), abs=1e-12)


def test_what_has_no_correlation() -> None:
    for x, y in (([], []), ([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0])):
        found = correlation(x, y)
        assert math.isnan(found.r) and math.isnan(found.low) and math.isnan(found.spearman)
    # A group of one point says nothing: its deviation is zero.
    found = correlation([5.0, 1.0], [1.0, 7.0], ["a", "b"])
    assert math.isnan(found.r)
    left_out = correlation([1.0, 2.0, 3.0, math.nan], [1.0, 2.0, 3.0, 4.0])
    assert left_out.n == 3 and left_out.r == pytest.approx(1)
    for bad in (lambda: correlation([1.0], [1.0, 2.0]), lambda: spearman([1.0], [])):
        with pytest.raises(ConfigError, match="needs pairs"):
            bad()


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
def test_spearman_is_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(side, float) for side in zip(*pairs, strict=True))
    if np.ptp(x) and np.ptp(y):
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    else:
        assert math.isnan(spearman(x, y))


def test_decision_accuracy() -> None:
    order = [3.0, 1.0, 2.0, 5.0]
    assert decision_accuracy(order, order) == 1
    assert decision_accuracy(order, [-value for value in order]) == 0
    assert decision_accuracy([1.0, 2.0], [7.0, 7.0]) == 0.5
    assert math.isnan(decision_accuracy([1.0], [1.0]))
    assert math.isnan(decision_accuracy([1.0, math.nan], [1.0, 2.0]))
    with pytest.raises(ConfigError, match="two numbers each"):
        decision_accuracy([1.0], [])


@settings(deadline=None, derandomize=True)
@given(st.permutations(list(range(8))))
def test_decision_accuracy_is_kendalls_tau(order: list[int]) -> None:
    tau = stats.kendalltau(range(8), order).statistic
    assert decision_accuracy(range(8), order) == pytest.approx((1 + tau) / 2)


def test_the_noise_model_of_decisions() -> None:
    """Candidates that differ by d, r seeds of noise s: Φ(d √r / (s √2)) of decisions are right."""
    random = np.random.default_rng(4)
    delta, sigma, seeds, draws = 0.5, 1.0, 4, 4_000
    means = random.normal([0.0, delta], sigma / math.sqrt(seeds), (draws, 2))
    right = np.mean([decision_accuracy(pair, [0.0, delta]) for pair in means])
    expected = stats.norm.cdf(delta * math.sqrt(seeds) / (sigma * math.sqrt(2)))
    assert right == pytest.approx(expected, abs=4 * math.sqrt(0.25 / draws))


def test_more_points_narrow_the_interval() -> None:
    widths = [np.diff(fisher_interval(0.8, n))[0] for n in (5, 10, 50, 500)]
    assert all(b < a for a, b in pairwise(widths))
