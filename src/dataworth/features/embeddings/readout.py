"""Small heads on embeddings, fitted on a few thousand documents: ridge and one hidden layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BATCH = 64
_DECAY = (0.9, 0.999)  # of Adam


def ridge(x: Floats, y: Floats, weights: Floats, penalty: float) -> dict[str, Floats]:
    """Return the weights of a ridge regression, `w` [d] and `b` [1]; the intercept is free.

    With the weighted means taken away, w = (X' C X + penalty I)^-1 X' C y.
    """
    share = weights / weights.sum()
    center, level = share @ x, float(share @ y)
    centred = x - center
    gram = (centred.T * weights) @ centred + penalty * np.eye(x.shape[1])
    w = np.linalg.solve(gram, centred.T @ (weights * (y - level)))
    return {"w": w, "b": np.array([level - center @ w])}


def hidden_layer(
    x: Floats,
    y: Floats,
    weights: Floats,
    *,
    logistic: bool,
    hidden: int,
    epochs: int,
    learning_rate: float,
    seed: int,
) -> dict[str, Floats]:
    """Return a network of one hidden layer of rectified units, trained by Adam.

    Parameters
    ----------
    x, y, weights : float64 [n, d], [n] and [n]; y is 0 or 1 where `logistic`.
    logistic : the loss is the log loss of the output as log odds, else its squared error.

    Returns
    -------
    dict
        `w1` [d, hidden], `b1` [hidden], `w` [hidden], `b` [1].
    """
    rng = np.random.default_rng(seed)
    n, d = x.shape
    net = {
        "w1": rng.standard_normal((d, hidden)) * np.sqrt(2 / d),
        "b1": np.zeros(hidden),
        "w": rng.standard_normal(hidden) / np.sqrt(hidden),
        "b": np.zeros(1) if logistic else np.array([float(np.average(y, weights=weights))]),
    }
    first = {name: np.zeros_like(one) for name, one in net.items()}
    second = {name: np.zeros_like(one) for name, one in net.items()}
    step = 0
    for _ in range(epochs):
        order = rng.permutation(n)
        for start in range(0, n, _BATCH):
            rows = order[start : start + _BATCH]
            step += 1
            for name, slope in _slopes(net, x[rows], y[rows], weights[rows], logistic).items():
                first[name] += (1 - _DECAY[0]) * (slope - first[name])
                second[name] += (1 - _DECAY[1]) * (slope * slope - second[name])
                mean = first[name] / (1 - _DECAY[0] ** step)
                size = np.sqrt(second[name] / (1 - _DECAY[1] ** step))
                net[name] -= learning_rate * mean / (size + 1e-8)
    return net


def _slopes(
    net: dict[str, Floats], x: Floats, y: Floats, weights: Floats, logistic: bool
) -> dict[str, Floats]:
    """Return the gradient of the mean loss of a batch; of squared errors the half."""
    inner = x @ net["w1"] + net["b1"]
    active = np.maximum(inner, 0)
    output = active @ net["w"] + net["b"]
    wrong = (0.5 * (1 + np.tanh(0.5 * output)) if logistic else output) - y
    wrong *= weights / len(x)
    back = np.outer(wrong, net["w"]) * (inner > 0)
    return {
        "w1": x.T @ back,
        "b1": back.sum(0),
        "w": active.T @ wrong,
        "b": wrong.sum(keepdims=True),
    }


def read_out(net: dict[str, Floats], x: Floats) -> Floats:
    """Return a head's output, float64 [n]."""
    if "w1" in net:
        x = np.maximum(x @ net["w1"] + net["b1"], 0)
    output: Floats = x @ net["w"] + net["b"]
    return output
