"""Tables of other libraries, and Parquet of other writers, go all the way to the shards."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
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
    if "template" in more:
        more["target_template"] = "none"
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


def categories(make: str) -> Any:
    pl = pytest.importorskip("polars")
    table = pl.DataFrame({"text": [row["text"] for row in ROWS], "kind": ["a", "b"] * 30})
    if make == "text":
        return table.with_columns(pl.col("text").cast(pl.Categorical))
    return table.with_columns(pl.col("kind").cast(pl.Enum(["a", "b"])))


def run_ends() -> pa.Table:
    table = pa.table({"text": [row["text"] for row in ROWS]})
    return table.append_column("kind", pa.RunEndEncodedArray.from_arrays([60], ["a"]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: categories("text"),
        lambda: categories("kind"),
        run_ends,
        lambda: pa.dataset.dataset(run_ends().select(["text"])),
        lambda: pa.dataset.dataset(run_ends().select(["text"])).scanner(),
    ],
)
def test_tables_of_odd_columns_are_read(make: Any, tmp_path: Path) -> None:
    given = select(ROWS, tmp_path / "a")
    assert [{"text": row["text"]} for row in select(make(), tmp_path / "b")] == given


def test_the_transform_of_a_dataset_is_applied(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    upper = datasets.Dataset.from_list(ROWS).with_transform(
        lambda batch: {"text": [text.upper() for text in batch["text"]]}
    )
    assert all(row["text"].isupper() for row in select(upper, tmp_path / "run"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pa.table({"text": ["a"], "odd": [pa.MonthDayNano([1, 2, 3])]}),
         "column 'odd' of the table is of the type month_day_nano"),
        (lambda: __import__("numpy").array("a text"), "ndarray is no corpus"),
        (lambda: io.StringIO("a\nb\n"), "an open file is no corpus"),
        (lambda: Path(__file__).open(), "give its path .*test_tables_given"),  # noqa: SIM115
        (lambda: [json.dumps(row) for row in ROWS], "give the rows decoded"),
    ],
)  # fmt: skip
def test_what_is_no_corpus(make: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        select(make(), tmp_path / "run")


def test_a_plan_that_cannot_be_run(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    with pytest.raises(InputError, match="plan cannot be run"):
        select(pl.DataFrame(ROWS).lazy().select("nope"), tmp_path / "run")


def test_a_text_that_is_no_string(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    texts = [i if i == 3 else row["text"] for i, row in enumerate(ROWS)]
    with pytest.raises(InputError, match=r"column 'text'.*type int \(row 3\)"):
        select(pd.DataFrame({"text": texts}, dtype=object), tmp_path / "run")


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


def test_a_parquet_file_with_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.table([[row["text"] for row in ROWS]] * 2, names=["text", "text"])
    pq.write_table(table, tmp_path / "pool.parquet")
    with pytest.raises(InputError, match=r"pool.parquet: the file has 2 columns named 'text'"):
        select(tmp_path / "pool.parquet", tmp_path / "run")


def test_chats_whose_strings_are_marked_as_bytes(tmp_path: Path) -> None:
    for name, kind in (("text", pa.string()), ("bytes", pa.binary())):
        turn = pa.struct([("role", kind), ("content", kind)])
        rows = [
            [{"role": b"user", "content": b"q"}, {"role": b"assistant", "content": row.encode()}]
            for row in (row["text"] for row in ROWS)
        ]
        table = pa.table({"messages": pa.array(rows, pa.list_(turn))})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    texts, marked = (
        select(tmp_path / f"{name}.parquet", tmp_path / name, form="parquet", template="tulu")
        for name in ("text", "bytes")
    )
    assert [row["messages"][1]["content"].encode() for row in texts] == [
        row["messages"][1]["content"] for row in marked
    ]


def test_the_fields_that_there_are_are_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"Text": ["a"], "n": [1]}), tmp_path / "pool.parquet")
    with pytest.raises(InputError, match=r"missing_field \(text; the row has Text, n\)"):
        select(tmp_path / "pool.parquet", tmp_path / "a")
    with pytest.raises(InputError, match=r"missing_field \(text; the row has body\)"):
        select([{"body": "a"}], tmp_path / "b")
