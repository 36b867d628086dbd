"""`dataworth loop` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Invoke


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pool, and a module with a trainer that Python finds."""
    rows = [json.dumps({"text": f"row {i} has {i % 7} words"}) for i in range(60)]
    (tmp_path / "pool.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    (tmp_path / "loop_of_mine.py").write_text(
        "def train(selection, previous, round, folder):\n"
        "    before = (previous / 'log').read_text() if previous else ''\n"
        "    (folder / 'log').write_text(f'{before}{round}: {len(selection)}\\n')\n"
        "    return folder\n",
        "utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "pool.jsonl"


def test_two_rounds(dw: Invoke, pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["loop", pool, "-t", f"t={pool}", "-b", "10-docs", "--train", "loop_of_mine:train"]
    words += ["--step", "length(minimum=1)", "--round", "1=dsir(minimum=0)", "-o", out]
    shown = dw(*words, "--rounds", 2)
    assert shown.exit_code == 0, shown.output
    assert "round 2  10 documents" in shown.stdout and "rounds" in shown.stdout
    log = out / "rounds" / "2" / "checkpoint" / "log"
    assert log.read_text("utf-8") == "1: 10\n2: 10\n"
    again = dw(*words, "--rounds", 3, "--json", "--quiet")
    facts = json.loads(again.stdout)["rounds"]
    assert [one["documents"] for one in facts] == [10, 10, 10]
    assert all(Path(one["selection"]).is_dir() and Path(one["record"]).is_file() for one in facts)
    other = dw(*words, "--rounds", 3, "--scale", "rank")
    assert other.exit_code == 1 and "round 1.choose.scale: 'raw' → 'rank'" in other.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give the number of rounds"),
        (["--round", "dsir"], "write N=STEP"),
        (["--round", "0=dsir"], "write N=STEP"),
        (["--round", "3=dsir", "--rounds", 2], "there are 2 rounds, no 3"),
        (["--round", "2=dsir"], "round 1 has no step"),
        (["--rounds", 0, "--step", "dsir"], "give the number of rounds"),
        (["--rounds", -1, "--step", "dsir"], "rounds is a whole number of at least 1"),
        (["--round", "1=influence(model={checkpoint})"], "influence asks for {checkpoint}"),
        (["--rounds", 1, "--train", "loop_of_mine:no"], "the module loop_of_mine has no no"),
        (["--rounds", 1, "--start", "nowhere"], "is no folder of a model"),
    ],
)
def test_wrong_usage(
    dw: Invoke, pool: Path, tmp_path: Path, words: list[object], said: str
) -> None:
    wrong = dw("loop", pool, "-t", f"t={pool}", "-o", tmp_path / "out", *words)
    told = " ".join(wrong.stderr.replace("│", " ").split())
    assert wrong.exit_code == 2 and said in told, wrong.stderr
    assert not (tmp_path / "out").exists()
