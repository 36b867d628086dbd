"""Bradley-Terry against closed forms, against the classical iteration, and on planted scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import approx_fprime

from dataworth.features.preferences import (
    Values,
    choose_ridge,
    cross_entropy,
    fit_shares,
    sigmoid,
)


def games(items: int, count: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random pairs (left, right), and every neighbour once, so that all are connected."""
    rng = np.random.default_rng(seed)
    left = np.r_[np.arange(items), rng.integers(0, items, count)]
    right = np.r_[(np.arange(items) + 1) % items, rng.integers(0, items, count)]
    return left[left != right], right[left != right]


def differences(left: NDArray[np.int64], right: NDArray[np.int64], items: int) -> Values:
    return np.asarray(np.eye(items)[right] - np.eye(items)[left])


def minorise(left: Values, right: Values, shares: Values, items: int) -> Values:
    """Zermelo's iteration (1929): worth_i = wins_i / Σ_j games_ij / (worth_i + worth_j)."""
    wins, worth = np.zeros(items), np.ones(items)
    np.add.at(wins, right, shares)
    np.add.at(wins, left, 1 - shares)
    for _ in range(3000):
        share, each = np.zeros(items), 1 / (worth[left] + worth[right])
        np.add.at(share, left, each)
        np.add.at(share, right, each)
        worth = wins / share
        worth /= np.exp(np.log(worth).mean())
    return np.asarray(np.log(worth))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9])
def test_two_items_have_a_closed_form(share: float) -> None:
    found = fit_shares(np.array([[-1.0, 1.0]]), np.array([share]), ridge=1e-9)
    assert found[1] - found[0] == pytest.approx(np.log(share / (1 - share)), abs=1e-5)
    assert found.sum() == pytest.approx(0, abs=1e-9)


def test_the_classical_iteration_finds_the_same() -> None:
    left, right = games(12, 300)
    shares = np.random.default_rng(1).beta(2, 2, len(left))
    found = fit_shares(differences(left, right, 12), shares, ridge=1e-9)
    np.testing.assert_allclose(found, minorise(left, right, shares, 12), atol=1e-6)


def test_planted_scores_are_recovered() -> None:
    """The check of the specification, smaller: 60 items, 1,500 pairs, twenty votes on each."""
    rng = np.random.default_rng(2)
    scores = rng.standard_normal(60)
    left, right = games(60, 1500)
    votes = rng.binomial(20, sigmoid(scores[right] - scores[left])) / 20
    found = fit_shares(differences(left, right, 60), votes, ridge=0.1)
    assert np.corrcoef(found, scores)[0, 1] > 0.99


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 10))
def test_swapped_pairs_and_a_zero_gradient(seed: int, ridge: float) -> None:
    rng = np.random.default_rng(seed)
    inputs, shares = rng.standard_normal((30, 4)), rng.random(30)
    found = fit_shares(inputs, shares, ridge)
    np.testing.assert_allclose(fit_shares(-inputs, 1 - shares, ridge), found, atol=1e-6)

    def loss(weights: Values) -> float:
        penalty = 0.5 * ridge * float(weights @ weights)
        return float(cross_entropy(inputs @ weights, shares).sum()) + penalty

    assert np.abs(approx_fprime(found, loss, 1e-7)).max() < 1e-3


def test_separable_votes_stay_finite() -> None:
    found = fit_shares(np.array([[1000.0], [900.0]]), np.array([1.0, 1.0]), ridge=0.001)
    assert np.isfinite(found).all() and found[0] > 0


def test_the_ridge_is_chosen_by_held_out_loss() -> None:
    rng = np.random.default_rng(3)
    truth = np.r_[2.0, -2.0, np.zeros(38)]
    inputs = rng.standard_normal((400, 40))
    shares = (rng.random(400) < sigmoid(inputs @ truth)).astype(float)
    ridge, logits = choose_ridge(inputs, shares)
    assert 0.1 <= ridge <= 10
    assert ((logits > 0) == (shares > 0.5)).mean() > 0.75
    assert choose_ridge(inputs, np.full(400, 0.5))[0] == 10  # nothing to learn
    assert choose_ridge(inputs[:2], shares[:2])[0] == 10  # too few to tell
