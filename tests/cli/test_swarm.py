"""`dataworth swarm` as a person runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from flow.comparing import world

Invoke = Callable[..., Result]


def test_a_run(tmp_path: Path, dw: Invoke) -> None:
    place = world(tmp_path / "world")
    out = tmp_path / "swarm"
    words = ["swarm", place / "pool.jsonl", "--group-by", "domain", "--mixtures", 4]
    words += ["--tokens", "600", "--vocabulary", 300, "--held-out", "1kB", "-o", out, "-w", 1]
    told = dw(*words, "--dry-run")
    assert told.exit_code == 0, told.output
    assert "4 models to train, about" in told.stdout and not out.exists()
    shown = dw(*words)
    assert shown.exit_code == 0, shown.output
    assert "2 groups, a mixture for" in shown.stdout
    assert "loss on blue: " in shown.stdout and f"log_linear(swarm={out})" in shown.stdout
    again = dw(*words, "--json", "--quiet")
    assert len(json.loads(again.stdout)["table"]["share:red"]) == 4
    wrong = dw("swarm", place / "pool.jsonl", "--group-by", "domain", "--mixtures", 3, "-o", out)
    assert wrong.exit_code == 2 and "greater than or equal to 4" in " ".join(wrong.stderr.split())
