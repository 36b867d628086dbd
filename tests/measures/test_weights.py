"""Effective sample size and correlation: closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.measures import weights
from dataworth.measures.weights import correlation, effective_sample_size, length_correlation, ranks

NUMBERS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30)


@pytest.mark.parametrize("temperature", [0.0, 0.01, 1.0, 100.0])
@pytest.mark.parametrize("n", [1, 2, 1000])
def test_equal_weights(n: int, temperature: float) -> None:
    assert effective_sample_size(np.full(n, -7.5), temperature) == pytest.approx(n)


def test_closed_forms() -> None:
    # Weights 1, 1/2, 1/4: (7/4)² / (21/16) = 49/21.
    utility = np.log([1, 0.5, 0.25])
    assert effective_sample_size(utility, 1.0) == pytest.approx(49 / 21)
    # Temperature 2 takes square roots of the weights, 1/2 squares them.
    assert effective_sample_size(utility, 0.5) == pytest.approx((21 / 16) ** 2 / (273 / 256))
    assert effective_sample_size(2 * utility, 2.0) == pytest.approx(49 / 21)
    assert effective_sample_size(utility + 1e6, 1.0) == pytest.approx(49 / 21)
    # One document carries all, or half of all is split among many.
    assert effective_sample_size(np.array([0.0, -1e5, -1e5]), 1.0) == 1
    many = np.r_[np.log(1000), np.zeros(1000)]
    assert effective_sample_size(many, 1.0) == pytest.approx(2000**2 / (1000**2 + 1000))


def test_normal_utilities() -> None:
    """Of n weights exp(s z), z normal, n exp(-s²) are effective."""
    z = np.random.default_rng(0).normal(size=400_000)
    assert effective_sample_size(0.5 * z, 1.0) == pytest.approx(4e5 * math.exp(-0.25), rel=0.02)
    assert effective_sample_size(z, 2.0) == pytest.approx(4e5 * math.exp(-0.25), rel=0.02)


@settings(deadline=None, derandomize=True)
@given(NUMBERS, st.floats(1e-3, 1e3))
def test_between_one_and_all(utility: list[float], temperature: float) -> None:
    found = effective_sample_size(np.array(utility), temperature)
    assert 1 - 1e-9 <= found <= len(utility) * (1 + 1e-9)


def test_edges() -> None:
    assert math.isnan(effective_sample_size(np.empty(0), 1.0))
    assert math.isnan(effective_sample_size(np.array([1.0, np.nan]), 1.0))
    assert effective_sample_size(np.array([1.0, 3.0, 3.0]), 0.0) == 2
    assert effective_sample_size(np.array([-np.inf, 0.0, 0.0]), 1.0) == pytest.approx(2)
    assert effective_sample_size(np.array([np.inf, 0.0]), 1.0) == 1
    assert effective_sample_size(np.array([0.0, -1.0]), 5e-324) == 1


def test_correlation() -> None:
    x = np.arange(10.0)
    assert correlation(x, 3 * x - 1) == pytest.approx(1)
    assert correlation(x, -x) == pytest.approx(-1)
    assert correlation(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(0.5)
    for constant in (np.zeros(10), np.full(10, 0.1)):
        assert math.isnan(correlation(x, constant)) and math.isnan(correlation(constant, x))
    assert math.isnan(correlation(x[:1], x[:1])) and math.isnan(correlation(x[:0], x[:0]))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(-5, 5), max_size=30))
def test_ranks(values: list[int]) -> None:
    plain = [
        sum(other < value for other in values) + (values.count(value) - 1) / 2 for value in values
    ]
    assert ranks(np.array(values, float)).tolist() == plain


def test_length_correlation() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 10**6, 500)
    uid = rng.integers(0, 2**63, 500).astype(np.uint64)
    pearson, spearman = length_correlation(2 - np.log(lengths), lengths, uid)
    assert pearson == pytest.approx(-1) and spearman == pytest.approx(-1)
    # A rule that grows with the length but not like its logarithm.
    pearson, spearman = length_correlation(lengths.astype(float) ** 2, lengths, uid)
    assert spearman == pytest.approx(1) and pearson < 0.9
    # Documents without a utility do not count; nothing to compare is NaN.
    utility = np.where(np.arange(500) < 250, np.log(lengths), np.nan)
    assert length_correlation(utility, lengths, uid)[0] == pytest.approx(1)
    assert all(map(math.isnan, length_correlation(np.full(500, np.nan), lengths, uid)))
    assert all(map(math.isnan, length_correlation(utility, np.ones(500, np.int64), uid)))
    assert all(map(math.isnan, length_correlation(utility[:0], lengths[:0], uid[:0])))
    # A length of 0 is no infinity.
    assert np.isfinite(length_correlation(np.arange(3.0), np.array([0, 5, 9]), uid[:3])).all()


def test_length_correlation_of_many_is_that_of_a_fixed_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights, "_MOST", 2_000)
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 10**6, 10_000)
    uid = rng.integers(0, 2**63, 10_000).astype(np.uint64)
    utility = np.log(lengths) + rng.normal(size=10_000)
    found = length_correlation(utility, lengths, uid)
    whole = correlation(utility, np.log(lengths))
    assert found[0] == pytest.approx(whole, abs=0.05) and found[0] != whole
    order = rng.permutation(10_000)
    turned = length_correlation(utility[order], lengths[order], uid[order])
    assert turned == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("share", [1.0, 0.9, 0.3])
def test_the_sample_is_the_finite_ones_of_smallest_uid(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where most are not finite, so that the sample goes beyond the bound first looked at."""
    monkeypatch.setattr(weights, "_MOST", 2_000)
    rng = np.random.default_rng(1)
    uid = rng.integers(0, 2**64, 10_000, dtype=np.uint64)
    lengths = rng.integers(1, 10**6, 10_000)
    utility = np.where(rng.random(10_000) < share, rng.normal(size=10_000), np.nan)
    finite = np.flatnonzero(np.isfinite(utility))
    few = finite[np.argsort(uid[finite])][:2_000]
    expected = correlation(utility[few], np.log(lengths[few]))
    assert length_correlation(utility, lengths, uid)[0] == pytest.approx(expected, rel=1e-9)
