"""CLIMB's rounds: on a planted law, whose models are computed, and on a swarm that is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.engine.local import Tick
from dataworth.errors import ConfigError
from dataworth.lm.model import SIZES
from dataworth.mixture.base import Groups
from dataworth.mixture.climb import Climb
from dataworth.mixture.registry import parse
from dataworth.mixture.swarm import read_groups, read_table
from dataworth.mixture.swarm_models import Run, TrainRuns
from mixture.swarm_text import MICRO, NAMES, swarm_text
from mixture.test_learned import FREE, GAIN, NATURAL, is_lowest, shares, swarm


def law(w: Any) -> Any:
    return 5 - np.sqrt(w) @ GAIN


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The mixtures that are trained in further rounds; their losses follow the law."""
    asked: list[Any] = []

    def train(self: Climb, groups: Any, names: Any, mixtures: Any, beside: str) -> Any:
        asked.append(mixtures)
        table = read_table(self.swarm)
        losses = {name: law(mixtures) for name in table.losses}
        return replace(table, weights=mixtures, losses=losses)

    monkeypatch.setattr(Climb, "_train", train)
    return asked


@pytest.mark.parametrize("model", ["square_root", "lightgbm"])
def test_rounds_narrow_to_the_optimum(tmp_path: Path, trained: list[Any], model: str) -> None:
    folder = swarm(tmp_path / "s", law, count=64)
    found = shares(f"climb(swarm=SWARM, draws=4000, best=16, model={model})", folder)
    assert [len(mixtures) for mixtures in trained] == [32, 16]
    first, second = (law(mixtures).mean() for mixtures in trained)
    assert second < first < law(read_table(folder).weights).mean()
    assert found.sum() == pytest.approx(1)
    best = np.maximum(GAIN, 0) ** 2 / (np.maximum(GAIN, 0) ** 2).sum()
    assert law(found[None])[0] < law(best[None])[0] + 0.05
    assert not is_lowest(law, NATURAL, FREE)


def test_rounds_keep_to_the_caps(tmp_path: Path, trained: list[Any]) -> None:
    folder = swarm(tmp_path / "s", law, count=64)
    text = "climb(swarm=SWARM, draws=500, best=8, model=square_root)"
    capped = shares(text, folder, repeat=2)
    assert capped[1] <= 0.4 + 1e-9
    assert all(mixtures[:, 1].max() <= 0.4 + 1e-9 for mixtures in trained)
    assert shares(text, folder, repeat=2) == pytest.approx(capped)


def test_what_is_wrong(tmp_path: Path) -> None:
    folder = swarm(tmp_path / "s", law, count=12)
    with pytest.raises(ConfigError, match="takes a swarm of 64 models or more, not of 12"):
        shares("climb(swarm=SWARM)", folder)
    with pytest.raises(ConfigError, match="rounds begin with 4 models or more"):
        shares("climb(swarm=SWARM, rounds=[3, 2])", folder)


def test_a_second_round_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "micro", MICRO)
    folder = swarm_text(tmp_path / "swarm", tokens=800)
    work = TrainRuns(folder, "micro", 800, 0, False, "cpu", read_groups(folder).targets)
    for number, weights in enumerate(np.vstack([np.eye(3), np.full(3, 1 / 3)]).tolist()):
        work(Run(number, tuple(weights)), Tick(1))
    options = "rounds=[4, 2], model=square_root, draws=200, best=4"
    mixture = parse(f"climb(swarm={json.dumps(str(folder))}, {options})")
    groups = Groups("domain", dict.fromkeys(NAMES, 1000.0), 500)
    found = mixture.fit(groups, ["red"], None)
    assert found["red"] > 0.5 and sum(found.values()) == pytest.approx(1)
    records = list((folder / "rounds").glob("*/1/runs/*.json"))
    assert len(records) == 2 and len(read_table(folder).weights) == 4
    monkeypatch.setattr(TrainRuns, "train", None)
    assert mixture.fit(groups, ["red"], None) == found
