"""No row is written that was not scored, however and whenever its file changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataworth
from dataworth.errors import RunError
from dataworth.methods.fitted import Fitted

ROWS = [{"text": f"number {i:03d} of the documents, plus {i % 7} words"} for i in range(200)]
TARGET = ["a number of documents plus words"] * 20


def write(path: Path, rows: list[dict[str, str]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_file_replaced_with_its_time_kept(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, ROWS)
    scores = dataworth.score(path, {"t": TARGET}, out=tmp_path / "out", engine=1)
    state = path.stat()
    write(path, [{"text": row["text"].replace("plus", "less")} for row in ROWS])
    assert path.stat().st_size == state.st_size
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(RunError, match=rf"{name}: the row at \d+ is not the one .* score again"):
        scores.choose("50-docs").write(tmp_path / "written")
    assert not list(tmp_path.glob("written/data/*"))


@pytest.mark.parametrize("change", ["cut", "grown", "replaced"])
def test_a_file_that_changes_while_it_is_scored(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    write(path, ROWS)
    done: list[bool] = []

    def changing(self: Any, documents: Any) -> Any:
        if not done:
            done.append(True)
            data = path.read_bytes()
            new = {"cut": data[:5000], "grown": data + data, "replaced": data.upper()}[change]
            path.write_bytes(new)
            os.utime(path, ns=(1, 1))
        return annotate(self, documents)

    annotate = Fitted.compute
    with monkeypatch.context() as patch:
        patch.setattr(Fitted, "compute", changing)
        patch.setattr(
            dataworth.Engine,
            "map",
            lambda self, work, units, **_: [work(unit, lambda *_: None) for unit in units],
        )
        _is_refused(path, tmp_path / "out")


def _is_refused(path: Path, out: Path) -> None:
    with pytest.raises(RunError, match=r"a\.jsonl: changed since it was scored"):
        dataworth.score(path, {"t": TARGET}, out=out, engine=1)
    assert not list((out / "table").glob("*/*.parquet"))


def test_a_utility_is_chosen_by_its_own_mechanism(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, ROWS)
    alone = dataworth.score(path, {"t": TARGET}, steps=["dsir"], engine=1)
    both = dataworth.score(path, {"t": TARGET}, steps=["dsir", "bm25"], engine=1)
    scores = {
        name: s.choose("20-docs", utility="dsir")
        for name, s in {"alone": alone, "both": both}.items()
    }
    first, second = (scores[name].choice.mechanism_text for name in ("alone", "both"))
    assert first == second
    assert (scores["alone"].rows == scores["both"].rows).all()
    last = both.choose("20-docs").choice.mechanism_text
    assert last != second
