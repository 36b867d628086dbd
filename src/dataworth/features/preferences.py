"""Logistic regression on shares in [0, 1]: Bradley-Terry where the inputs are differences.

    weights = fit_shares(right - left, share_of_right, ridge=1.0)    # sigmoid(right @ weights - …)

With unit vectors in place of features, the weights are the items' own Bradley-Terry scores
(Bradley and Terry 1952, "Rank analysis of incomplete block designs").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

RIDGES = (10.0, 1.0, 0.1, 0.01, 0.001)
_STEPS, _HALVINGS, _TOLERANCE = 100, 40, 1e-12


def sigmoid(logits: Values) -> Values:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float64)


def cross_entropy(logits: Values, shares: Values) -> Values:
    """Return the loss of each logit against its share, in nats."""
    return np.asarray(np.logaddexp(0, logits) - shares * logits, np.float64)


def fit_shares(inputs: Values, shares: Values, ridge: float, start: Values | None = None) -> Values:
    """Return the weights that minimise cross-entropy + ridge/2 · |w|², by Newton's method.

    Parameters
    ----------
    inputs : float64 [m, d]; differences of two features for Bradley-Terry, which has no intercept.
    shares : float64 [m], in [0, 1]: votes, or a judge's probabilities.
    ridge : strength of the penalty, above 0: it also makes the scores of items unique, which
        Bradley-Terry leaves open up to a constant (their mean is 0).
    start : weights to begin with, float64 [d]; None: zeros.
    """
    weights = np.zeros(inputs.shape[1]) if start is None else start
    identity = np.eye(inputs.shape[1])

    def loss(at: Values) -> float:
        return float(cross_entropy(inputs @ at, shares).sum() + 0.5 * ridge * at @ at)

    now = loss(weights)
    for _ in range(_STEPS):
        chances = sigmoid(inputs @ weights)
        gradient = inputs.T @ (chances - shares) + ridge * weights
        curvature = (inputs.T * (chances * (1 - chances))) @ inputs + ridge * identity
        step = np.linalg.solve(curvature, gradient)
        halves = (weights - step / 2**half for half in range(_HALVINGS))
        better = next((one for one in halves if loss(one) < now), None)
        if better is None:  # as good as rounding lets it be
            break
        weights, now = better, loss(better)
        if float(step @ gradient) < _TOLERANCE:
            break
    return weights


def choose_ridge(inputs: Values, shares: Values, folds: int = 4) -> tuple[float, Values]:
    """Return the ridge with the least held-out loss, and its held-out logits [m].

    Rows i with equal i mod `folds` are held out together. The strongest ridge, and logits of 0,
    where there are fewer rows than folds.
    """
    logits = np.zeros((len(RIDGES), len(shares)))
    fold = np.arange(len(shares)) % folds
    for out in range(folds) if len(shares) >= folds else ():
        kept, weights = fold != out, None
        for place, ridge in enumerate(RIDGES):
            weights = fit_shares(inputs[kept], shares[kept], ridge, weights)
            logits[place, ~kept] = inputs[~kept] @ weights
    best = int(cross_entropy(logits, shares).mean(1).argmin())
    return RIDGES[best], logits[best]
