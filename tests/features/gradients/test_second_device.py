"""Gradients on another device than the CPU, which a CPU stands for: see `standin`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dataworth.features.gradients.counter import key_of, scatter, scatter_on, signs, signs_on
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.metagradient import Adam, Run, metagradients
from dataworth.features.gradients.projected import projected_scores
from dataworth.features.gradients.projection import Dense, Sparse, TwoSided, Whole
from dataworth.features.gradients.scoring import scores, scores_by_position, self_scores
from dataworth.features.gradients.solving import Curvature, fit, pack, unpack
from dataworth.features.gradients.task import CausalLM
from dataworth.lm.model import ModelConfig, build
from standin import NAME, StandIn, install

pytestmark = pytest.mark.alone  # torch counts devices when it first goes back

Work = Callable[[Gradients, Any, Any], NDArray[Any]]
ITEMS = [np.random.default_rng(n).integers(0, 24, n).tolist() for n in (5, 9, 12, 7, 16, 11)]


@pytest.fixture(scope="module")
def second() -> Iterator[StandIn]:
    yield install()


def on(device: str, work: Work) -> NDArray[Any]:
    model = build(ModelConfig(8, 1, 2, 16, 24, 16), 0)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.2 * torch.randn(value.shape, generator=noise))
    task = CausalLM()
    engine = Gradients(model.to(device), task)
    return work(engine, task.examples(ITEMS, size=3), task.examples(ITEMS[:2], size=2))


def solver(name: str) -> Work:
    return lambda e, x, q: scores(e, x, q, fit(e, x, Curvature(name, steps=2)))  # type: ignore[arg-type]


def loaded(name: str) -> Work:
    def work(engine: Gradients, examples: Any, queries: Any) -> NDArray[Any]:
        arrays, about = pack(fit(engine, examples, Curvature(name)))  # type: ignore[arg-type]
        again = unpack(arrays, engine.blocks, about, engine.device)
        return self_scores(engine, examples, again)

    return work


def by_position(engine: Gradients, examples: Any, queries: Any) -> NDArray[Any]:
    return np.concatenate([one.ravel() for one in scores_by_position(engine, examples, queries)])


def through_training(engine: Gradients, examples: Any, queries: Any) -> NDArray[Any]:
    order = [np.array([0, 1, 2]), np.array([3, 4, 5])]
    run = Run(engine.model, engine.task, ITEMS, order, Adam(1e-3), 2)
    return metagradients(run, ITEMS[:2], mix=torch.full((1, 2), 0.5)).scores


CASES: dict[str, Work] = {
    **{name: solver(name) for name in ("identity", "cosine", "diagonal", "kfac", "ekfac")},
    **{name: solver(name) for name in ("ekfac_cg", "lissa", "dense")},
    **{f"loaded {name}": loaded(name) for name in ("diagonal", "ekfac")},
    **{
        str(how): lambda e, x, q, how=how: projected_scores(e, x, q, how)  # type: ignore[misc]
        for how in (Whole(), Dense(64), Dense(64, "gaussian"), Sparse(64), TwoSided(4, 4))
    },
    "low rank": lambda e, x, q: scores(e, x, q, rank=1),
    "by position": by_position,
    "through training": through_training,
}


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_the_cpu_and_nothing_mixes_devices(name: str, second: StandIn) -> None:
    expected = on("cpu", CASES[name])
    before = second.operations
    with second:
        found = on(NAME, CASES[name])
    assert second.operations - before > 100  # it ran there
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())


def test_a_batch_waits_for_the_device_a_few_times_only(second: StandIn) -> None:
    """Not once a row: each waiting leaves a GPU without work."""

    def work(engine: Gradients, examples: Any, queries: Any) -> NDArray[Any]:
        engine._check = False  # some batches are compared with plain differentiation, which waits
        second.waits.clear()
        _, batch = next(iter(examples))
        return engine.factors(batch).scores(engine.gradients(batch)).cpu().numpy()

    with second:
        on(NAME, work)
    assert sum(second.waits.values()) <= 4


def test_projections_have_the_same_bits_where_torch_makes_them() -> None:
    key = key_of(3, 1)
    for rows, columns, first in ((5, 64, 0), (7, 130, 1 << 40), (1, 3, 9)):
        ours = signs_on(torch.device("cpu"), key, rows, columns, first)
        assert np.array_equal(ours.numpy(), signs(key, rows, columns, first))
    values = np.random.default_rng(0).normal(size=(3, 5000)).astype(np.float32)
    for parts, width, first in ((4, 16, 0), (1, 100, 12345), (8, 1000, 1 << 35)):
        expected = np.zeros((3, parts * width), np.float32)
        scatter(key, values, expected, width, first)
        found = torch.zeros(3, parts * width)
        scatter_on(key, torch.from_numpy(values), found, width, first)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_the_stand_in_refuses_what_a_gpu_refuses(second: StandIn) -> None:
    with second:
        there = torch.ones(3).to(NAME)
        with pytest.raises(RuntimeError, match="on one device"):
            _ = there + torch.ones(3)
        with pytest.raises(RuntimeError):
            there.numpy()
        assert (there + 1).cpu().tolist() == [2, 2, 2]
