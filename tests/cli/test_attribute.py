"""`dataworth attribute` as a person runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from dataworth.attributing import attribution
from methods.modelled import POOL, TARGET, model_folder

Invoke = Callable[..., Result]


def test_a_run(tmp_path: Path, dw: Invoke) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in POOL))
    words = ["attribute", model_folder(), pool, "--ask", TARGET[0], "--solver", "diagonal"]
    told = dw(*words, "--dry-run", "-o", tmp_path / "out")
    assert told.exit_code == 0 and "estimated" in told.stdout, told.output
    assert not (tmp_path / "out").exists()
    shown = dw(*words, "-o", tmp_path / "out", "--top", 2)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("  helps ") == 2 and "What to distrust" in shown.stdout
    assert str(tmp_path / "out" / "attribution.html") in shown.stdout
    machine = dw(*words, "-o", tmp_path / "out", "--top", 2, "--json", "--quiet")
    assert len(json.loads(machine.stdout)["queries"][0]["helpful"]) == 2


def test_what_is_asked_is_text(tmp_path: Path, dw: Invoke) -> None:
    """Of a pool of chats too, and where a file is called so."""
    pool = tmp_path / "pool.jsonl"
    turns = [{"messages": [{"role": "assistant", "content": text}]} for text in POOL[:10]]
    pool.write_text("".join(json.dumps(row) + "\n" for row in turns))
    words = ["attribute", model_folder(), pool, "--template", "chatml", "--solver", "cosine"]
    told = dw(*words, "--ask", TARGET[0], "--ask", str(pool), "--json")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert [query["text"] for query in found["queries"]] == [TARGET[0], str(pool)]
    assert "given in memory" not in told.stderr
    chats = dw(*words, "--queries", pool, "--query-template", "plain", "--json")
    assert json.loads(chats.stdout)["queries"][0]["text"] == POOL[0]


def test_a_check(tmp_path: Path, dw: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in POOL[:10]))
    monkeypatch.setattr(attribution, "agreement", lambda *_: {"why": "no time"})
    words = ["attribute", model_folder(), pool, "--ask", TARGET[0], "--solver", "identity"]
    assert "not checked: no time" in dw(*words, "--check").stdout
    assert "not checked" not in dw(*words).stdout


def test_wrong_usage_is_one_line(tmp_path: Path, dw: Invoke) -> None:
    none = dw("attribute", "model", "pool")
    assert none.exit_code == 2 and "--queries" in none.output
    missing = dw("attribute", tmp_path / "no", tmp_path, "--ask", "x")
    assert missing.exit_code != 0 and "Traceback" not in missing.output
    blank = dw("attribute", model_folder(), tmp_path, "--ask", " ")
    assert blank.exit_code != 0 and "query 1 is empty" in blank.stderr
