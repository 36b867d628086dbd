"""The columns of a run are listed and pruned; what is needed stays, the rest can be made again."""

import json
from pathlib import Path

import pytest

import dataworth
from cli.conftest import Invoke, _compiled, _log_as_it_was, dw  # noqa: F401
from dataworth.errors import DataworthError
from dataworth.flow.inventory import inventory, prune
from flow.pools import write

ROWS = [json.dumps({"text": f"row {i} has {i % 7} words"}).encode() for i in range(60)]
TARGET = [f"row {i} has words" for i in range(12)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    pool = write(tmp_path / "pool.jsonl", ROWS)
    dataworth.select(pool, TARGET, "20-docs", steps="dsir", out=tmp_path / "run")
    for steps in ("bm25", ["length(minimum=2)", "bm25"]):
        dataworth.score(pool, TARGET, steps=steps, out=tmp_path / "run")
    return tmp_path / "run"


def test_pruned(run: Path) -> None:
    stored = {one.folder.partition("-")[0]: one for one in inventory(run)}
    assert set(stored) >= {"table/documents", "table/dsir", "table/bm25", "table/length"}
    assert stored["table/dsir"].columns == ("utility:dsir:target", "drop")
    assert len(stored["table/documents"].lists) == 3
    own = dataworth.load(run).table.utilities
    chosen = next((run / "selections").iterdir())
    judged = dataworth.explain(run, "row 3 has 3 words")
    removed = prune(run)
    assert all(not one.needed for one in removed)
    assert all(one.needed for one in inventory(run))
    assert not prune(run)
    assert dataworth.load(run).table.utilities == own
    assert dataworth.explain(run, "row 3 has 3 words", choice=chosen.name) == judged


def test_shown(run: Path, dw: Invoke) -> None:  # noqa: F811
    shown = dw("table", run)
    assert shown.exit_code == 0 and "table/dsir-" in shown.stdout
    facts = json.loads(dw("table", run, "--prune", "--json").stdout)
    assert all(not one["needed"] for one in facts)


def test_no_run(tmp_path: Path, dw: Invoke) -> None:  # noqa: F811
    with pytest.raises(DataworthError, match="holds no run"):
        inventory(tmp_path)
    assert dw("table", tmp_path).exit_code == 1
