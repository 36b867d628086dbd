"""The dual form of the Gauss-Newton answer is the dense one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dataworth.errors import ConfigError
from dataworth.features.gradients import Batch, Gradients, Supervised
from dataworth.features.gradients.preconditioners import (
    Damping,
    Preconditioner,
    dense,
    dual,
)
from dataworth.features.gradients.scoring import scores
from features.gradients.models import rng, seeded

INPUTS, OUTPUTS = 5, 3


def network() -> nn.Module:
    return seeded(
        3, nn.Sequential(nn.Linear(INPUTS, 6), nn.Tanh(), nn.Linear(6, OUTPUTS)).double(), 0.7
    )


def items(kind: str, count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    x = torch.randn(count, INPUTS, generator=rng(seed), dtype=torch.float64)
    if kind == "squared":
        y = torch.randn(count, OUTPUTS, generator=rng(seed + 1), dtype=torch.float64)
    else:
        y = torch.randint(0, OUTPUTS, (count,), generator=rng(seed + 1))
    return list(zip(x, y, strict=True))


@pytest.mark.parametrize("kind", ["squared", "cross_entropy"])
@pytest.mark.parametrize("damping", [Damping(0.1), Damping(fixed=1e-3)])
def test_is_the_dense_answer(kind: str, damping: Damping) -> None:
    engine = Gradients(network(), Supervised(kind))  # type: ignore[arg-type]
    train = engine.task.examples(items(kind, 11, 0), size=4)
    queries = engine.task.examples(items(kind, 4, 50), size=4)
    exact = dense(engine, train, damping=damping, count=20)
    ours = dual(engine, train, damping=damping, count=20)
    assert isinstance(ours, Preconditioner)
    assert ours.rows.shape == (11 * OUTPUTS, engine.size)
    torch.testing.assert_close(ours.rows.T @ ours.rows / 11, exact.matrix, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(
        scores(engine, train, queries, ours),
        scores(engine, train, queries, exact),
        rtol=1e-5,
        atol=1e-8,
    )


def test_of_a_linear_model_is_ridge_regression() -> None:
    """One output: the influence of a closed form, (X^T X / N + damping)^-1."""
    model = seeded(1, nn.Linear(INPUTS, 1, bias=False).double())
    engine = Gradients(model, Supervised("squared"))
    x = torch.randn(9, INPUTS, generator=rng(5), dtype=torch.float64)
    y = torch.randn(9, 1, generator=rng(6), dtype=torch.float64)
    train = engine.task.examples(list(zip(x, y, strict=True)), size=3)
    residuals = model(x) - y
    inverse = torch.linalg.inv(x.T @ x / 9 + 0.01 * torch.eye(INPUTS, dtype=torch.float64))
    gradients = residuals * x
    expected = gradients @ inverse @ gradients.T / 9
    found = scores(engine, train, train, dual(engine, train, damping=Damping(fixed=0.01)))
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5)


def test_says_what_it_cannot_do() -> None:
    engine = Gradients(network(), Supervised("squared"))
    train = engine.task.examples(items("squared", 11, 0))
    with pytest.raises(ConfigError, match="33 rows; at most 20"):
        dual(engine, train, largest=20)
    with pytest.raises(ConfigError, match="damping above 0"):
        dual(engine, train, damping=Damping(fixed=0.0))
    bent = Gradients(network(), Bent("squared"))
    with pytest.raises(ConfigError, match="convex"):
        dual(bent, train)


@dataclass(frozen=True)
class Bent(Supervised):
    """A loss that curves downwards."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        return -outputs.square().sum(1)


def test_damping_of_descent_is_where_descent_has_come() -> None:
    """On a quadratic: the distance after some steps, for curvatures over six orders."""
    rate, steps = 0.05, 400
    damping = Damping.of_descent(rate, steps)
    assert damping.fixed == pytest.approx(1 / 20)
    assert Damping.of_descent(rate, steps, 0.9).fixed == pytest.approx(1 / 200)
    curvature = torch.logspace(-5, 1, 200, dtype=torch.float64)
    come = (1 - (1 - rate * curvature) ** steps) / curvature
    ratio = come * (curvature + damping.values(torch.ones(1))[0])
    assert (ratio > 0.999).all() and (ratio < 1.3).all()
    for wrong in ((0.0, 10, 0.0), (0.1, 0, 0.0), (0.1, 10, 1.0)):
        with pytest.raises(ConfigError, match="a training has"):
            Damping.of_descent(*wrong)
