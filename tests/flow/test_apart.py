"""What lies in the pool's folder but is no part of the pool: targets, outputs, other runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import dataworth
from dataworth.errors import DataworthError


def lines(word: str, count: int) -> str:
    rows = [{"text": f"some {word} words of the document {i} and others"} for i in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.jsonl").write_text(lines("plain", 20))
    (folder / "inner" / "b.jsonl").write_text(lines("inner", 20))
    (folder / "target.jsonl").write_text(lines("wanted", 8))
    return folder


def documents(made: dataworth.Selection) -> int:
    return made.metrics["accounting"]["documents"]


def said(caplog: pytest.LogCaptureFixture, path: Path) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.getMessage().startswith(f"{path}: ")]


@pytest.mark.parametrize("form", ["folder", "glob", "files", "link"])
def test_targets_are_no_part_of_the_pool(
    form: str, pool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target: Any = pool / "target.jsonl"
    given: Any = pool
    if form == "glob":
        given = str(pool / "**" / "*.jsonl")
    elif form == "files":
        given = [pool / "a.jsonl", pool / "inner", target]
    elif form == "link":
        target = pool.parent / "link.jsonl"
        target.symlink_to(pool / "target.jsonl")
    made = dataworth.select(given, {"t": target}, "100%", engine=1)
    assert documents(made) == 40
    assert dataworth.plan(given, {"t": target}, "100%", engine=1).documents == 40
    (line,) = said(caplog, pool / "target.jsonl")
    assert "left out of the pool, it is the target 't'" in line


def test_a_pool_that_is_the_target_stays(pool: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = dataworth.select(pool / "a.jsonl", pool / "a.jsonl", "5-docs", engine=1)
    assert documents(made) == 20
    assert "is the pool and the target 'a' at once" in said(caplog, pool / "a.jsonl")[0]


@pytest.mark.parametrize("form", ["folder", "glob", "everything", "expanded"])
def test_the_same_command_twice(form: str, pool: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the output among what is read; in between, the work is begun afresh and gone on with."""
    out = pool / "out"
    given: Any = {"glob": str(pool / "**" / "*.jsonl*"), "everything": str(pool / "*")}
    given = given.get(form, pool)
    target = pool.parent / "target.jsonl"
    shutil.move(pool / "target.jsonl", target)
    for overwrite in (False, False, True, False):
        if form == "expanded":
            given = sorted(pool.iterdir())
        made = dataworth.select(
            given, target, "50%", format="jsonl", out=out, overwrite=overwrite, engine=1
        )
        assert documents(made) == 40
    assert f"{out}: left out of what is read, it is written to" in caplog.text
    assert dataworth.load(out).choose("5-docs")
    judged = dataworth.judge(out, pool=pool, target=target, engine=1)
    assert judged.metrics["pool"]["documents"] == 40


def test_other_runs_are_no_part_of_the_pool(pool: Path, tmp_path: Path) -> None:
    target = {"t": pool / "target.jsonl"}
    options: dict[str, Any] = {"format": "jsonl", "engine": 1}
    for name in ("one", "two"):
        made = dataworth.select(pool, target, "50%", out=pool / name, **options)
        assert documents(made) == 40
    # A selection that is named, or a folder of nothing else, is read as before.
    kept = len(made)
    named = dataworth.select(pool / "one", target, "100%", duplicates="keep", engine=1)
    assert documents(named) == kept
    shutil.copytree(pool / "one", tmp_path / "runs" / "one")
    shutil.copytree(pool / "two", tmp_path / "runs" / "two")
    both = dataworth.select(tmp_path / "runs", target, "100%", engine=1)
    assert documents(both) == 2 * kept


def test_a_run_is_not_written_over_what_it_reads(pool: Path) -> None:
    out = pool / "out"
    target = {"t": pool / "target.jsonl"}
    options: dict[str, Any] = {"format": "jsonl", "out": out, "engine": 1}
    dataworth.select(pool, target, "50%", **options)
    written = sorted((out / "data").iterdir())
    for given in (out, out / "data", [str(path) for path in written]):
        with pytest.raises(DataworthError):
            dataworth.select(given, target, "50%", **options)
        assert sorted((out / "data").iterdir()) == written
    with pytest.raises(DataworthError, match="to be overwritten"):
        dataworth.select(out / "data", target, "50%", overwrite=True, **options)
    with pytest.raises(DataworthError, match="written to"):
        dataworth.select(out, target, "50%", overwrite=True, **options)
    assert sorted((out / "data").iterdir()) == written


def test_what_is_judged_is_no_part_of_the_pool(pool: Path) -> None:
    (pool / "check.jsonl").write_text(lines("checked", 5))
    (pool / "chosen.jsonl").write_text(lines("inner", 10))
    judged = dataworth.judge(
        pool / "chosen.jsonl",
        {"t": pool / "target.jsonl"},
        pool=pool,
        validation={"v": pool / "check.jsonl"},
        engine=1,
    )
    assert judged.metrics["pool"]["documents"] == 40
