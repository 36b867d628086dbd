"""Correlation estimators and projections against loops, SciPy and values of the paper's code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dataworth.features.correlations import (
    ESTIMATORS,
    concordance,
    project_l2,
    project_linear,
    ranks,
    sign_sign,
    spearmanr,
)

LOSSES = np.array([[1, 4, 2], [2, 3, 2.5], [3, 2, 1.5], [4, 1, 3]])
ERRORS = np.array([0.1, 0.2, 0.3, 0.4])


def pairs(losses: np.ndarray, errors: np.ndarray, inner: object) -> np.ndarray:
    n = len(errors)
    total = np.zeros(losses.shape[1])
    for i, k in itertools.combinations(range(n), 2):
        for j in range(losses.shape[1]):
            total[j] += np.sign(errors[k] - errors[i]) * inner(losses[k, j] - losses[i, j])  # type: ignore[operator]
    return 2 / (n * (n - 1)) * total


def naive(name: str, losses: np.ndarray, errors: np.ndarray) -> np.ndarray:
    n = len(errors)
    by_rank = np.array([[1 + sum(column < one) for one in column] for column in losses.T]).T
    if name == "product":
        return np.array([np.mean(errors * column) for column in losses.T])
    if name == "sign":
        return pairs(losses, errors, float)
    if name == "sign_cdf":
        return pairs(by_rank / n, errors, float)
    if name == "sign_sign":
        return pairs(losses, errors, np.sign)
    places = np.array([1 + sum(errors < one) for one in errors])
    apart = [sum((places - column) ** 2) for column in by_rank.T]
    return np.array([1 - 6 * one / (n * (n**2 - 1)) for one in apart])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("product", (0.75, 0.5, 0.5875)),
        ("sign", (1.6667, -1.6667, 0.3333)),
        ("sign_cdf", (0.4167, -0.4167, 0.1667)),
        ("sign_sign", (1, -1, 0.3333)),
        ("spearmanr", (1, -1, 0.4)),
    ],
)
def test_estimators(name: str, values: tuple[float, ...]) -> None:
    assert ESTIMATORS[name](LOSSES, ERRORS) == pytest.approx(values, abs=1e-4)
    draw = np.random.default_rng(0)
    losses, errors = draw.normal(size=(9, 20)), draw.normal(size=9)
    assert ESTIMATORS[name](losses, errors) == pytest.approx(naive(name, losses, errors))


def test_rank_estimators_are_those_of_scipy_and_hang_on_order_alone() -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(1)
    losses, errors = draw.normal(size=(12, 15)), draw.normal(size=12)
    truth = [stats.spearmanr(column, errors).statistic for column in losses.T]
    assert spearmanr(losses, errors) == pytest.approx(truth)
    truth = [stats.kendalltau(column, errors).statistic for column in losses.T]
    assert sign_sign(losses, errors) == pytest.approx(truth)
    for name in ("sign_cdf", "sign_sign", "spearmanr"):
        moved = ESTIMATORS[name](np.exp(losses) ** 3, np.arctan(errors))
        assert moved == pytest.approx(ESTIMATORS[name](losses, errors))


def test_estimates_have_their_expectation() -> None:
    """For Gaussian losses and a monotone map: the arcsines of the paper's theorem."""
    draw = np.random.default_rng(2)
    weights = draw.normal(size=6)
    weights /= np.linalg.norm(weights)
    losses = draw.normal(size=(1500, 6))
    noisy = losses @ weights + draw.normal(size=1500)
    errors = 1 / (1 + np.exp(-noisy))
    wanted = 2 / np.pi * np.arcsin(weights / np.sqrt(2))
    assert sign_sign(losses, errors) == pytest.approx(wanted, abs=0.06)
    wanted = 2 / np.pi * np.arcsin(weights / (2 * np.sqrt(2)))
    assert ESTIMATORS["sign_cdf"](losses, errors) == pytest.approx(wanted, abs=0.06)


def test_equal_values_rank_in_order() -> None:
    assert ranks(np.array([[2.0], [1.0], [2.0], [1.0]]))[:, 0].tolist() == [3, 1, 4, 2]


def test_projections_of_the_reference() -> None:
    estimates, caps = np.array([-0.3, 4, 1, 0.9, 0]), np.array([0.2, 0.5, 0.9, 0.4, 1])
    assert project_linear(estimates, caps) == pytest.approx([0, 0.5, 0.5, 0, 0])
    assert project_l2(estimates, caps) == pytest.approx([0, 0.5, 0.3, 0.2, 0])


@pytest.mark.parametrize("seed", range(8))
def test_projections_are_the_best_weights(seed: int) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    draw = np.random.default_rng(seed)
    estimates, caps = draw.normal(size=7), draw.uniform(0.05, 0.6, 7)
    caps *= max(1, 1.1 / caps.sum())
    linear, near = project_linear(estimates, caps), project_l2(estimates, caps)
    for weights in (linear, near):
        assert (
            weights.sum() == pytest.approx(1) and (weights >= 0).all() and (weights <= caps).all()
        )
    bounds = list(zip([0] * 7, caps, strict=True))
    best = optimize.linprog(-estimates, A_eq=np.ones((1, 7)), b_eq=[1], bounds=bounds)
    assert estimates @ linear == pytest.approx(-best.fun)
    # Nearest: no other allowed weights make an acute angle with what is left over.
    others = [project_linear(draw.normal(size=7), caps) for _ in range(200)]
    assert max((estimates - near) @ (other - near) for other in others) <= 1e-9


def test_concordance_is_kendalls_and_leaves_equal_scores_out() -> None:
    draw = np.random.default_rng(3)
    losses, errors = draw.normal(size=(7, 30)), draw.normal(size=7)
    right, count = concordance(losses, errors)
    assert count == 21
    assert 2 * right / count - 1 == pytest.approx(sign_sign(losses, errors))
    assert (concordance(np.exp(losses), errors)[0] == right).all()
    errors[1] = errors[0]
    right, count = concordance(losses, errors)
    assert count == 20 and right.max() <= 20
    assert concordance(losses[:2], np.array([0.1, 0.2]))[1] == 1
