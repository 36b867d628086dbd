"""Solvers say how far they came; what damping they take; what they refuse."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dataworth.errors import ConfigError
from dataworth.features.gradients import CausalLM, Examples, Gradients, Supervised
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.preconditioners import (
    AdamDiagonal,
    AdamStep,
    ConjugateGradients,
    Damping,
    Eigen,
    Moments,
    NeumannSeries,
    Preconditioner,
    Products,
    dense,
    diagonal,
    dual,
    gram,
    kronecker,
    scaling_of,
)
from dataworth.features.gradients.scoring import scores, self_scores
from dataworth.features.gradients.solving import Curvature, solve
from features.gradients.models import TinyLM, documents, rng, seeded
from methods.modelled import POOL, docs, model_folder

TASK = Supervised()


def classifier(inputs: int = 6) -> Gradients:
    return Gradients(
        seeded(1, nn.Sequential(nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, 3))), TASK
    )


def pairs(count: int = 30, inputs: int = 6) -> Examples:
    x = torch.randn(count, inputs, generator=rng(2), dtype=torch.float64)
    y = torch.randint(0, 3, (count,), generator=rng(3))
    return TASK.examples(list(zip(x, y, strict=True)), size=count)


@pytest.fixture(scope="module")
def fitted() -> tuple[Gradients, Examples, Products]:
    engine, train = classifier(), pairs()
    return engine, train, Products(engine, train, keep=True)


def residual(products: Products, damping: float, found: torch.Tensor, v: torch.Tensor) -> float:
    left = v - products(found) - damping * found
    return float((left.norm(dim=1) / v.norm(dim=1)).max())


@pytest.mark.parametrize("block", [False, True])
def test_conjugate_gradients_tell_what_is_left(
    fitted: tuple[Gradients, Examples, Products],
    block: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine, _, products = fitted
    v = torch.randn(3, engine.size, generator=rng(4), dtype=torch.float64)
    solver = ConjugateGradients(products, Damping(fixed=0.01), tolerance=1e-8, block=block)
    assert solver.solved.residual is None and "residual" not in solver.describe()
    found = solver.apply(v)
    truth = residual(products, 0.01, found, v)
    assert solver.solved.residual == pytest.approx(truth, rel=0.01) and truth < 1e-8
    assert solver.solved.vectors == 3 and 1 < solver.solved.steps < 100
    assert "damping 0.01, residual " in solver.describe() and not caplog.records
    short = replace(solver, most=1)
    with caplog.at_level(logging.WARNING, "dataworth"):
        v[1] = 0
        truth = residual(products, 0.01, short.apply(v)[[0, 2]], v[[0, 2]])
        truth = max(truth, residual(products, 0.01, short.apply(1e6 * v[:1]), 1e6 * v[:1]))
    assert truth > 0.1 and short.solved.residual == pytest.approx(truth)
    assert short.solved.vectors == 4 and short.solved.steps == 1
    assert f"residual {truth:.2g} after 1 step" in short.describe()
    assert len(caplog.records) == 1 and "after 1 step" in caplog.text  # once, not for each call


def test_a_series_tells_what_is_left(
    fitted: tuple[Gradients, Examples, Products], caplog: pytest.LogCaptureFixture
) -> None:
    engine, _, products = fitted
    damping = Damping(fixed=0.05)
    scaling = scaling_of(products, damping)
    v = torch.randn(2, engine.size, generator=rng(4), dtype=torch.float64)
    with caplog.at_level(logging.WARNING, "dataworth"):
        short = NeumannSeries(products, damping, scaling, depth=20)
        truth = residual(products, 0.05, short.apply(v), v)
    assert truth > 0.1 and short.solved.residual == pytest.approx(truth)
    assert short.describe().endswith(f"damping 0.05, residual {truth:.2g} after 20 steps")
    assert len(caplog.records) == 1 and "Neumann series" in caplog.text
    caplog.clear()
    long = NeumannSeries(products, damping, scaling, depth=400)
    long.apply(v)
    assert long.solved.residual is not None and long.solved.residual < 0.1 and not caplog.records


def test_a_rule_of_damping_is_what_it_says(fitted: tuple[Gradients, Examples, Products]) -> None:
    """As numbers, as a rule of the mean curvature that `inner` found, and as a fixed value."""
    engine, train, products = fitted
    v = torch.randn(2, engine.size, generator=rng(4), dtype=torch.float64)
    for fit in (kronecker, diagonal, dense):
        inner = fit(engine, train, damping=Damping(0.3))
        means = inner.means
        assert means is not None and bool((means > 0).all())
        by_rule = ConjugateGradients(products, Damping(0.2), inner, 1e-9, 500)
        by_number = ConjugateGradients(products, 0.2 * means, inner, 1e-9, 500)
        torch.testing.assert_close(by_rule.apply(v), by_number.apply(v), rtol=1e-9, atol=1e-9)
        assert "0.2 times each block's mean curvature" in by_rule.describe()
        assert "by block" in by_number.describe()
    fixed = Damping(fixed=0.02)
    exact = dense(engine, train, damping=fixed).apply(v)
    ours = ConjugateGradients(products, fixed, tolerance=1e-10, most=500).apply(v)
    torch.testing.assert_close(ours, exact, rtol=1e-6, atol=1e-8)
    numbers = torch.full((2,), 0.02)
    assert scaling_of(products, fixed) == pytest.approx(scaling_of(products, numbers))
    each = torch.full((engine.size,), 0.02)
    series = [NeumannSeries(products, d, 5.0, 50).apply(v) for d in (fixed, numbers, each)]
    for one in series[1:]:
        torch.testing.assert_close(one, series[0], rtol=1e-6, atol=1e-8)


def test_a_rule_that_cannot_be_known_is_refused(
    fitted: tuple[Gradients, Examples, Products],
) -> None:
    _, _, products = fitted
    with pytest.raises(ConfigError, match=r"needs to know that mean.*kronecker\(...\).damping"):
        ConjugateGradients(products, Damping())
    with pytest.raises(ConfigError, match="needs to know that mean"):
        NeumannSeries(products, Damping(0.2), 1.0)
    with pytest.raises(ConfigError, match="needs to know that mean"):
        scaling_of(products, Damping())
    with pytest.raises(ConfigError, match="2 blocks or 43 parameters"):
        NeumannSeries(products, torch.ones(3), 1.0)


def test_choices_that_there_are_not(fitted: tuple[Gradients, Examples, Products]) -> None:
    engine, train, _ = fitted
    moments = Moments(torch.zeros(3), torch.ones(3), 1)
    for wrong, said in (
        (lambda: kronecker(engine, train, kind="foo"), "kind is one of kfac, ekfac, not 'foo'"),  # type: ignore[arg-type]
        (lambda: kronecker(engine, train, labels="foo"), "labels is one of sampled, true"),  # type: ignore[arg-type]
        (lambda: diagonal(engine, train, labels="foo"), "labels is one of sampled, true"),  # type: ignore[arg-type]
        (lambda: dense(engine, train, kind="foo"), "kind is one of gauss_newton, hessian"),  # type: ignore[arg-type]
        (lambda: Products(engine, train, "foo"), "kind is one of gauss_newton, hessian"),  # type: ignore[arg-type]
        (lambda: AdamStep(moments, "foo"), "form is one of adam, uncorrected"),  # type: ignore[arg-type]
        (lambda: Supervised("foo"), "kind is one of squared, cross_entropy"),  # type: ignore[arg-type]
        (lambda: Supervised(measured="foo"), "measured is one of loss, margin"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match=said):
            wrong()


def test_nothing_to_fit_on(fitted: tuple[Gradients, Examples, Products]) -> None:
    engine, _, _ = fitted
    for fit in (kronecker, diagonal, dense, dual, Products):
        with pytest.raises(ConfigError, match="there are no examples"):
            fit(engine, TASK.examples([]))


def test_fitted_on_another_engine(fitted: tuple[Gradients, Examples, Products]) -> None:
    engine, train, products = fitted
    other, others = classifier(5), pairs(12, 5)
    moments = Moments(torch.zeros(engine.size), torch.ones(engine.size), 1)
    every: list[Preconditioner] = [fit(engine, train) for fit in (kronecker, diagonal, dense, dual)]
    every += [AdamDiagonal(moments), gram([torch.eye(engine.size)])]
    every += [
        ConjugateGradients(products, torch.ones(2)),
        NeumannSeries(products, torch.ones(2), 9),
    ]
    for one in every:
        with pytest.raises(ConfigError, match="gradients of 43 numbers, these have 39"):
            scores(other, others, others, one)
    with pytest.raises(ConfigError, match="gradients of 43 numbers, these have 39"):
        self_scores(other, others, AdamStep(moments))


def test_a_block_without_curvature_gets_nothing_of_the_dense_answer() -> None:
    """A layer behind zeros (an adapter that has not been trained): what EK-FAC gives, and 0."""
    model = seeded(1, nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 3)))
    with torch.no_grad():
        model[1].weight.zero_()
    engine, train = Gradients(model, TASK), pairs()
    found = dense(engine, train)
    v = torch.randn(2, engine.size, generator=rng(4), dtype=torch.float64)
    first, second = (block.span for block in engine.blocks)
    assert not found.apply(v)[:, first].any()
    assert not kronecker(engine, train).apply(v)[:, first].any()
    curved = found.matrix[second, second]
    truth = torch.linalg.solve(
        curved + 0.1 * curved.diagonal().mean() * torch.eye(15), v[:, second].T
    )
    torch.testing.assert_close(found.apply(v)[:, second], truth.T)
    assert scores(engine, train, train, found).any()


def test_columns_at_a_time_change_nothing() -> None:
    engine = Gradients(seeded(2, TinyLM(), 0.3), CausalLM())
    train = engine.task.examples(documents(5, 3))
    whole = dense(engine, train)
    small = dense(engine, replace(train, tokens=12), together=7)
    np.testing.assert_allclose(small.matrix, whole.matrix, atol=1e-12 * float(whole.matrix.max()))
    assert torch.equal(small.matrix, small.matrix.T)
    products = Products(engine, train)
    torch.testing.assert_close(products(torch.eye(engine.size)[:3].double()), whole.matrix[:3])


@pytest.mark.parametrize(
    ("solver", "rule"),
    [
        ("ekfac_cg", "damping 0.2 times each block's mean curvature"),
        ("lissa", "damping 0.2 times each block's mean curvature"),
        ("adam_cg", "damped by what the training with Adam"),
    ],
)
def test_solvers_by_name_tell_damping_and_residual(solver: Any, rule: str) -> None:
    reader = Reader(model_folder())
    sample = docs(POOL)
    found = solve(reader, sample, Curvature(solver, 0.2, sample=8, steps=3), 1000)
    assert rule in found.describe() and "residual" not in found.describe()
    gradient, _ = reader.gradient(sample.take(np.array([0])))
    found.apply(gradient[None])
    assert rule in found.describe() and "residual" in found.describe()


def test_damping_by_its_rule_is_that_of_the_inner_one() -> None:
    reader = Reader(model_folder())
    sample = docs(POOL)
    gradient, _ = reader.gradient(sample.take(np.array([0])))
    found = solve(reader, sample, Curvature("ekfac_cg", 0.2, sample=8, steps=4), 1000)
    assert isinstance(found, ConjugateGradients) and isinstance(found.inner, Eigen)
    again = replace(found, damping=found.inner.damping)
    assert "damping 0.2 times" in found.describe() and "by block" in again.describe()
    torch.testing.assert_close(found.apply(gradient[None]), again.apply(gradient[None]))
