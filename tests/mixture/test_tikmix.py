"""TiKMiX: influence against finite differences, and the program against its closed form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.lm.model import SIZES, build, save_model
from dataworth.lm.online import token_losses
from dataworth.lm.packing import sequences
from dataworth.mixture.base import Groups
from dataworth.mixture.registry import parse
from dataworth.mixture.swarm import read_groups
from dataworth.mixture.swarm_text import SwarmText
from dataworth.mixture.tikmix import best_shares, gradients
from mixture.swarm_text import MICRO, NAMES, swarm_text

NATURAL = np.array([0.5, 0.3, 0.2])
FREE = np.ones(3)


@pytest.fixture(autouse=True)
def _micro(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "micro", MICRO)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swarm_text(tmp_path_factory.mktemp("text") / "swarm", tokens=3000)


def shares(text: str, folder: Path, targets: Any = ()) -> dict[str, float]:
    mixture = parse(text.replace("SWARM", json.dumps(str(folder))))
    return mixture.fit(Groups("domain", dict.fromkeys(NAMES, 1000.0), 500), targets, None)


def test_influence_is_how_fast_the_loss_falls(folder: Path) -> None:
    """A step along a group's preconditioned gradient changes the target's loss by its influence."""
    text = SwarmText(read_groups(folder), 0)
    model = text.model().as_module().double()
    own = gradients(model, text.streams[2], 2, 4, 0).mean(0)  # type: ignore[arg-type]
    probe = text.held_out(["red"])[0]
    towards = gradients(model, probe, 3, 4, 0).mean(0)  # type: ignore[arg-type]
    precondition = torch.rand(len(own), generator=torch.Generator().manual_seed(0)).double()
    inputs, targets = map(torch.from_numpy, sequences(probe, 32, 12 * 32, 0).batch(0, 12))

    def loss() -> float:
        with torch.no_grad():
            logits = model(inputs, (inputs == probe.end).cumsum(1))
            return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()))

    parameters = list(model.parameters())
    before, step = loss(), 1e-4
    vector = torch.nn.utils.parameters_to_vector(parameters) - step * precondition * own
    torch.nn.utils.vector_to_parameters(vector, parameters)
    influence = float(own @ (precondition * towards))
    assert (before - loss()) / step == pytest.approx(influence, rel=0.02)
    assert token_losses(model, inputs, targets, probe.end).shape == inputs.shape  # type: ignore[arg-type]


def test_without_constraints_there_is_a_closed_form() -> None:
    influence = np.array([[1.0], [3.0], [2.0]])  # more of the second: nobody is worse off
    gain = influence[:, 0] / 2
    for kl in (0.3, 1.0, 10.0):
        wanted = NATURAL * np.exp(gain / kl)
        assert best_shares(influence, NATURAL, FREE, kl) == pytest.approx(
            wanted / wanted.sum(), abs=1e-4
        )
    assert best_shares(influence, NATURAL, FREE, 1e-3) == pytest.approx([0, 1, 0], abs=1e-3)
    assert best_shares(influence, NATURAL, FREE, 1e4) == pytest.approx(NATURAL, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=6, max_size=6),
    st.lists(st.floats(0.35, 1), min_size=3, max_size=3),
)
def test_no_target_falls_below_the_natural_mixture(
    values: list[float], limits: list[float]
) -> None:
    influence, caps = np.array(values).reshape(3, 2), np.array(limits)
    found = best_shares(influence, NATURAL, caps, 0.5)
    assert found.sum() == pytest.approx(1, abs=1e-6)
    assert (found >= 0).all() and (found <= caps + 1e-9).all()
    if (caps >= NATURAL).all():  # the natural mixture itself is allowed
        columns = influence / np.maximum(np.abs(influence).mean(0), 1e-300)
        assert (columns.T @ found >= columns.T @ NATURAL - 1e-3).all()
    order = np.array([2, 0, 1])
    again = best_shares(influence[order], NATURAL[order], caps[order], 0.5)
    assert again == pytest.approx(found[order], abs=2e-3)


def test_what_cannot_be_kept_gives_the_least_slack() -> None:
    """The only group that helps is capped below its natural share: as much of it as there is."""
    found = best_shares(np.array([[1.0], [0.0], [0.0]]), NATURAL, np.array([0.2, 1, 1]), 1.0)
    assert found == pytest.approx([0.2, 0.48, 0.32], abs=1e-4)


def test_the_targets_own_group_gains_and_noise_loses(folder: Path) -> None:
    text = "tikmix(swarm=SWARM, batches=4)"
    found = shares(text, folder, ("red",))
    natural = dict(zip(NAMES, read_groups(folder).natural, strict=True))
    assert sum(found.values()) == pytest.approx(1)
    assert found["red"] > natural["red"] and found["noise"] < natural["noise"]
    assert shares("tikmix(swarm=SWARM, batches=4, minimise=red)", folder) == found
    kept = list((folder / "online").glob("tikmix-*"))
    near = shares("tikmix(swarm=SWARM, batches=4, kl=1e4)", folder, ("red",))
    assert near == pytest.approx(natural, abs=1e-3)
    assert list((folder / "online").glob("tikmix-*")) == kept  # measured once


def test_a_model_of_ones_own(folder: Path, tmp_path: Path) -> None:
    text = SwarmText(read_groups(folder), 1)
    save_model(text.model(), tmp_path / "model", text.tokenizer)
    path = json.dumps(str(tmp_path / "model"))
    with pytest.raises(ConfigError, match=r"no moments of Adam beside it: take tikmix\(hessian"):
        shares(f"tikmix(swarm=SWARM, batches=2, model={path})", folder)
    options = f"batches=2, model={path}, hessian=identity"
    assert sum(shares(f"tikmix(swarm=SWARM, {options})", folder).values()) == pytest.approx(1)
    other = build(type(MICRO.model)(**{**vars(MICRO.model), "vocabulary": 280}))
    save_model(other, tmp_path / "other", text.tokenizer)
    path = json.dumps(str(tmp_path / "other"))
    with pytest.raises(ConfigError, match="knows fewer tokens than the swarm's tokenizer"):
        shares(f"tikmix(swarm=SWARM, batches=2, model={path}, hessian=identity)", folder)
