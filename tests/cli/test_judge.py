"""`dataworth judge` as a person runs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from commands import run

Invoke = Callable[..., Result]


def test_a_run(done: Path, target_file: Callable[..., Path], tmp_path: Path, dw: Invoke) -> None:
    validation = f"math={target_file('math', 'val')}"
    shown = dw("judge", done, "-v", validation, "-a", done / "data", "-o", tmp_path / "judged")
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.stdout.split())
    assert "gain: math" in said and "held-out half" in said
    assert "Jaccard 1" in said and "contamination: math" in said
    for name in ("metrics.json", "report.html"):
        assert str(tmp_path / "judged" / name) in shown.stdout
        assert (tmp_path / "judged" / name).is_file()


def test_files_from_elsewhere_give_the_same(
    done: Path, small_pool: Path, math: str, tmp_path: Path, dw: Invoke
) -> None:
    shutil.copytree(done / "data", tmp_path / "theirs")
    own = dw("judge", done, "--json", "--quiet")
    words = ["-p", small_pool, "-t", math, "-g", "domain", "--json", "--quiet"]
    theirs = dw("judge", tmp_path / "theirs", *words)
    assert (own.exit_code, theirs.exit_code) == (0, 0), own.output + theirs.output
    a, b = json.loads(own.stdout), json.loads(theirs.stdout)
    assert a["targets"] == b["targets"] and a["composition"] == b["composition"]
    assert a["selection"]["kind"] == "selection" and b["selection"]["kind"] == "files"
    assert a["utilities"] and not b["utilities"]
    # What the run itself told is the same number.
    name = json.loads((done / "run.json").read_text())["selection"]
    metrics = json.loads((done / "selections" / name / "metrics.json").read_text())
    told = metrics["targets"][0]["gain"]["value"]
    assert a["targets"][0]["gain"]["value"] == told


def test_quiet_shows_nothing(done: Path, dw: Invoke) -> None:
    shown = dw("judge", done, "--quiet")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", "")


def test_as_a_process(done: Path, tmp_path: Path) -> None:
    """Progress goes to stderr, ASCII to a pipe, and the same command writes the same bytes."""
    written = []
    for _ in range(2):
        shown = run("judge", done, "-w", 1, "-o", tmp_path / "judged")
        assert shown.returncode == 0, shown.stderr
        assert "selection: done" in shown.stderr and "selection: done" not in shown.stdout
        assert "\x1b" not in shown.stdout and shown.stdout.isascii()
        written.append({path.name: path.read_bytes() for path in (tmp_path / "judged").iterdir()})
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["judge"], 2, "Missing argument"),
        (["judge", "/no/such/run"], 1, "/no/such/run: no such file or folder"),
        (["judge", "/no/such/*.jsonl"], 1, "no file matches"),
        (["judge", "POOL", "-t", "MATH"], 2, "--pool PATH"),
        (["judge", "POOL", "-p", "/no/such"], 1, "/no/such: no such file"),
        (["judge", "POOL", "-p", "POOL", "-t", "/no/such.jsonl"], 1, "/no/such.jsonl"),
        (["judge", "POOL", "-v", "/no/such.jsonl"], 1, "/no/such.jsonl"),
        (["judge", "POOL", "-v", "MATH", "-v", "math=MATH"], 2, "two targets are called 'math'"),
        (["judge", "POOL", "-a", "/no/such"], 1, "/no/such: no such file"),
        (["judge", "POOL", "-f", "body"], 1, "lines of the selection are bad"),
        (["judge", "POOL", "--holdout", "2"], 2, "holdout"),
        (["judge", "POOL", "--max-bad", "few"], 2, "0.01 or 1%"),
        (["judge", "DONE", "-o", "DONE"], 2, "holds a run"),
    ],
)
def test_errors_are_told(
    words: list[str],
    code: int,
    said: str,
    small_pool: Path,
    done: Path,
    target_file: Callable[..., Path],
    dw: Invoke,
) -> None:
    known = {"POOL": str(small_pool), "MATH": str(target_file("math")), "DONE": str(done)}
    known["math=MATH"] = f"math={known['MATH']}"
    shown = dw(*[known.get(word, word) for word in words], "--quiet")
    assert shown.exit_code == code, shown.output
    assert said in " ".join(shown.stderr.replace("│", " ").split())
    assert "Traceback" not in shown.output and shown.stdout == ""
