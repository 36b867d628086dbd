"""Correlation of many models' losses with their benchmark errors, and weights made of it.

Thrush, Potts and Hashimoto, "Improving Pretraining Data Using Perplexity Correlations", 2024, arXiv
2409.05816 (formulas from their code). `losses` float64 [N, D] are those of N models on D domains or
documents, in bits per byte; `errors` [N] are those of the models on a benchmark. A column whose
losses rise with the errors is useful.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def ranks(values: Values) -> Values:
    """Return the ranks 1 … N within each column; equal ones rank in the order they stand in."""
    order = np.argsort(values, axis=0, kind="stable")
    return np.asarray(np.argsort(order, axis=0, kind="stable") + 1, np.float64)


def product(losses: Values, errors: Values) -> Values:
    """Return the mean of products, float64 [D]."""
    return np.asarray(errors @ losses / len(errors))


def sign(losses: Values, errors: Values) -> Values:
    """Return the mean over pairs of models of sgn(error difference) times loss difference, [D]."""
    # In the sum over pairs each model counts with its errors above less those below.
    n = len(errors)
    counts = np.sign(errors[:, None] - errors[None, :]).sum(1)
    return np.asarray(2 / (n * (n - 1)) * counts @ losses)


def sign_cdf(losses: Values, errors: Values) -> Values:
    """Return the same of ranks / N in place of losses, [D]."""
    return sign(ranks(losses) / len(errors), errors)


def sign_sign(losses: Values, errors: Values) -> Values:
    """Return the mean over pairs of the product of both signs, [D]: Kendall's tau-a."""
    n = len(errors)
    total = np.zeros(losses.shape[1])
    for k in range(1, n):
        total += np.sign(errors[k] - errors[:k]) @ np.sign(losses[k] - losses[:k])
    return 2 / (n * (n - 1)) * total


def spearmanr(losses: Values, errors: Values) -> Values:
    """Return 1 - 6 Σ d² / (N (N² - 1)) of rank differences d, [D]."""
    n = len(errors)
    apart = ranks(errors[:, None]) - ranks(losses)
    return np.asarray(1 - 6 * np.square(apart).sum(0) / (n * (n * n - 1)))


ESTIMATORS: dict[str, Callable[[Values, Values], Values]] = {
    one.__name__: one for one in (product, sign, sign_cdf, sign_sign, spearmanr)
}


def project_linear(estimates: Values, caps: Values) -> Values:
    """Return the weights of sum 1 below `caps` with the largest Σ weight · estimate, [D].

    The best column gets its cap, then the next, until the sum is 1.
    """
    order = np.argsort(-estimates, kind="stable")
    before = np.cumsum(caps[order]) - caps[order]
    weights = np.empty(len(caps))
    weights[order] = np.clip(1 - before, 0, caps[order])
    return weights


def project_l2(estimates: Values, caps: Values) -> Values:
    """Return the weights of sum 1 between 0 and `caps` that are nearest to the estimates, [D].

    They are clip(estimate + c, 0, cap), with c by bisection.
    """
    low, high = -float(estimates.max()), float((caps - estimates).max())
    while high - low > 1e-12:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if np.clip(estimates + middle, 0, caps).sum() < 1:
            low = middle
        else:
            high = middle
    return np.clip(estimates + high, 0, caps)


PROJECTIONS: dict[str, Callable[[Values, Values], Values]] = {
    "linear": project_linear,
    "l2": project_l2,
}


def concordance(losses: Values, errors: Values) -> tuple[NDArray[np.int64], int]:
    """Return how many pairs of models each column orders as the errors do, int64 [D], of how many.

    Shum et al., "Predictive Data Selection", 2025, arXiv 2503.00808: a pair agrees where the model
    of the lower error has the lower loss. Pairs of equal errors tell nothing and are left out.
    """
    right, pairs = np.zeros(losses.shape[1], np.int64), 0
    for k in range(1, len(errors)):
        signs = np.sign(errors[k] - errors[:k])
        pairs += int(np.count_nonzero(signs))
        right += (signs[:, None] * (losses[k] - losses[:k]) > 0).sum(0)
    return right, pairs
