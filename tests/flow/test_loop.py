"""`dataworth.loop`: rounds share one table, leave out what was trained on, go on when killed."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dataworth
from dataworth.errors import ConfigError, DataworthError, RunError
from dataworth.flow import loop as loop_module
from dataworth.flow import rounds as rounds_module
from dataworth.flow.annotating import Annotate
from dataworth.flow.scores import Scores
from flow.pools import write

ROWS = [
    {"text": f"row {i} has {i % 7} words more " + "word " * (i % 7), "lang": "ab"[i % 2]}
    for i in range(90)
]
TARGET = [f"row {i} has words" for i in range(12)]
STEPS = ["length(minimum=2)", "dsir(minimum=0, raw=all)"]


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write(tmp_path / "pool.jsonl", [json.dumps(row).encode() for row in ROWS])


def trainer(selection: Any, previous: Path | None, number: int, folder: Path) -> Path:
    """What it writes depends on all that it is given."""
    before = (previous / "model.txt").read_text("utf-8") if previous else ""
    uids = sorted(selection.table["uid"].to_pylist())
    (folder / "model.txt").write_text(f"{before}round {number}: {uids}\n", "utf-8")
    return folder


def uids(selection: dataworth.Selection) -> set[int]:
    return set(selection.table["uid"].to_pylist())


def run(pool: Path, out: Path, **options: Any) -> list[dataworth.Selection]:
    given = {"rounds": 3, "train": trainer, "steps": STEPS, "budget": "20-docs", "engine": 1}
    return dataworth.loop(pool, {"t": TARGET}, out=out, **{**given, **options})


def result(out: Path) -> dict[str, str]:
    """What rounds leave, but for where the folder lies."""
    return {
        path.relative_to(out).as_posix(): path.read_text("utf-8")
        for path in sorted((out / "rounds").rglob("*"))
        if path.is_file()
    }


def test_rounds_take_the_best_of_what_is_left_and_train_on_it(pool: Path, tmp_path: Path) -> None:
    given: list[tuple[int, Path | None, Path]] = []

    def train(selection: Any, previous: Path | None, number: int, folder: Path) -> Path:
        given.append((number, previous, folder))
        return trainer(selection, previous, number, folder)

    out = tmp_path / "out"
    made = run(pool, out, train=train, mechanism="top_k")
    folders = [out / "rounds" / str(n) / "checkpoint" for n in (1, 2, 3)]
    assert given == [
        (1, None, folders[0]),
        (2, folders[0], folders[1]),
        (3, folders[1], folders[2]),
    ]
    best = dataworth.load(out).choose("60-docs", mechanism="top_k")
    assert [len(one) for one in made] == [20, 20, 20]
    assert len(uids(made[0]) | uids(made[1]) | uids(made[2])) == 60
    values = [one.table["utility:dsir:t"].to_pylist() for one in made]  # ties go by the seed
    assert sorted(itertools.chain(*values)) == sorted(best.table["utility:dsir:t"].to_pylist())
    assert min(values[0]) >= max(values[1]) and min(values[1]) >= max(values[2])
    assert uids(made[0]) == uids(dataworth.load(out).choose("20-docs", mechanism="top_k"))
    for number, one in enumerate(made, 1):
        record = json.loads((out / "rounds" / str(number) / "round.json").read_text("utf-8"))
        assert (out / "selections" / record["selection"]).samefile(one.folder)
        assert (out / "lists" / f"{record['list']}.json").is_file()
        assert record["checkpoint"] == "checkpoint"
    said = dataworth.explain(out, f"{next(iter(uids(made[1]))):016x}", choice=made[1].folder.name)
    assert said["kept"] and said["chosen"] == 20


def test_columns_are_computed_once_for_all_rounds(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: Counter[str] = Counter()
    real = Annotate.__call__

    def count(self: Annotate, part: Any, tick: Any) -> Any:
        parts["read"] += 1
        return real(self, part, tick)

    monkeypatch.setattr(Annotate, "__call__", count)
    run(pool, tmp_path / "out")
    assert parts["read"] == 1
    run(pool, tmp_path / "other", steps=[STEPS[:1], STEPS], rounds=4)
    assert parts["read"] == 3  # once for each of the two lists
    folders = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "other/table").iterdir())
    assert folders == ["documents", "dsir", "length"]


@pytest.mark.parametrize("stage", ["score", "choose", "train", "train half", "record"])
@pytest.mark.parametrize("after", [0, 2])
def test_a_killed_loop_ends_with_the_same_result(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, after: int
) -> None:
    place = {
        "score": (loop_module, "run_scoring"),
        "choose": (Scores, "choose_settings"),
        "train": (loop_module, "trained"),
        "train half": (rounds_module, "content_of"),
        "record": (loop_module, "write_round"),
    }[stage]
    train = trainer
    if stage == "train half":

        def train(selection: Any, previous: Path | None, number: int, folder: Path) -> Path:
            if number == after + 1 and not (folder / "half").exists():
                (folder / "half").touch()
                raise KilledError
            (folder / "half").unlink(missing_ok=True)
            return trainer(selection, previous, number, folder)

    calls = [0]
    real = getattr(*place)

    def dying(*given: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == after + 1:
            raise KilledError
        return real(*given, **more)

    whole = run(pool, tmp_path / "whole", train=train) if stage != "train half" else None
    if stage != "train half":
        monkeypatch.setattr(*place, dying)
    with pytest.raises(KilledError):
        run(pool, tmp_path / "out", train=train)
    monkeypatch.undo()
    again = run(pool, tmp_path / "out", train=train)
    if whole is None:
        whole = run(pool, tmp_path / "whole", train=trainer)
    assert [uids(one) for one in again] == [uids(one) for one in whole]
    models = {name: text for name, text in result(tmp_path / "out").items() if "model" in name}
    assert models == {n: t for n, t in result(tmp_path / "whole").items() if "model" in n}


def test_a_finished_loop_trains_nothing_and_takes_more_rounds(pool: Path, tmp_path: Path) -> None:
    first = run(pool, tmp_path / "out", rounds=2)

    def never(selection: Any, previous: Any, number: int, folder: Path) -> Path:
        assert number > 2
        return trainer(selection, previous, number, folder)

    never.__module__, never.__qualname__ = trainer.__module__, trainer.__qualname__
    more = run(pool, tmp_path / "out", rounds=3, train=never)
    assert [uids(one) for one in more[:2]] == [uids(one) for one in first]
    whole = run(pool, tmp_path / "whole")
    assert [uids(one) for one in more] == [uids(one) for one in whole]
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    assert len(run(pool, moved, rounds=2, train=never)) == 2


def test_what_a_loop_trained_on_can_be_excluded(pool: Path, tmp_path: Path) -> None:
    made = run(pool, tmp_path / "out", rounds=2)
    rest = dataworth.select(pool, budget="100%", steps=["length"], exclude=tmp_path / "out")
    assert not uids(rest) & (uids(made[0]) | uids(made[1]))
    assert len(rest) == 50


def test_each_round_has_its_budget_and_its_noise(pool: Path, tmp_path: Path) -> None:
    made = run(pool, tmp_path / "out", budget=["5-docs", "10-docs"], rounds=2, mechanism="random")
    assert [len(one) for one in made] == [5, 10]
    assert [one.choice.settings.seed for one in made] == [0, 1]


def returns(value: Any) -> Callable[..., Any]:
    def train(selection: Any, previous: Any, number: int, folder: Path) -> Any:
        return value

    return train


def fails(*given: Any) -> Any:
    raise ValueError("out of\nmemory")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rounds": 0}, "rounds is a whole number of at least 1"),
        ({"rounds": 5}, "5 rounds ask for 100 documents, but the pool has 90"),
        ({"rounds": 3, "budget": "90%", "steps": ["length(minimum=99)"]}, "round 1: no document"),
        ({"rounds": 2, "budget": "100%"}, "round 2: no document of the pool is left"),
        ({"steps": [STEPS] * 4}, "4 lists for 3 rounds"),
        ({"steps": [STEPS, "dsir"]}, "not a mixture"),
        ({"budget": ["1%", "2%"]}, "2 budgets for 3 rounds"),
        ({"steps": ["influence(model={checkpoint})"]}, "round 1: influence asks for {checkpoint}"),
        ({"start": "nowhere"}, "is no folder of a model"),
        ({"train": 7}, "train: give a function"),
        ({"train": "no_such_module:f"}, "no_such_module:f cannot be imported"),
        ({"train": "json:nothing"}, "the module json has no nothing"),
        ({"train": "json:__name__"}, "is no function"),
        ({"train": "smal"}, "there is no 'smal'"),
        ({"train": "small(size=huge)"}, "there is no size 'huge'"),
        ({"train": "small(epochs=0)"}, "epochs must be"),
        ({"train": returns(None)}, "round 1: the trainer .* returned 'None', which is no folder"),
        ({"train": lambda s, p, n, folder: folder}, "left an empty folder"),
        ({"train": fails}, "round 1: the trainer .*fails failed .ValueError: out of memory."),
    ],
)
def test_what_is_wrong_is_one_clear_line(
    pool: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataworthError, match=said) as error:
        run(pool, tmp_path / "out", **options)
    assert "\n" not in str(error.value)


def test_no_out(pool: Path) -> None:
    with pytest.raises(ConfigError, match="a loop needs a folder"):
        dataworth.loop(pool, {"t": TARGET}, rounds=1, train=trainer)


def test_a_folder_of_another_loop_or_with_another_checkpoint(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pool, out)
    with pytest.raises(RunError, match=r"holds another loop:\n  round 1.choose.budget: '20-docs'"):
        run(pool, out, budget="10-docs")
    with pytest.raises(RunError, match=r"round 1\.targets"):
        dataworth.loop(
            *(pool, {"t": TARGET[:5]}), rounds=3, train=trainer, steps=STEPS, budget="20-docs",
            out=out, engine=1,
        )  # fmt: skip
    shutil.rmtree(out / "rounds" / "2" / "checkpoint")
    with pytest.raises(RunError, match="the checkpoint of round 2 is gone"):
        run(pool, out)
    made = run(pool, out, budget="10-docs", overwrite=True)
    assert [len(one) for one in made] == [10, 10, 10]


def test_checkpoints_stand_in_options_of_any_depth() -> None:
    (steps,) = rounds_module.steps_of_rounds([["trak(models=[{checkpoint}, b])"]], 1)
    assert rounds_module.asks_checkpoint(steps)
    (filled,) = (rounds_module.filled(step, "a/b") for step in steps)
    assert filled.models == ("a/b", "b")  # type: ignore[attr-defined]
    assert not rounds_module.asks_checkpoint([filled])
    for text in (
        "model={checkpoint}/last",
        "model='{checkpoint}/last'",
        'model="{checkpoint}/last"',
    ):
        ((step,),) = rounds_module.steps_of_rounds([[f"influence({text})"]], 1)
        assert rounds_module.filled(step, "a").model == "a/last"
