"""Projected gradients weighed by their Gram matrix, and margins, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dataworth.errors import ConfigError
from dataworth.features.gradients import Gradients, SequenceClassification, Supervised
from dataworth.features.gradients.losses import cross_entropy, margin
from dataworth.features.gradients.preconditioners import Damping
from dataworth.features.gradients.projected import projected_rows, projected_scores, wrong_share
from dataworth.features.gradients.projection import Dense, Whole
from features.gradients.models import rng, seeded


def pairs(count: int, seed: int = 0, classes: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = rng(seed)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    if classes:
        return list(zip(x, torch.randint(classes, (count,), generator=generator), strict=True))
    y = x.sum(1, keepdim=True) + torch.randn(count, 1, generator=generator, dtype=torch.float64)
    return list(zip(x, y, strict=True))


def test_linear_regression_is_leave_one_out() -> None:
    """Without projection and damping, score / (1 - leverage) is what leaving one out does."""
    train, queries = pairs(30), pairs(5, 1)
    x, y = torch.stack([a for a, _ in train]), torch.stack([b for _, b in train])
    model = nn.Linear(4, 1, bias=False).double()
    model.weight.data = torch.linalg.lstsq(x, y).solution.T
    engine = Gradients(model, Supervised("squared"))
    task = engine.task
    # The output is the prediction: its gradients are the features, whatever the residual.
    rows = projected_rows(engine, task.examples(train), Whole())
    residual = y - model(x).detach()
    torch.testing.assert_close(rows, -residual * x)
    inverse = torch.linalg.inv(x.T @ x)
    leverage = ((x @ inverse) * x).sum(1)
    for place in (0, 7):
        kept = [i for i in range(30) if i != place]
        without = torch.linalg.lstsq(x[kept], y[kept]).solution
        for a, _ in queries:
            change = float((model(a) - a @ without).detach())
            score = float(a @ inverse @ x[place] * residual[place]) / (1 - float(leverage[place]))
            assert score == pytest.approx(change, rel=1e-9)


@pytest.mark.parametrize("of", ["loss", "measure"])
def test_scores_are_the_formula(of: str) -> None:
    train, queries = pairs(40, 0, 3), pairs(6, 1, 3)
    engine = Gradients(seeded(1, nn.Linear(4, 3)), Supervised(measured="margin"))
    task = engine.task
    projection = Dense(8, "gaussian", seed=3)
    found = projected_scores(
        engine,
        task.examples(train),
        task.examples(queries),
        projection,
        of=of,  # type: ignore[arg-type]
        damping=Damping(0.1),
    )
    phi = projected_rows(engine, task.examples(train), projection, of)  # type: ignore[arg-type]
    psi = projected_rows(engine, task.examples(queries), projection, "measure")
    gram = phi.T @ phi / 40
    gram += 0.1 * gram.diagonal().mean() * torch.eye(8, dtype=torch.float64)
    expected = phi @ torch.linalg.inv(gram) @ psi.T / 40
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_margin_is_the_log_odds() -> None:
    logits = torch.randn(7, 5, generator=rng(0), dtype=torch.float64)
    targets = torch.arange(7) % 5
    p = logits.softmax(-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(margin(logits, targets), (p / (1 - p)).log())
    # The loss is a function of it, also where the probability rounds to 1.
    torch.testing.assert_close(
        cross_entropy(logits, targets, None), nn.functional.softplus(-margin(logits, targets))
    )
    sure = torch.tensor([[90.0, 0.0, 0.0]])
    assert float(margin(sure, torch.tensor([0]))) == pytest.approx(90 - np.log(2))


def test_tasks_measure_margins() -> None:
    """The slope of the loss by the margin is 1 - p, so gradients differ by it alone."""
    train = pairs(10, 0, 3)
    engine = Gradients(seeded(1, nn.Linear(4, 3)), Supervised(measured="margin"))
    examples = engine.task.examples(train)
    share = wrong_share(engine, examples)
    of_loss = projected_rows(engine, examples, Whole())
    of_margin = projected_rows(engine, examples, Whole(), "measure")
    torch.testing.assert_close(of_loss, of_margin * torch.from_numpy(share)[:, None])
    plain = Supervised()
    _, batch = next(iter(plain.examples(train)))
    outputs = engine.model(batch.inputs[0])
    torch.testing.assert_close(plain.measure(outputs, batch), plain.loss(outputs, batch))
    text = SequenceClassification(measured="margin")
    torch.testing.assert_close(text.measure(outputs, batch), -margin(outputs, batch.targets))
    with pytest.raises(ConfigError, match="margin is of classes"):
        Supervised("squared", measured="margin")
