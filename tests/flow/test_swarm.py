"""`dataworth.swarm`: small models on mixtures of groups, and mixtures learned from them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from dataworth.errors import ConfigError, DataworthError, InputError, RunError
from dataworth.flow.swarm_models import TrainRuns
from dataworth.mixture.swarm import read_table
from flow.comparing import NAMES, lines_of, world, write

FEW: dict[str, Any] = {
    "group_by": "domain",
    "mixtures": 6,
    "tokens": "600",
    "vocabulary": 300,
    "held_out": 2000,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def made(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dataworth.Swarm:
    out = tmp_path_factory.mktemp("made") / "swarm"
    return dataworth.swarm(place / "pool.jsonl", place / "red.jsonl", out=out, **FEW)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the models that are trained from now on."""
    numbers: list[int] = []
    before = TrainRuns.train

    def note(self: TrainRuns, run: Any, device: str, **more: Any) -> Any:
        numbers.append(run.number)
        return before(self, run, device, **more)

    monkeypatch.setattr(TrainRuns, "train", note)
    return numbers


def test_a_table_of_shares_and_losses(made: dataworth.Swarm) -> None:
    table = made.table
    assert table.column_names == [
        *("share:blue", "share:red", "loss:group:blue", "loss:group:red", "loss:target:red")
    ]
    assert len(table) == 6
    assert (made.folder / "table.csv").read_text().count("\n") == 7
    found = made.mixtures
    assert found.weights.sum(1) == pytest.approx(1)
    assert found.natural == pytest.approx([0.5, 0.5], abs=0.1)
    # More of a group's text, less loss on it and on the target that is like it.
    red = found.weights[:, 1]
    for name in ("group:red", "target:red"):
        assert np.corrcoef(red, found.losses[name])[0, 1] < -0.5
    assert np.corrcoef(red, found.losses["group:blue"])[0, 1] > 0.5


def test_a_training_reads_its_shares_and_repeats_no_more_than_the_run(
    made: dataworth.Swarm,
) -> None:
    facts = made.facts
    used = [one["used"] for one in facts["domains"]]
    total = sum(one["tokens"] for one in facts["domains"])
    share = 600 / total
    assert facts["budget"] == total
    assert used == [round(share * one["tokens"]) for one in facts["domains"]]
    work = TrainRuns(made.folder, "tiny", 600, 0, False, "cpu", {})
    from dataworth.flow.swarm_models import Run
    from dataworth.lm.packing import open_stream

    stream = work.stream(Run(0, (0.75, 0.25)))
    blue = open_stream(made.folder / "tokens" / "0").tokens[: used[0]]
    assert len(stream) == 600
    assert np.array_equal(stream.tokens[:450], np.resize(blue, 450))


def test_a_pool_that_was_written_again_is_the_same(
    tmp_path: Path, made: dataworth.Swarm, place: Path, trained: list[int]
) -> None:
    out = tmp_path / "swarm"
    shutil.copytree(made.folder, out)
    shutil.copy(place / "pool.jsonl", tmp_path / "moved.jsonl")
    os.utime(tmp_path / "moved.jsonl", (1, 1))
    again = dataworth.swarm(tmp_path / "moved.jsonl", place / "red.jsonl", out=out, **FEW)
    assert trained == [] and again.table.equals(made.table)


def test_a_killed_swarm_trains_nothing_twice(
    made: dataworth.Swarm, place: Path, tmp_path: Path, trained: list[int]
) -> None:
    out = tmp_path / "swarm"
    shutil.copytree(made.folder, out)
    (out / "runs" / "0004.json").unlink()  # killed before it was measured
    (out / "runs" / "0001.json").unlink()  # killed while it was trained
    shutil.rmtree(out / "models" / "0001")
    again = dataworth.swarm(place / "pool.jsonl", place / "red.jsonl", out=out, **FEW)
    assert trained == [1]
    assert again.table.equals(made.table)


def test_more_mixtures_are_added_and_another_target_is_measured(
    made: dataworth.Swarm, place: Path, tmp_path: Path, trained: list[int]
) -> None:
    out = tmp_path / "swarm"
    shutil.copytree(made.folder, out)
    targets = {name: place / f"{name}.jsonl" for name in NAMES}
    both = dataworth.swarm(place / "pool.jsonl", targets, out=out, **FEW)
    assert trained == [] and "loss:target:blue" in both.table.column_names
    assert both.table.select(made.table.column_names).equals(made.table)
    more = dataworth.swarm(place / "pool.jsonl", out=out, **{**FEW, "mixtures": 7})
    assert trained == [6]
    assert more.mixtures.weights[:6] == pytest.approx(made.mixtures.weights)
    # The new model was not measured on the targets.
    assert [n for n in more.mixtures.losses if "target" in n] == []


def test_a_mixture_is_learned_and_kept_to(
    made: dataworth.Swarm, place: Path, tmp_path: Path
) -> None:
    selection = dataworth.select(
        place / "pool.jsonl",
        {"red": place / "red.jsonl"},
        "60-docs",
        steps=["dsir"],
        group_by="domain",
        mixture={"square_root": {"swarm": str(made.folder)}},
        engine=1,
    )
    codes, domains = selection.scores.table.codes("domain")
    chosen = [domains[code] for code in codes[selection.rows]]
    assert chosen.count("red") > 45
    with pytest.raises(ConfigError, match="is no swarm; train one with `dataworth swarm` first"):
        dataworth.select("nowhere", "t", "1%", group_by="domain", mixture="regmix(swarm=gone)")


def test_a_dry_run_trains_nothing(
    made: dataworth.Swarm, place: Path, tmp_path: Path, trained: list[int]
) -> None:
    out = tmp_path / "swarm"
    told = dataworth.swarm(place / "pool.jsonl", out=out, dry_run=True, **FEW)
    assert told.facts["left"] == 6 and told.facts["seconds"] > 0
    assert trained == [0] and not out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mixtures": 3}, "a swarm has 4 mixtures or more, not 3"),
        ({"size": "huge"}, "no size 'huge'; there are tiny"),
        ({"epochs": 0}, "epochs is above 0, not 0"),
        ({"budget": "1M", "epochs": 1}, r"caps of the groups add up to 0\.\d+, less than"),
        ({"group_by": "nothing"}, "no document of the pool has the field 'nothing'; there are"),
        ({"tokens": "1GB"}, "500k"),
    ],
)
def test_what_is_wrong(place: Path, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DataworthError, match=said):
        dataworth.swarm(place / "pool.jsonl", out=tmp_path / "swarm", **{**FEW, **options})


def test_groups_that_are_too_small(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    red = lines_of("red", 30, 0)
    write(pool, red)
    with pytest.raises(ConfigError, match="all documents have the domain 'red'"):
        dataworth.swarm(pool, **FEW)
    few = [{"text": text, "domain": "blue"} for text in ("alone", "alone", "")]
    write(pool, [*red, *(json.dumps(row).encode() + b"\n" for row in few)])
    with pytest.raises(InputError, match="'blue' of domain has fewer than two different texts"):
        dataworth.swarm(pool, max_bad=0.5, **FEW)


def test_another_swarm_in_the_folder(
    made: dataworth.Swarm, place: Path, tmp_path: Path, trained: list[int]
) -> None:
    with pytest.raises(RunError, match="tokens: 600 → 700"):
        dataworth.swarm(place / "pool.jsonl", out=made.folder, **{**FEW, "tokens": "700"})
    assert trained == []
    assert len(read_table(made.folder).weights) == 6
