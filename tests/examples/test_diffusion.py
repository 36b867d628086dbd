"""The example of a diffusion model, made small."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from dataworth.features.gradients import Gradients
from examples import diffusion

STEPS = [5, 40, 80]


@pytest.fixture(scope="module")
def model() -> diffusion.Denoiser:
    torch.manual_seed(0)
    return diffusion.Denoiser(12)


def images(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_factor_at_one_timestep_moves_plain_scores_alone(model: diffusion.Denoiser) -> None:
    """The training loss times 10 at one timestep: other ranks for TracIn, none for ReTrac."""
    train = diffusion.draws(images(30, 1), STEPS, 1, shared=True)
    queries = diffusion.draws(images(4, 2), STEPS, 1, shared=True)
    ranks = {}
    for unit in (False, True):
        tables = [
            diffusion.influence(model, train, queries, unit=unit, factors=factors)
            for factors in ((), ((40, 10.0),))
        ]
        ranks[unit] = [np.argsort(table, axis=0) for table in tables]
        if unit:
            np.testing.assert_allclose(*tables, rtol=1e-4, atol=1e-4)
    assert (ranks[True][0] == ranks[True][1]).all()
    assert (ranks[False][0] != ranks[False][1]).mean() > 0.5


def test_the_task_is_the_loss_of_diffusion(model: diffusion.Denoiser) -> None:
    """The gradient of one draw, written out."""
    (draw,) = diffusion.draws(images(3, 1), [40], 1, shared=False)
    engine = Gradients(model, diffusion.Denoising(((7, 3.0),)))
    _, batch = next(iter(draw))
    image, step, noise = draw.items[2]
    left = diffusion.LEFT[step]
    noisy = left.sqrt() * image + (1 - left).sqrt() * noise
    torch.testing.assert_close(batch.inputs[0][2], noisy)
    expected = (model(*(part[2:] for part in batch.inputs)) - noise).square().sum()
    torch.testing.assert_close(engine.losses(batch)[2], expected.detach())
    shared = diffusion.draws(images(3, 1), STEPS, 1, shared=True)
    assert [{item[1] for item in one.items} for one in shared] == [{step} for step in STEPS]


def test_concentration() -> None:
    same = np.tile(np.arange(100.0)[:, None], (1, 5)).astype(np.float32)
    assert diffusion.concentration(same) == 1
    apart = np.zeros((100, 5), np.float32)
    for query in range(5):
        apart[20 * query : 20 * query + 20, query] = 1
    assert diffusion.concentration(apart) == pytest.approx(1 / 5)


def test_main(capsys: pytest.CaptureFixture[str]) -> None:
    diffusion.main(images=60, queries=4, rounds=3, grid=3)
    told = capsys.readouterr().out
    (line,) = re.findall(r"loss times 10 at timestep \d+ +(\d+)% +(\d+)%", told)
    assert int(line[0]) < int(line[1]) == 100
    assert len(re.findall(r"places of 20 images", told)) == 3
