"""Recipes: written by hand, and the record of an earlier run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from commands import fingerprint

Invoke = Callable[..., Result]


def test_a_recipe_is_the_command(
    small_pool: Path,
    target_file: Callable[..., Path],
    done: Path,
    tmp_path: Path,
    dw: Invoke,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "pool.jsonl").symlink_to(small_pool)
    shutil.copy(target_file("math"), folder / "math.jsonl")
    recipe = {
        "pool": "pool.jsonl",
        "target": {"math": "math.jsonl"},
        "steps": ["dsir"],
        "budget": "10%",
        "id-field": "id",
        "group_by": "domain",
        "format": "jsonl",
        "shard_bytes": "256MB",
        "max_bad": "1%",
        "workers": 1,
        "out": "out",
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    shown = dw("run", folder / "recipe.yaml")
    assert shown.exit_code == 0, shown.output
    assert str(folder / "out" / "data") in shown.stdout
    assert fingerprint(folder / "out") == fingerprint(done)


def test_the_record_of_a_run_is_a_recipe(done: Path, tmp_path: Path, dw: Invoke) -> None:
    out = tmp_path / "again"
    shown = dw("run", done / "run.json", "--out", out, "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["accounting"]["kept"]["documents"] > 0
    assert fingerprint(out) == fingerprint(done)
    records = [json.loads((place / "run.json").read_text()) for place in (done, out)]
    assert records[0]["configuration"] == records[1]["configuration"]
    assert records[0]["inputs"] == records[1]["inputs"]


def test_a_record_resumes_its_own_run(done: Path, dw: Invoke) -> None:
    before = fingerprint(done)
    assert dw("run", done / "run.json", "--quiet").exit_code == 0
    assert dw("run", done, "--quiet").exit_code == 0
    assert fingerprint(done) == before


def test_the_record_of_scoring_scores(
    small_pool: Path, math: str, tmp_path: Path, dw: Invoke
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    assert dw("score", small_pool, "-t", math, "-o", out, "--quiet").exit_code == 0
    shown = dw("run", out / "run.json", "--out", again)
    assert shown.exit_code == 0, shown.output
    assert (again / "table").is_dir() and not (again / "data").exists()


def test_a_dry_run_of_a_recipe(done: Path, dw: Invoke, tmp_path: Path) -> None:
    shown = dw("run", done / "run.json", "--out", tmp_path / "x", "--dry-run", "--json")
    assert json.loads(shown.stdout)["state"] == "new"
    assert json.loads(dw("run", done, "--dry-run", "--json").stdout)["state"] == "resumes"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pool: [", "line"),
        ("just words", "a line for each option"),
        ("budget: 5%", "names no pool"),
        ("pool: x\nbudgte: 5%", "did you mean 'budget'"),
        ("pool: x\nshard_bytes: big", "shard_bytes: 'big' is no size"),
        ("pool: nothing.jsonl\nsteps: [length]", "nothing.jsonl: no such file"),
        ('{"configuration": {}}', "stopped before"),
    ],
)
def test_wrong_recipes(text: str, said: str, tmp_path: Path, dw: Invoke) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    shown = dw("run", recipe, "--out", tmp_path / "out")
    assert shown.exit_code in (1, 2)
    assert said in shown.stderr
    assert shown.stderr.startswith("error: ")
