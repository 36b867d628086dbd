"""What cannot be judged: one line that names the place and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dataworth
from dataworth.errors import ConfigError, DataworthError, InputError, RunError
from flow.pools import document, write

GOOD = [document(f"a document of a few words, the number {number}") for number in range(30)]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A pool, a selection of it, a target, and what is none of these."""
    made = {
        "pool": write(tmp_path / "pool.jsonl", GOOD),
        "good": write(tmp_path / "good.jsonl", GOOD[:10]),
        "target": write(tmp_path / "target.jsonl", GOOD[20:]),
        "empty": write(tmp_path / "empty.jsonl", []),
        "other": write(tmp_path / "other.jsonl", [document("some text", content=1)] * 3),
        "broken": write(tmp_path / "broken.jsonl", [*GOOD[:3], b"{"]),
        "renamed": write(tmp_path / "renamed.jsonl", [b'{"content": "words"}'] * 5),
        "missing": tmp_path / "missing.jsonl",
        "glob": tmp_path / "none-*.jsonl",
        "folder": tmp_path / "folder",
        "file": tmp_path / "file.txt.bak",
    }
    made["folder"].mkdir()
    return made


@pytest.mark.parametrize(
    ("selection", "options", "kind", "said"),
    [
        ("missing", {}, InputError, "missing.jsonl: no such file"),
        ("glob", {}, InputError, "no file matches"),
        ("folder", {}, InputError, "holds no file"),
        ("empty", {}, InputError, "the selection holds no document"),
        ("renamed", {}, InputError, "5 of 5 lines of the selection are bad"),
        ("broken", {}, InputError, "broken.jsonl, line 4: invalid_json"),
        ("good", {"target": "target"}, ConfigError, "--pool PATH"),
        ("good", {"target": "missing", "pool": "pool"}, InputError, "missing.jsonl"),
        ("good", {"target": "empty", "pool": "pool"}, InputError, "target 'empty' holds no"),
        ("good", {"target": "renamed", "pool": "pool"}, InputError, "target 'renamed': 5 of 5"),
        ("good", {"pool": "missing"}, InputError, "missing.jsonl"),
        ("good", {"pool": "empty"}, InputError, "the pool holds no document"),
        ("good", {"pool": "renamed"}, InputError, "lines of the pool are bad"),
        ("good", {"validation": "missing"}, InputError, "missing.jsonl"),
        ("good", {"validation": "empty"}, InputError, "validation set 'empty' holds no document"),
        ("good", {"validation": "broken"}, InputError, "validation set 'broken': 1 of 4"),
        ("good", {"against": "missing"}, InputError, "missing.jsonl"),
        ("good", {"against": "empty"}, InputError, "the selection empty.jsonl holds no document"),
        ("good", {"against": "renamed"}, InputError, "lines of the selection renamed.jsonl"),
        ("good", {"holdout": 1}, ConfigError, "holdout must be at least 0 and below 1"),
        ("good", {"max_bad": 2}, ConfigError, "max_bad must be between 0 and 1"),
        ("good", {"out": "pool"}, ConfigError, "pool.jsonl: is a file"),
    ],
)
def test_one_line(
    selection: str,
    options: dict[str, Any],
    kind: type[DataworthError],
    said: str,
    files: dict[str, Path],
) -> None:
    given = {key: files.get(value, value) for key, value in options.items()}
    with pytest.raises(kind) as raised:
        dataworth.judge(files[selection], **given)
    message = str(raised.value)
    assert said in message
    assert "\n" not in message


def test_bad_lines_that_are_allowed_are_counted(files: dict[str, Path]) -> None:
    found = dataworth.judge(files["broken"], max_bad=0.5).metrics["selection"]
    assert (found["documents"], found["bad"]) == (3, {"invalid_json": 1})


def test_a_selection_that_is_not_of_this_pool(files: dict[str, Path]) -> None:
    found = dataworth.judge(files["other"], files["target"], pool=files["pool"]).metrics
    assert found["pool"]["found"] == 0
    assert found["warnings"][0].startswith("None of the 1 different documents of the selection")
    part = write(files["folder"] / "part.jsonl", [*GOOD[:5], document("not of it")])
    found = dataworth.judge(part, pool=files["pool"]).metrics
    assert found["warnings"][0].startswith("Only 5 of the 6 different documents")


def test_runs_that_cannot_be_judged(files: dict[str, Path], tmp_path: Path) -> None:
    scored = dataworth.score(files["pool"], files["target"], out=tmp_path / "scored")
    with pytest.raises(DataworthError, match="chosen nothing yet; choose first"):
        dataworth.judge(scored.folder)
    assert len(scored.choose("5-docs")) == 5
    assert dataworth.judge(scored.folder).metrics["selection"]["documents"] == 5
    write(files["pool"], [*GOOD[::-1], *GOOD[:1]])
    with pytest.raises(RunError, match=r"pool.jsonl: changed since it was scored"):
        dataworth.judge(scored.folder)


def test_nothing_else_is_overwritten(
    files: dict[str, Path], tmp_path: Path, target_file: Callable[..., Path]
) -> None:
    made = dataworth.select(files["pool"], files["target"], "5-docs", out=tmp_path / "out")
    report = (tmp_path / "out" / "report.html").read_bytes()
    with pytest.raises(ConfigError, match="holds a run"):
        dataworth.judge(made, out=tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_bytes() == report
    for content in ("{}", "[1", "[]"):
        (files["folder"] / "metrics.json").write_text(content)
        with pytest.raises(ConfigError, match="is not of a judgement"):
            dataworth.judge(made, out=files["folder"])
        assert (files["folder"] / "metrics.json").read_text() == content
    (files["folder"] / "metrics.json").write_text(json.dumps({"judgement_version": 1}))
    dataworth.judge(made, out=files["folder"])
    assert len(json.loads((files["folder"] / "metrics.json").read_text())) > 5
