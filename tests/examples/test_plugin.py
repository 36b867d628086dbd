"""The example of a package that offers a step: used from the command line, as installed."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from pathlib import Path

from commands import run

PLUGIN = Path(__file__).parent.parent.parent / "examples" / "plugin"


def install(folder: Path) -> None:
    """What `pip install --target` leaves, without a build backend."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    shutil.copy(PLUGIN / "dataworth_distinct.py", folder)
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"[{group}]" for group in project["entry-points"]]
    for entries in project["entry-points"].values():
        lines += [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


def test_an_installed_step_is_known_by_its_name(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install(site)
    texts = ["one two three four", "one one one one", "five six five seven"]
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    env = {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    out = tmp_path / "out"
    step = "distinct_words(least=0.5)"
    options = ["--budget", "1-docs", "--step", step, "--out", out, "--json"]
    made = run("select", pool, *options, "--engine", "processes", "--workers", "2", env=env)
    assert made.returncode == 0, made.stderr
    dropped = json.loads(made.stdout)["accounting"]["dropped"]
    assert dropped == {"too few different words": 1}
    record = json.loads((out / "run.json").read_text())
    assert record["configuration"]["score"]["steps"] == [{"distinct_words": {"least": 0.5}}]
    listed = run("methods", "distinct_words", env=env).stdout
    assert "a step of dataworth-distinct" in listed and "least  0.0  a number (between" in listed
