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
