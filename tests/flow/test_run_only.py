"""Options that cannot change a result: a finished run goes on with others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataworth
from dataworth.errors import RunError
from dataworth.registry import STEPS

STEP = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from dataworth import option
from dataworth.methods.base import Score

@dataclass(frozen=True)
class Weighed(Score):
    """Length times a factor."""
    name: ClassVar[str] = "weighed"
    needs_target: ClassVar[bool] = False
    unit: ClassVar[str] = "bytes"
    factor: float = option(1.0, help="Times the length.")
    device: str = option("auto", help="Where.", run_only=True)

    def utilities(self, batch, state):
        return self.factor * batch.documents.text_bytes[:, None].astype(float)
'''
POOL = [{"text": "word " * (1 + i % 7) + str(i)} for i in range(40)]


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "run_only_step.py").write_text(STEP)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = dict(STEPS._registered)
    yield
    STEPS._registered.clear()
    STEPS._registered.update(before)


def select(out: Path, options: str = "", **more: object) -> dataworth.Selection:
    step = f"run_only_step:Weighed({options})"
    given = {"steps": [step], "out": out, "engine": 1, **more}
    return dataworth.select(POOL, budget="5-docs", **given)  # type: ignore[arg-type]


def test_a_finished_selection_goes_on_with_another_device(tmp_path: Path) -> None:
    first = select(tmp_path / "out")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    again = select(tmp_path / "out", "device=cpu")
    assert again.folder == first.folder
    assert again.table.equals(first.table)
    assert {p: p.stat().st_mtime_ns for p in files if p.parent.name == "data"} == {
        p: time for p, time in files.items() if p.parent.name == "data"
    }
    plan = dataworth.plan(
        POOL, budget="5-docs", steps=["run_only_step:Weighed(device=cpu)"], out=tmp_path / "out"
    )
    assert plan.state == "resumes" and not plan.changes
    loaded = dataworth.load(tmp_path / "out")
    assert loaded.settings.steps[0].device == "cpu"  # type: ignore[attr-defined]


def test_an_option_that_changes_the_result_is_refused(tmp_path: Path) -> None:
    select(tmp_path / "out")
    with pytest.raises(RunError, match=r"factor': 2\.0"):
        select(tmp_path / "out", "factor=2, device=cpu")


def test_rounds_go_on_with_another_device(tmp_path: Path) -> None:
    def train(selection: object, previous: object, number: int, folder: Path) -> Path:
        (folder / "model").touch()
        return folder

    for device in ("auto", "cpu"):
        dataworth.loop(
            POOL,
            rounds=1,
            train=train,
            steps=[f"run_only_step:Weighed(device={device})"],
            budget="5-docs",
            out=tmp_path / "out",
            engine=1,
        )
    record = json.loads((tmp_path / "out/rounds/1/round.json").read_text("utf-8"))
    assert "device" in json.dumps(record)
