"""`dataworth compare` as a person runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

import dataworth
from dataworth import Engine
from flow.comparing import plan_of, world

Invoke = Callable[..., Result]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    content = plan_of(world(tmp_path / "world"), seeds=1)
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_comparison(plan: Path, tmp_path: Path, dw: Invoke) -> None:
    out = tmp_path / "out"
    # Trained in this process, so that the command finds all done.
    made = dataworth.compare(plan, out=out, engine=Engine(1, "threads"))
    shown = dw("compare", plan, "-o", out, "-w", 1)
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.stdout.split())
    assert "random baseline" in said and "best" in said
    for name in ("report.html", "comparison.json", "plan.json"):
        assert str(out / name) in shown.stdout and (out / name).is_file()
    told = dw("compare", plan, "-o", out, "--json", "--quiet")
    assert json.loads(told.stdout)["results"] == made.facts["results"]
    quiet = dw("compare", plan, "-o", out, "--quiet")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")


def test_dry_run_reads_and_writes_nothing(plan: Path, tmp_path: Path, dw: Invoke) -> None:
    for path in (tmp_path / "world").iterdir():
        path.unlink()
    shown = dw("compare", plan, "-o", tmp_path / "out", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "5 trainings at most" in " ".join(shown.stdout.split())
    assert "one pass over the pool" in shown.stdout
    assert "minutes of training" in " ".join(shown.stdout.split())
    assert not (tmp_path / "out").exists()
    facts = json.loads(dw("compare", plan, "--dry-run", "--json", "--quiet").stdout)
    assert facts["trainings"] == 5 and facts["minutes"] > 0


def test_a_wrong_plan_is_wrong_usage(plan: Path, tmp_path: Path, dw: Invoke) -> None:
    plan.write_text(plan.read_text() + "\nsedes: 3\n")
    shown = dw("compare", plan, "-o", tmp_path / "out")
    assert shown.exit_code == 2
    assert "did you mean 'seeds'" in " ".join(shown.stderr.split())
    assert not (tmp_path / "out").exists()
