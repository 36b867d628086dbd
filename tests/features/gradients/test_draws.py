"""Scores that are means over draws of random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dataworth.errors import ConfigError
from dataworth.features.gradients import Examples, Gradients, Supervised
from dataworth.features.gradients.preconditioners import AdamStep, Identity, Moments, diagonal
from dataworth.features.gradients.scoring import scores, scores_over_draws
from features.gradients.models import rng, seeded

TASK = Supervised("squared")


def engine() -> Gradients:
    return Gradients(
        seeded(2, nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()), TASK
    )


def draws(count: int, number: int, seed: int) -> list[Examples]:
    """The same inputs, other targets in each draw."""
    x = torch.randn(count, 4, generator=rng(seed), dtype=torch.float64)

    def drawn(draw: int) -> Examples:
        y = torch.randn(count, 2, generator=rng(100 * seed + draw), dtype=torch.float64)
        items: list[tuple[Tensor, Tensor]] = list(zip(x, y, strict=True))
        return TASK.examples(items, size=3)

    return [drawn(draw) for draw in range(number)]


def gradients(found: Gradients, examples: Examples) -> Tensor:
    out = torch.empty(len(examples), found.size, dtype=torch.float64)
    for rows, batch in examples:
        out[torch.from_numpy(rows)] = found.gradients(batch)
    return out


@pytest.mark.parametrize("unit", [True, False])
def test_is_the_mean_over_draws(unit: bool) -> None:
    found = engine()
    train, queries = draws(7, 3, 1), draws(5, 2, 2)
    weighed = diagonal(found, train[0])
    ours = torch.stack([gradients(found, draw) for draw in train])
    if unit:
        ours = ours / ours.norm(dim=2, keepdim=True)
    theirs = torch.stack([gradients(found, draw) for draw in queries]).mean(0)
    expected = ours.mean(0) @ weighed.apply(theirs).T * weighed.scale
    for held in (1, 1 << 20):
        table = scores_over_draws(found, train, queries, weighed, unit=unit, held=held)
        np.testing.assert_allclose(table, expected.numpy(), rtol=1e-5)


def test_one_draw_is_a_plain_score() -> None:
    found = engine()
    train, queries = draws(7, 1, 1), draws(5, 1, 2)
    np.testing.assert_allclose(
        scores_over_draws(found, train, queries, unit=False),
        scores(found, train[0], queries[0]),
        rtol=1e-6,
    )


def test_no_gradient_has_no_direction() -> None:
    found = engine()
    x = torch.ones(1, 4, dtype=torch.float64)
    train = [TASK.examples([(x[0], found.model(x)[0].detach())])]
    assert not scores_over_draws(found, train, draws(2, 1, 2)).any()


def test_says_what_it_cannot_do() -> None:
    found = engine()
    train, queries = draws(7, 2, 1), draws(5, 1, 2)
    with pytest.raises(ConfigError, match="at least one draw"):
        scores_over_draws(found, [], queries, Identity())
    with pytest.raises(ConfigError, match="the same items"):
        scores_over_draws(found, [train[0], train[1].take(np.arange(3))], queries)
    moments = Moments(torch.zeros(found.size), torch.ones(found.size), 1)
    with pytest.raises(ConfigError, match="not linear"):
        scores_over_draws(found, train, queries, AdamStep(moments))
