"""The house's own trainer: it goes on from the round before, and ends the same when killed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dataworth
from dataworth.errors import ConfigError
from dataworth.flow import trainer as trainer_module
from dataworth.flow.rounds import filled
from dataworth.lm import training
from dataworth.lm.model import load_model
from dataworth.lm.moments import load_moments
from dataworth.lm.tokenizer import load_tokenizer
from flow.comparing import world

ASKING = "influence(model={checkpoint}, solver=identity)"
OPTIONS: dict[str, Any] = {"rounds": 2, "budget": "30-docs", "engine": 1}
OPTIONS |= {
    "train": "small(vocabulary=300, epochs=3, checkpoint_steps=2)",
    "steps": [["dsir"], [ASKING]],
}


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world(tmp_path_factory.mktemp("world"))


def run(place: Path, out: Path, **options: Any) -> list[dataworth.Selection]:
    target = {"red": place / "red.jsonl"}
    return dataworth.loop(place / "pool.jsonl", target, out=out, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def done(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("done") / "out"
    run(place, out)
    return out


def weights(out: Path, number: int) -> bytes:
    folder = out / "rounds" / str(number) / "checkpoint"
    return (folder / "model.safetensors").read_bytes()


def test_round_two_asks_the_model_of_round_one_and_goes_on_with_it(done: Path) -> None:
    table = dataworth.load(done)
    assert [Path(step.step.model) for step in table.steps.values()] == [  # type: ignore[attr-defined]
        done / "rounds" / "1" / "checkpoint"
    ]
    first, second = (load_model(done / "rounds" / n / "checkpoint") for n in "12")
    start = first.embeddings().detach().numpy()
    moved = np.abs(second.embeddings().detach().numpy() - start).mean()
    assert 0 < moved < np.abs(start).mean()
    names = [load_tokenizer(done / "rounds" / n / "checkpoint").to_str() for n in "12"]
    assert names[0] == names[1]
    for number in "12":
        moments = load_moments(done / "rounds" / number / "checkpoint")
        assert moments is not None and moments.step > 4
        assert sorted(path.name for path in (done / "rounds" / number).iterdir()) == [
            "checkpoint",
            "round.json",
        ]


@pytest.mark.parametrize("moment", ["step", "after"])
def test_a_killed_training_ends_with_the_same_weights(
    done: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    out = tmp_path / "out"
    if moment == "step":
        real = training._Run.step

        def step(self: Any) -> Any:
            if self.state.step == 5:
                raise KilledError
            return real(self)

        monkeypatch.setattr(training._Run, "step", step)
    else:

        def die(path: Path, **_: Any) -> None:
            raise KilledError

        monkeypatch.setattr(trainer_module, "shutil", SimpleNamespace(rmtree=die))
    with pytest.raises(KilledError):
        run(place, out)
    assert not (out / "rounds" / "1" / "round.json").exists()
    monkeypatch.undo()
    run(place, out)
    assert [weights(out, n) for n in (1, 2)] == [weights(done, n) for n in (1, 2)]
    moments = [load_moments(one / "rounds/2/checkpoint") for one in (out, done)]
    assert moments[0] is not None and moments[1] is not None
    assert moments[0].rates == moments[1].rates


def test_a_loop_starts_from_a_model(done: Path, place: Path, tmp_path: Path) -> None:
    start = done / "rounds" / "1" / "checkpoint"
    (made,) = run(place, tmp_path / "out", rounds=1, start=start, steps=[ASKING])
    (step,) = made.scores.steps.values()
    assert step.step == filled(step.step, str(start))
    with pytest.raises(ConfigError, match="no model"):
        (tmp_path / "empty").mkdir()
        run(place, tmp_path / "other", rounds=1, start=tmp_path / "empty", steps=["dsir"])
