"""The linear datamodeling score and its ceiling against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from dataworth.errors import ConfigError
from dataworth.measures.lds import difference, lds, noise_ceiling, pooled, subsets
from dataworth.measures.statistics import spearman

N, QUERIES = 40, 12


def uid(n: int = N) -> NDArray[np.uint64]:
    return np.arange(n, dtype=np.uint64)


def additive(masks: NDArray[np.bool_], seed: int = 0) -> tuple[NDArray[np.float64], ...]:
    """Contributions [n, q], and what each subset adds up to [subsets, q]."""
    parts = np.random.default_rng(seed).standard_normal((masks.shape[1], QUERIES))
    return parts, masks @ parts


def test_subsets_are_halves_that_follow_the_uid() -> None:
    masks = subsets(uid(41), 30, seed=3)
    assert (masks.sum(1) == 20).all()
    assert len(np.unique(masks, axis=0)) == 30
    # Each example is in about half of them, and pairs are independent but for the fixed size.
    shares = subsets(uid(41), 2000).mean(0)
    assert np.abs(shares - 20 / 41).max() < 4 * math.sqrt(0.25 / 2000)
    order = np.random.default_rng(0).permutation(41)
    assert np.array_equal(subsets(uid(41)[order], 30, seed=3), masks[:, order])
    assert np.array_equal(subsets(uid(41), 10, seed=3), masks[:10])
    assert not np.array_equal(subsets(uid(41), 30, seed=4), masks)
    assert (subsets(uid(40), 5, alpha=0.9).sum(1) == 36).all()


@pytest.mark.parametrize("alpha", [0.0, 1.0, 0.01])
def test_subsets_that_say_nothing(alpha: float) -> None:
    with pytest.raises(ConfigError, match="leaves some out"):
        subsets(uid(), 3, alpha=alpha)


def test_additive_outputs_are_predicted_exactly() -> None:
    masks = subsets(uid(), 60)
    parts, outputs = additive(masks)
    found = lds(masks, parts, outputs)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1), abs=1e-12)
    # Only ranks count, and only the differences between examples.
    warped = lds(masks, 3 * parts + 7, np.exp(outputs))
    np.testing.assert_allclose(warped.by_query, 1)
    assert lds(masks, -parts, outputs).value == pytest.approx(-1)


def test_random_scores_are_worth_nothing() -> None:
    masks = subsets(uid(), 100)
    _, outputs = additive(masks)
    other = np.random.default_rng(5).standard_normal((N, QUERIES))
    found = lds(masks, other, outputs)
    # A query's standard deviation is 1 / sqrt(subsets - 1); queries are independent here.
    assert abs(found.value) < 3 / math.sqrt(99 * QUERIES)
    assert found.low < 0 < found.high
    assert lds(masks, np.ones((N, QUERIES)), outputs).value == 0


def test_each_query_is_spearman_with_ties() -> None:
    masks = subsets(uid(), 50)
    random = np.random.default_rng(1)
    scores = random.integers(0, 2, (N, QUERIES))
    outputs = random.integers(0, 4, (50, QUERIES)).astype(float)
    found = lds(masks, scores, outputs)
    expected = [spearman(outputs[:, q], (masks @ scores)[:, q]) for q in range(QUERIES)]
    np.testing.assert_allclose(found.by_query, expected, atol=1e-12)
    assert found.value == pytest.approx(np.mean(expected))
    # Rounding parts no ties.
    np.testing.assert_allclose(lds(masks, scores / 3, outputs).by_query, expected, atol=1e-12)


def test_the_mean_over_repeats_counts() -> None:
    masks = subsets(uid(), 50)
    parts, outputs = additive(masks)
    noise = np.random.default_rng(2).standard_normal(outputs.shape)
    found = lds(masks, parts, np.stack([outputs + noise, outputs - noise], 1))
    assert found.value == pytest.approx(1)


def test_a_query_that_never_moves_is_left_out() -> None:
    masks = subsets(uid(), 30)
    parts, outputs = additive(masks)
    outputs[:, 3] = 0.7
    found = lds(masks, parts, outputs)
    assert found.undefined == 1 and math.isnan(found.by_query[3])
    assert (found.value, found.low) == pytest.approx((1, 1))
    nothing = lds(masks, parts, np.zeros_like(outputs))
    assert math.isnan(nothing.value) and math.isnan(nothing.low) and nothing.undefined == QUERIES


@pytest.mark.parametrize("noise", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("repeats", [2, 5])
def test_ceiling_is_the_closed_form(noise: float, repeats: int) -> None:
    """Normal truth of variance 1 and noise of a known one: the truth itself reaches the ceiling."""
    random = np.random.default_rng(7)
    truth = random.standard_normal((1000, 40))
    outputs = truth[:, None] + noise * random.standard_normal((1000, repeats, 40))
    best = 1 / math.sqrt(1 + noise**2 / repeats)
    found = noise_ceiling(outputs, draws=20)
    assert found.value == pytest.approx(6 / math.pi * math.asin(best / 2), abs=0.015)
    assert found.low <= found.value <= found.high
    reached = [spearman(outputs.mean(1)[:, q], truth[:, q]) for q in range(40)]
    assert found.value == pytest.approx(np.mean(reached), abs=0.015)


def test_ceiling_of_no_noise_and_of_noise_alone() -> None:
    truth = np.random.default_rng(0).standard_normal((50, 3))
    assert noise_ceiling(np.stack([truth, truth], 1)).value == pytest.approx(1)
    assert noise_ceiling(np.stack([truth, -truth], 1)).value == 0
    with pytest.raises(ConfigError, match="at least two"):
        noise_ceiling(truth)


def test_intervals_hold_the_truth_and_know_what_is_drawn_again() -> None:
    """Scores with noise added: 95 % intervals hold what endless subsets would show."""
    random = np.random.default_rng(11)
    many = subsets(uid(), 4000, seed=99)
    parts, _ = additive(many)
    # All queries alike: what is left is the noise of the subsets.
    parts = np.repeat(parts[:, :1], QUERIES, 1)
    guess = parts + random.standard_normal((N, 1))
    truth = lds(many, guess, many @ parts, draws=1).value
    held = 0
    for seed in range(40):
        masks = subsets(uid(), 60, seed=seed)
        found = lds(masks, guess, masks @ parts, draws=200, over="subsets")
        held += found.low <= truth <= found.high
    assert held >= 34
    alike = lds(masks, guess, masks @ parts, draws=50, over="queries")
    assert alike.low == pytest.approx(alike.high)
    unlike = random.standard_normal((N, QUERIES))
    wide, fixed = (
        lds(masks, unlike, masks @ parts, draws=200, over=over) for over in ("both", "subsets")
    )
    assert wide.high - wide.low > fixed.high - fixed.low


def test_differences_are_paired() -> None:
    masks = subsets(uid(), 60)
    parts, outputs = additive(masks)
    random = np.random.default_rng(3)
    shared = parts + random.standard_normal(parts.shape)
    better = lds(masks, shared - 0.2 * (shared - parts), outputs, draws=300)
    worse = lds(masks, shared, outputs, draws=300)
    middle, low, high = difference(better, worse)
    assert middle == pytest.approx(better.value - worse.value)
    assert 0 < low < middle < high
    assert high - low < worse.high - worse.low
    with pytest.raises(ConfigError, match="one experiment"):
        difference(better, lds(masks, shared, outputs, draws=10))


def test_seeds_are_pooled() -> None:
    masks = subsets(uid(), 40)
    parts, outputs = additive(masks)
    other = np.random.default_rng(3).standard_normal(parts.shape)
    one, two = (lds(masks, scores, outputs, draws=100) for scores in (parts, other))
    both = pooled([one, two])
    assert both.value == pytest.approx((one.value + two.value) / 2)
    assert both.low <= both.value <= both.high
    alone = pooled([two])
    assert (alone.low, alone.high) == (two.low, two.high)
    with pytest.raises(ConfigError, match="one experiment"):
        pooled([one, lds(masks, other, outputs, draws=10)])


def test_wrong_shapes_and_values() -> None:
    masks = subsets(uid(), 10)
    parts, outputs = additive(masks)
    with pytest.raises(ConfigError, match="do not fit"):
        lds(masks, parts.T, outputs)
    with pytest.raises(ConfigError, match="do not fit"):
        lds(masks[:5], parts, outputs)
    with pytest.raises(ConfigError, match="finite"):
        lds(masks, parts, outputs * np.nan)
    with pytest.raises(ConfigError, match="finite"):
        lds(masks, parts * np.nan, outputs)
    with pytest.raises(ConfigError, match="both"):
        lds(masks, parts, outputs, over="seeds")  # type: ignore[arg-type]
