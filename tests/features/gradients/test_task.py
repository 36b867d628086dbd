"""Losses, weights and drawn labels of the ready-made tasks."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dataworth.errors import ConfigError
from dataworth.features.gradients import Batch, CausalLM, FunctionTask, Gradients, Supervised
from dataworth.features.gradients.losses import cross_entropy, first_order
from features.gradients.models import TinyLM, documents, rng, seeded


def test_reductions_of_a_causal_loss() -> None:
    model = seeded(1, TinyLM())
    items = documents(4)
    for reduction in ("sum", "mean"):
        engine = Gradients(model, CausalLM(reduction, "mean"))
        rows, batch = next(iter(engine.task.examples(items, size=8)))
        found = engine.losses(batch)
        for place, row in enumerate(rows):
            ids = torch.tensor([items[row]])
            log = model(ids).log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])
            expected = -log.sum() if reduction == "sum" else -log.mean()
            torch.testing.assert_close(found[place], expected)


def test_loss_on_answers_alone() -> None:
    model = seeded(1, TinyLM())
    engine = Gradients(model, CausalLM("mean"))
    ids = [3, 5, 2, 8, 1]
    _, batch = next(iter(engine.task.examples([(ids, [False, True, False, True, True])])))
    log = model(torch.tensor([ids])).log_softmax(-1)[0]
    expected = -(log[0, 5] + log[2, 8] + log[3, 1]) / 3
    torch.testing.assert_close(engine.losses(batch)[0], expected)


def test_drawn_labels_do_not_depend_on_the_batch() -> None:
    engine = Gradients(seeded(1, TinyLM()), CausalLM())
    items = documents(6)
    drawn = {}
    for size in (6, 1):
        for rows, batch in engine.task.examples(items, size=size):
            sampled = engine.task.sample(engine.task.outputs(engine.model, batch), batch, 3)
            assert bool(((sampled.targets == -100) == (batch.targets == -100)).all())
            for place, row in enumerate(rows):
                wanted = batch.targets[place] != -100
                drawn.setdefault(int(row), []).append(sampled.targets[place][wanted].tolist())
    assert all(a == b for a, b in drawn.values())
    assert len({tuple(a) for a, _ in drawn.values()}) == 6


def test_drawn_labels_follow_the_model() -> None:
    task = Supervised()
    count = 4000
    logits = torch.tensor([0.0, 1.0, -2.0, 0.5]).expand(count, 4)
    batch = Batch((logits,), torch.zeros(count, dtype=torch.int64))
    drawn = task.sample(logits, batch, 0).targets
    shares = torch.bincount(drawn, minlength=4) / count
    expected = logits[0].softmax(0)
    assert bool(((shares - expected).abs() < 4 * (expected / count).sqrt()).all())
    assert not torch.equal(drawn, task.sample(logits, batch, 1).targets)


def test_drawn_targets_of_squared_error_are_normal() -> None:
    task = Supervised("squared")
    outputs = torch.full((3000, 2), 5.0, dtype=torch.float64)
    noise = task.sample(outputs, Batch((outputs,), outputs), 0).targets - 5
    assert abs(float(noise.mean())) < 4 / np.sqrt(6000)
    assert abs(float(noise.var()) - 1) < 4 * np.sqrt(2 / 6000)
    assert abs(float((noise[:, 0] * noise[:, 1]).mean())) < 4 / np.sqrt(3000)


def test_task_of_functions() -> None:
    def lay(items: list[Tensor], uid: np.ndarray) -> Batch:
        x = torch.stack(items)
        return Batch((x,), x, uid=uid)

    task = FunctionTask(lay, lambda outputs, batch: (outputs - batch.targets).abs().sum(1))
    model = seeded(1, nn.Linear(3, 3))
    engine = Gradients(model, task)
    items = [torch.randn(3, generator=rng(i), dtype=torch.float64) for i in range(4)]
    _, batch = next(iter(task.examples(items)))
    signs = (model(torch.stack(items)) - torch.stack(items)).sign()
    inputs = torch.cat([torch.stack(items), torch.ones(4, 1)], 1)
    torch.testing.assert_close(
        engine.gradients(batch), (signs[:, :, None] * inputs[:, None]).flatten(1)
    )
    assert torch.equal(engine.losses(batch), engine.losses(batch, "measure"))
    with pytest.raises(ConfigError, match="cannot draw labels"):
        engine.gradients(batch, "sampled")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fast_cross_entropy_is_the_plain_one(dtype: torch.dtype) -> None:
    logits = 30 * torch.randn(3, 50, 7, generator=rng(1), dtype=dtype)
    logits[0, 0] = torch.tensor([1e4, -1e4, 0, 0, 0, 0, 0])
    targets = torch.randint(0, 7, (3, 50), generator=rng(2))
    targets[1, 5:20] = -100
    weights = torch.rand(3, 50, generator=rng(3))
    found = []
    for block in (contextlib.nullcontext(), first_order()):
        inputs = logits.clone().requires_grad_()
        with block:
            losses = cross_entropy(inputs, targets, weights)
            grad = torch.autograd.grad((losses * losses.detach().cos()).sum(), inputs)[0]
        assert losses.shape == targets.shape and losses.dtype == dtype
        found.append((losses.detach(), grad))
    assert float(found[0][0][1, 5:20].abs().max()) == 0
    torch.testing.assert_close(found[0], found[1])
    # Outside the block it can be differentiated twice again.
    inputs = logits.clone().requires_grad_()
    slope = torch.autograd.grad(
        cross_entropy(inputs, targets, None).sum(), inputs, create_graph=True
    )[0]
    assert slope.requires_grad
