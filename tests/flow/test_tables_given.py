"""Tables of other libraries, and Parquet of other writers, go all the way to the shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataworth
from dataworth.errors import InputError

ROWS = [{"text": f"document {i} about {'cats dogs' if i % 2 else 'tax law'}"} for i in range(60)]
TARGET = [f"cats and dogs, number {i}" for i in range(20)]


def select(
    pool: Any,
    out: Path,
    target: Any = TARGET,
    budget: str = "5-docs",
    form: str = "jsonl",
    **more: Any,
) -> list[dict[str, Any]]:
    """Return the rows that are written."""
    dataworth.select(pool, {"t": target}, "5-docs", out=out, format=form, **more)
    shards = sorted((out / "data").iterdir())
    if form == "parquet":
        return [row for shard in shards for row in pq.read_table(shard).to_pylist()]
    return [json.loads(line) for shard in shards for line in shard.read_text().splitlines()]


def frame(make: str) -> Any:
    texts = [row["text"] for row in ROWS]
    mixed = [i if i % 2 else f"n{i}" for i in range(len(ROWS))]
    if make.startswith("polars"):
        pl = pytest.importorskip("polars")
        made = pl.DataFrame({"text": texts, "n": range(len(ROWS))})
        return {"polars": made, "polars lazy": made.lazy(), "polars column": made["text"]}[make]
    if make == "duckdb":
        duckdb = pytest.importorskip("duckdb")
        return duckdb.from_arrow(pa.table({"text": texts}))
    if make.startswith("arrow"):
        table = pa.table({"text": pa.array(texts, pa.string_view())})
        return {
            "arrow": table,
            "arrow batch": table.to_batches()[0],
            "arrow reader": table.to_reader(),
            "arrow column": table["text"],
        }[make]
    pd = pytest.importorskip("pandas")
    made = pd.DataFrame({"text": texts, "meta": mixed})
    return {"pandas": made, "pandas column": made["text"], "pandas index": made.set_index("text")}[
        make
    ]


@pytest.mark.parametrize(
    "make",
    [
        "pandas",
        "pandas column",
        "pandas index",
        "polars",
        "polars lazy",
        "polars column",
        "duckdb",
        "arrow",
        "arrow batch",
        "arrow reader",
        "arrow column",
    ],
)
def test_the_rows_of_a_table_are_the_documents(make: str, tmp_path: Path) -> None:
    found = select(frame(make), tmp_path / "run")
    assert len(found) == 5
    assert all(row["text"].startswith("document ") for row in found)


def test_a_mixed_column_is_kept_as_text(tmp_path: Path) -> None:
    for row in select(frame("pandas"), tmp_path / "run"):
        number = int(row["text"].split()[1])
        assert row["meta"] == (str(number) if number % 2 else f"n{number}")


def test_a_mixed_frame_is_a_target(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    target = pd.DataFrame({"text": TARGET, "meta": [i if i % 2 else "x" for i in range(20)]})
    given = select(ROWS, tmp_path / "a", target)
    assert given == select(ROWS, tmp_path / "b", TARGET)


def test_a_column_at_fault_is_named(tmp_path: Path) -> None:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    texts = [row["text"] for row in ROWS]
    odd = pd.DataFrame({"text": texts, "odd": [object() if i else "x" for i in range(60)]})
    with pytest.raises(InputError, match="column 'odd'"):
        select(odd, tmp_path / "a")
    twice = pd.DataFrame([[text, text] for text in texts], columns=["text", "text"])
    with pytest.raises(InputError, match="2 columns named 'text'"):
        select(twice, tmp_path / "b")
    with pytest.raises(InputError, match="2 columns named 'text'"):
        select(pa.table([texts, texts], names=["text", "text"]), tmp_path / "c")
    objects = pl.DataFrame({"text": texts, "odd": pl.Series([object()] * 60, dtype=pl.Object)})
    with pytest.raises(InputError, match="column 'odd'"):
        select(objects, tmp_path / "d")
    broken = pd.DataFrame({"text": ["\ud800", *texts[1:]]}, dtype=object)
    with pytest.raises(InputError, match="column 'text'"):
        select(broken, tmp_path / "e")


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_views_in_parquet_are_written(form: str, tmp_path: Path) -> None:
    texts = pa.array([row["text"] for row in ROWS], pa.string_view())
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"text": texts, "kind": texts}), path)
    assert pq.read_schema(path).types == [pa.string_view()] * 2
    found = select(path, tmp_path / "run", form=form)
    assert len(found) == 5
    assert all(row["kind"] == row["text"] for row in found)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_views_within_values_are_written(form: str, tmp_path: Path) -> None:
    view, texts = pa.string_view(), [row["text"] for row in ROWS]
    inner = pa.struct([("a", pa.list_(pa.struct([("b", view)])))])
    table = pa.table(
        {
            "text": texts,
            "tags": pa.array([[text] for text in texts], pa.list_(view)),
            "pair": pa.array([[("k", text)] for text in texts], pa.map_(view, view)),
            "deep": pa.array([{"a": [{"b": text}]} for text in texts], inner),
        }
    )
    found = select(table, tmp_path / "run", form=form)
    assert len(found) == 5
    for row in found:
        assert row["tags"] == [row["text"]]
        assert [list(pair) for pair in row["pair"]] == [["k", row["text"]]]
        assert row["deep"] == {"a": [{"b": row["text"]}]}


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_bytes_that_are_text_are_written_as_text(kind: Any, form: str, tmp_path: Path) -> None:
    texts = [row["text"].encode() for row in ROWS]
    pq.write_table(pa.table({"text": pa.array(texts, kind)}), tmp_path / "pool.parquet")
    found = select(tmp_path / "pool.parquet", tmp_path / "run", form=form)
    assert len(found) == 5
    assert {row["text"] for row in found} <= {row["text"] for row in ROWS}


def test_bytes_that_are_no_text_are_bad_rows(tmp_path: Path) -> None:
    texts = [row["text"].encode() for row in ROWS] + [b"\xff\xfe"]
    pq.write_table(pa.table({"text": texts}), tmp_path / "pool.parquet")
    run = tmp_path / "run"
    assert len(select(tmp_path / "pool.parquet", run, max_bad=0.1)) == 5
    bad = (run / "quarantine" / "bad-lines.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in bad] == ["invalid_utf8"]
