"""`dataworth proxy` as a person runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from methods.modelled import POOL

Invoke = Callable[..., Result]


def test_a_run(tmp_path: Path, dw: Invoke) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in POOL))
    out = tmp_path / "proxies"
    words = ["proxy", pool, "--tokens", "2k", "--vocabulary", 300, "--checkpoints", 2, "-o", out]
    shown = dw(*words)
    assert shown.exit_code == 0, shown.output
    assert f"model={out / 'seed-0'}" in shown.stdout
    assert f'models=["{out / "seed-0-step-2"}", "{out / "seed-0"}"], learning_rates=[' in (
        shown.stdout
    )
    told = dw(*words, "--json", "--quiet")
    assert [one["step"] for one in json.loads(told.stdout)["models"]] == [2, 4]
    wrong = dw("proxy", pool, "--size", "huge", "-o", tmp_path / "other")
    assert wrong.exit_code == 2 and "tiny, small, medium" in " ".join(wrong.stderr.split())


def test_checkpoints_are_told_for_each_seed(tmp_path: Path, dw: Invoke) -> None:
    """The sum over checkpoints follows one training, so two are not mixed."""
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in POOL))
    out = tmp_path / "p"
    words = ["--tokens", "2k", "--vocabulary", 300, "--checkpoints", 2, "--seeds", 2]
    shown = dw("proxy", pool, *words, "-o", out)
    assert shown.exit_code == 0, shown.output
    lines = [line for line in shown.stdout.splitlines() if line.startswith("checkpoints of seed")]
    assert len(lines) == 2
    for seed, line in enumerate(lines):
        models, _, rates = line.partition("models=")[2].partition(", learning_rates=")
        folders = [str(out / f"seed-{seed}-step-2"), str(out / f"seed-{seed}")]
        assert json.loads(models) == folders and len(json.loads(rates)) == 2
