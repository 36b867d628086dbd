"""EK-FAC turns a block's gradients, or the sides that they are made of: the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dataworth.features.gradients import CausalLM, Examples, Gradients, Supervised, Task
from dataworth.features.gradients.preconditioners import kronecker
from dataworth.features.gradients.preconditioners.kronecker import _turned, _turned_block
from dataworth.features.gradients.scoring import scores, self_scores
from features.gradients.models import TinyLM, documents, rng, seeded


def classifier() -> tuple[nn.Module, Task, list[object]]:
    """One position: the sides are turned."""
    model = seeded(3, nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3)), 0.7)
    x = torch.randn(9, 7, generator=rng(1), dtype=torch.float64)
    y = torch.randint(0, 3, (9,), generator=rng(2))
    return model, Supervised(), list(zip(x, y, strict=True))


def language() -> tuple[nn.Module, Task, list[object]]:
    """Tables, norms, many positions: as they are."""
    return seeded(1, TinyLM(), 0.3), CausalLM(), list(documents(6, 5))


@pytest.mark.parametrize("make", [classifier, language])
@pytest.mark.parametrize("longest", [2048, 6])
def test_turned_in_either_way(make: object, longest: int) -> None:
    model, task, items = make()  # type: ignore[operator]
    engine = Gradients(model, task)
    examples: Examples = task.examples(items, size=4)
    found = kronecker(engine, examples, longest=longest)
    for _, batch in examples:
        factors = engine.factors(batch)
        for index in range(len(engine.blocks)):
            sides = found.rows[index], found.columns[index]
            torch.testing.assert_close(
                _turned_block(factors, index, *sides), _turned(factors.block(index), *sides)
            )
    table = scores(engine, examples, examples, found)
    # A language model's measure is the mean over tokens, and its loss the sum.
    lengths = np.array([len(item) - 1 for item in items]) if isinstance(task, CausalLM) else 1
    np.testing.assert_allclose(
        self_scores(engine, examples, found), table.diagonal() * lengths, rtol=1e-4
    )
