"""The forms of Adam, and the self-check."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dataworth.errors import ConfigError
from dataworth.features.gradients import CausalLM, Gradients
from dataworth.features.gradients.preconditioners import (
    AdamDiagonal,
    AdamStep,
    Identity,
    Moments,
    Preconditioner,
    dense,
    kronecker,
)
from dataworth.features.gradients.probe import compare, self_check, small_copy
from dataworth.features.gradients.scoring import scores
from dataworth.lm.model import SIZES, build
from features.gradients.models import TinyLM, documents, seeded

RATE = 1e-5


def trained() -> tuple[Gradients, torch.optim.Adam]:
    model = seeded(1, TinyLM(), 0.3)
    engine = Gradients(model, CausalLM("mean"))
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    _, batch = next(iter(engine.task.examples(documents(8, 5))))
    for _ in range(7):
        optimizer.zero_grad()
        engine.task.loss(engine.task.outputs(model, batch), batch).sum().backward()
        optimizer.step()
    return engine, optimizer


def test_step_is_that_of_the_optimizer() -> None:
    """One real step of Adam on the example moves the weights as `AdamStep` says."""
    engine, optimizer = trained()
    moments = Moments.of(optimizer, engine)
    assert moments.step == 7 and moments.betas == (0.9, 0.999)
    _, batch = next(iter(engine.task.examples(documents(1, 9))))
    step = AdamStep(moments, learning_rate=RATE)
    expected = step.train(engine.gradients(batch))[0] * step.scale
    before = engine.blocks.flatten({k: v.detach().clone() for k, v in engine.parameters().items()})
    optimizer.zero_grad()
    engine.task.loss(engine.task.outputs(engine.model, batch), batch).sum().backward()
    optimizer.step()
    after = engine.blocks.flatten({k: v.detach() for k, v in engine.parameters().items()})
    torch.testing.assert_close(before - after, expected, rtol=1e-6, atol=1e-13)


def test_score_of_a_step_is_the_fall_of_the_loss() -> None:
    engine, optimizer = trained()
    moments = Moments.of(optimizer, engine)
    items = engine.task.examples(documents(6, 9))
    queries = engine.task.examples(documents(1, 10))
    found = scores(engine, items, queries, AdamStep(moments, learning_rate=RATE))[:, 0]
    _, query = next(iter(queries))
    before = float(engine.losses(query, "measure"))
    state = engine.model.state_dict()
    start = {k: v.clone() for k, v in state.items()}
    kept = optimizer.state_dict()
    kept = {
        **kept,
        "state": {k: {n: v.clone() for n, v in s.items()} for k, s in kept["state"].items()},
    }
    falls = []
    for item in items.items:
        _, batch = next(iter(engine.task.examples([item])))
        optimizer.zero_grad()
        engine.task.loss(engine.task.outputs(engine.model, batch), batch).sum().backward()
        optimizer.step()
        falls.append(before - float(engine.losses(query, "measure")))
        engine.model.load_state_dict(start)
        optimizer.load_state_dict(
            {
                **kept,
                "state": {
                    k: {n: v.clone() for n, v in s.items()} for k, s in kept["state"].items()
                },
            }
        )
    np.testing.assert_allclose(found, falls, rtol=0.02, atol=1e-9)


def test_published_form_of_the_step() -> None:
    first, second = torch.tensor([0.3, -0.2]), torch.tensor([0.5, 0.01])
    g = torch.tensor([[1.0, -2.0], [0.0, 0.0]])
    found = AdamStep(Moments(first, second, 100), "uncorrected").train(g)
    for row in range(2):
        for i in range(2):
            m = 0.9 * first[i] + 0.1 * g[row, i]
            v = 0.999 * second[i] + 0.001 * g[row, i] ** 2
            assert float(found[row, i]) == pytest.approx(float(m / (v + 1e-8) ** 0.5))


def test_even_moments_rank_as_plain_products() -> None:
    """Without momentum and with one second moment for all, steps are proportional to gradients."""
    g = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    moments = Moments(torch.zeros(6), torch.full((6,), 1e6), 10**6)
    steps = AdamStep(moments).train(g)
    torch.testing.assert_close(nn.functional.cosine_similarity(steps, g), torch.ones(20))
    linear = AdamDiagonal(moments)
    torch.testing.assert_close(linear.apply(g), g / 1e3, rtol=1e-4, atol=1e-9)


def test_moments_need_a_stepped_optimizer() -> None:
    engine, _ = trained()
    fresh = torch.optim.Adam(engine.model.parameters())
    with pytest.raises(ConfigError, match=r"moments of table.weight"):
        Moments.of(fresh, engine)


def test_all_fit_the_interface() -> None:
    engine, optimizer = trained()
    train = engine.task.examples(documents(8, 5))
    moments = Moments.of(optimizer, engine)
    for one in (
        Identity(),
        AdamDiagonal(moments),
        AdamStep(moments),
        kronecker(engine, train),
        dense(engine, train),
    ):
        assert isinstance(one, Preconditioner)
        assert one.name and one.unit.endswith("example") and one.describe()
        assert one.linear == (not isinstance(one, AdamStep))


def test_self_check_tells_good_from_bad() -> None:
    model = build(SIZES["tiny"].model)
    found = self_check(
        model,
        {
            "identity": lambda engine, examples: Identity(),
            "ekfac": kronecker,
            "dense": dense,
        },
        examples=16,
        queries=4,
        steps=30,
    )
    by = {one.name: one for one in found.found}
    assert by["dense"].pearson == pytest.approx(1, abs=1e-6)
    assert by["dense"].spread == pytest.approx(1, abs=1e-6)
    assert by["identity"].pearson < by["ekfac"].pearson < 0.99
    text = str(found)
    assert "CausalLM of 1,512 parameters" in text and f"{by['ekfac'].pearson:.4f}" in text


def test_small_copies_of_hugging_face_models() -> None:
    transformers: Any = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    for name in ("Llama", "GPTNeoX"):
        config = getattr(transformers, f"{name}Config")(hidden_size=64, num_attention_heads=4)
        with torch.device("meta"):
            model = getattr(transformers, f"{name}ForCausalLM")(config)
        copy = small_copy(model)
        assert type(copy) is type(model)
        assert sum(p.numel() for p in copy.parameters()) < 3000
        assert config.hidden_size == 64
    with pytest.raises(ConfigError, match="tiny copy"):
        small_copy(nn.Linear(2, 2))


def test_comparison_is_within_queries() -> None:
    """A constant added to or a factor on all of a query's scores changes no correlation."""
    engine, _ = trained()
    train = engine.task.examples(documents(6, 5))
    found = compare(engine, train, train, {"dense": lambda e, x: dense(e, x)})
    assert found.found[0].spearman == pytest.approx(1)
    assert found.parameters == engine.size and found.examples == found.queries == 6
