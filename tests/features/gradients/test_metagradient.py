"""Gradients through training against finite differences and closed forms."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dataworth.errors import ConfigError
from dataworth.features.gradients import CausalLM, Gradients, Supervised
from dataworth.features.gradients.metagradient import (
    Adam,
    Descent,
    Optimizer,
    Run,
    metagradients,
    smoothness,
)
from dataworth.features.gradients.preconditioners import Damping, dense
from dataworth.features.gradients.scoring import scores
from features.gradients.models import TinyLM, documents, rng, seeded


def order_of(count: int, steps: int, size: int) -> list[np.ndarray]:
    generator = np.random.default_rng(4)
    return [generator.choice(count, size, replace=False) for _ in range(steps)]


def language(optimizer: Optimizer, steps: int = 20) -> Run:
    # The last example is in no batch.
    return Run(
        seeded(1, TinyLM(11, 4), 0.3),
        CausalLM("mean"),
        documents(13, 1, 11, 8),
        order_of(12, steps, 4),
        optimizer,
    )


@pytest.mark.parametrize(
    ("optimizer", "divide"),
    [
        (Descent(0.1), "rows"),
        (Descent(tuple(0.2 / (1 + i) for i in range(20)), 0.9, 0.01), "rows"),
        (Adam(1e-2, epsilon_root=1e-6, weight_decay=0.1), "rows"),
        (Adam(1e-2, epsilon_root=1e-6, weight_decay=0.1), "weights"),
    ],
    ids=["descent", "momentum", "adam", "adam, divided by weights"],
)
def test_finite_differences(optimizer: Optimizer, divide: Any) -> None:
    run = replace(language(optimizer), divide=divide)
    queries = documents(2, 2, 11, 8)
    found = metagradients(run, queries)
    assert not found.scores[12].any()
    h = 1e-4
    worst = 0.0
    for row in range(12):
        ends = []
        for sign in (1, -1):
            weights = torch.ones(13, dtype=torch.float64)
            weights[row] += sign * h
            ends.append(run.losses(run.train(weights)[0], queries).detach().numpy())
        expected = (ends[1] - ends[0]) / (2 * h)
        error = np.abs(found.scores[row] - expected) / np.abs(found.scores).max()
        worst = max(worst, float(error.max()))
    assert worst < 1e-6
    final = run.losses(run.train()[0], queries)
    np.testing.assert_allclose(found.losses, final.detach().numpy())


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_training_is_that_of_torch(kind: str) -> None:
    optimizer: Any = {
        "sgd": Descent(0.1, 0.9, 0.01),
        "adam": Adam(1e-2, (0.8, 0.99), 1e-8, 1e-30, 0.1),
    }[kind]
    run = language(optimizer)
    found = run.named(run.train()[0])
    model, task = run.model, run.task
    theirs: torch.optim.Optimizer = {
        "sgd": lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.01),
        "adam": lambda p: torch.optim.AdamW(p, 1e-2, (0.8, 0.99), 1e-8, 0.1),
    }[kind](model.parameters())
    for rows in run.order:
        batch = task.lay([run.items[row] for row in rows], rows.astype(np.uint64))
        theirs.zero_grad()
        (task.loss(task.outputs(model, batch), batch).sum() / len(rows)).backward()
        theirs.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.detach(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("branching", [2, 3, 20])
def test_states_are_made_again_or_kept(branching: int) -> None:
    queries = documents(2, 2, 11, 8)
    run = language(Adam(1e-2, epsilon_root=1e-6))
    kept, again = (metagradients(run, queries, branching=b) for b in (20, branching))
    assert np.array_equal(kept.scores, again.scores)
    assert again.held <= branching * math.ceil(math.log(20, branching))
    assert kept.held == 20


@pytest.mark.parametrize("chunk", [1, 3])
def test_rows_and_queries_some_at_a_time(chunk: int) -> None:
    queries = documents(3, 2, 11, 8)
    run = language(Adam(1e-2, epsilon_root=1e-6))
    whole = metagradients(run, queries)
    parts = metagradients(replace(run, chunk=chunk), queries, together=2)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-12)


@pytest.mark.parametrize("divide", ["rows", "weights"])
@pytest.mark.parametrize("optimizer", [Descent(0.1, 0.9), Adam(1e-2, epsilon_root=1e-6)])
def test_weight_0_is_training_without(optimizer: Optimizer, divide: Any) -> None:
    """Against batches in which the left out examples are not."""
    run = replace(language(optimizer), divide=divide)
    weights = torch.ones(13, dtype=torch.float64)
    weights[[1, 4, 5, 7]] = 0.0
    found = run.train(weights)[0]
    state = run.optimizer.start(run._flat())
    for number, rows in enumerate(run.order):
        kept = rows[weights.numpy()[rows] > 0]
        vector = state[0].detach().requires_grad_()
        total = vector.sum() * 0
        for row in kept:
            count = len(rows) if divide == "rows" else len(kept)
            total = total + run.losses(vector, [run.items[row]]).sum() / count
        (gradient,) = torch.autograd.grad(total, vector)
        state = run.optimizer.step((vector.detach(), *state[1:]), gradient, number)
    torch.testing.assert_close(found, state[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("divide", ["rows", "weights"])
def test_derivatives_where_some_are_left_out(divide: Any) -> None:
    """By finite differences, also for an example of weight 0."""
    run = replace(language(Adam(1e-2, epsilon_root=1e-6), 8), divide=divide)
    queries = documents(2, 2, 11, 8)
    weights = torch.ones(13, dtype=torch.float64)
    weights[[1, 4, 5, 7]] = 0.0
    found = metagradients(run, queries, weights=weights).scores
    for row in (1, 2, 5):
        ends = []
        for move in (1e-5, -1e-5):
            moved = weights.clone()
            moved[row] += move
            ends.append(run.losses(run.train(moved)[0], queries).detach().numpy())
        expected = (ends[1] - ends[0]) / 2e-5
        np.testing.assert_allclose(found[row], expected, atol=1e-5 * np.abs(found).max())


@pytest.mark.parametrize("divide", ["rows", "weights"])
@pytest.mark.parametrize("optimizer", [Descent(0.1, 0.9), Adam(1e-2, epsilon_root=1e-6)])
def test_many_trainings_side_by_side(optimizer: Optimizer, divide: Any) -> None:
    run = replace(language(optimizer), divide=divide)
    weights = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (3, 13)).astype(float))
    together = run.train_many(weights)
    for row, mine in enumerate(weights):
        torch.testing.assert_close(together[row], run.train(mine)[0], rtol=1e-9, atol=1e-12)


def test_divided_by_weights_only_shares_count() -> None:
    """All weights halved change nothing, so the scores of a batch add up to 0."""
    run = replace(language(Descent(0.1), 3), divide="weights")
    run = replace(run, order=[np.arange(12)] * 3)
    half = run.train(torch.full((13,), 0.5, dtype=torch.float64))[0]
    torch.testing.assert_close(half, run.train()[0])
    found = metagradients(run, documents(2, 2, 11, 8)).scores
    np.testing.assert_allclose(found.sum(0), 0, atol=1e-12)
    assert np.abs(found).max() > 1e-6
    nothing = run.train(torch.zeros(13, dtype=torch.float64))[0]
    torch.testing.assert_close(nothing, run._flat())


def regression(steps: int, rate: float, decay: float) -> tuple[Run, list[Any]]:
    generator = rng(0)
    x = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    y = x @ torch.randn(4, 1, generator=generator, dtype=torch.float64)
    y = y + torch.randn(20, 1, generator=generator, dtype=torch.float64)
    items = list(zip(x[:15], y[:15], strict=True))
    model = seeded(1, nn.Linear(4, 1, bias=False))
    order = [np.arange(15)] * steps
    run = Run(model, Supervised("squared"), items, order, Descent(rate, weight_decay=decay))
    return run, list(zip(x[15:], y[15:], strict=True))


def test_closed_form_of_descent() -> None:
    """A product of (1 - rate * Hessian) between the step and the end."""
    run, queries = regression(7, 0.1, 0.0)
    found = metagradients(run, queries)
    x = torch.stack([a for a, _ in run.items]).numpy()
    y = torch.stack([b for _, b in run.items]).numpy()[:, 0]
    w = run.model.weight.detach().numpy()[0]  # type: ignore[operator,union-attr]
    h = x.T @ x / 15
    moved = np.zeros((15, 4))
    for _ in range(7):
        moved = moved @ (np.eye(4) - 0.1 * h) - 0.1 / 15 * x * (x @ w - y)[:, None]
        w = w - 0.1 * x.T @ (x @ w - y) / 15
    qx = torch.stack([a for a, _ in queries]).numpy()
    qy = torch.stack([b for _, b in queries]).numpy()[:, 0]
    expected = -moved @ (qx * (qx @ w - qy)[:, None]).T
    np.testing.assert_allclose(found.scores, expected, rtol=1e-10, atol=1e-12)


def test_long_training_gives_influence() -> None:
    run, queries = regression(400, 0.2, 0.05)
    found = metagradients(run, queries, branching=8)
    model = nn.Linear(4, 1, bias=False).double()
    model.load_state_dict(found.parameters)
    engine = Gradients(model, run.task)
    train = run.task.examples(run.items)
    exact = dense(engine, train, damping=Damping(fixed=0.05))
    expected = scores(engine, train, run.task.examples(queries), exact)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5, atol=1e-6)


def test_smoothness() -> None:
    run, queries = regression(30, 0.1, 0.0)
    assert smoothness(run, queries) == pytest.approx(1.0)
    # Past the largest stable rate, a query's loss moves to and fro.
    wild = language(Descent(1.0), 40)
    assert smoothness(wild, documents(12, 2, 11, 8)) < 0.5


def test_the_model_is_left_as_it_was() -> None:
    run = language(Descent(0.1), 3)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.model.train()
    metagradients(run, documents(1, 2, 11, 8))
    assert run.model.training
    assert all(torch.equal(before[k], v) for k, v in run.model.state_dict().items())
    assert all(p.grad is None for p in run.model.parameters())


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="branching"):
        metagradients(language(Descent(0.1), 2), [[1, 2]], branching=1)
    with pytest.raises(ConfigError, match="together"):
        metagradients(language(Descent(0.1), 2), [[1, 2]], together=0)
    with pytest.raises(ConfigError, match="chunk"):
        replace(language(Descent(0.1), 2), chunk=-1)
    with pytest.raises(ConfigError, match="divide"):
        replace(language(Descent(0.1), 2), divide="mean")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="epsilon_root"):
        Adam(0.1, epsilon_root=0.0)
    with pytest.raises(ConfigError, match="at least one step"):
        Run(nn.Linear(2, 2), Supervised(), [], [], Descent(0.1))


def test_examples_are_taken_for_their_items() -> None:
    run = language(Descent(0.1), steps=3)
    queries = documents(2, 2, 11, 8)
    examples = run.task.examples(queries)
    again = replace(run, items=run.task.examples(list(run.items)))
    plain, ours = metagradients(run, queries), metagradients(again, examples)
    assert np.array_equal(plain.scores, ours.scores)
    end = run.train()[0]
    assert torch.equal(run.losses(end, examples), run.losses(end, queries))
    assert smoothness(run, examples) == smoothness(run, queries)


def test_runs_that_there_are_not() -> None:
    run = language(Descent(0.1), steps=3)
    for rows in ([0, 13], [-1], []):
        with pytest.raises(ConfigError, match=r"step 1 of the run's order.* from 0 to 12"):
            replace(run, order=[np.array([0]), np.array(rows)])
    for wrong in (torch.ones(5), torch.ones(2, 13)):
        with pytest.raises(ConfigError, match="13 examples has a weight for each, not "):
            run.train(wrong)
        with pytest.raises(ConfigError, match="13 examples has a weight for each, not "):
            metagradients(run, documents(1, 2, 11, 8), weights=wrong)
    for wrong in (torch.ones(13), torch.ones(2, 5)):
        with pytest.raises(ConfigError, match="13 examples has a weight for each, not "):
            run.train_many(wrong)
