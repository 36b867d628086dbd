"""Documents and rows of Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataworth.corpus.fields import Fields
from dataworth.corpus.read.reader import read_rows
from dataworth.corpus.units import Unit
from dataworth.errors import InputError
from readers import read_all, reasons, texts, unit_of

WORDS = ["plain", "é世🎉", None, "", "x" * 200, "last"]
GOOD = ["plain", "é世🎉", "x" * 200, "last"]


def parquet(folder: Path, columns: dict[str, Any], group: int = 4) -> Unit:
    """A unit of all rows of a file of these columns."""
    path = folder / "a.parquet"
    table = pa.table(columns)
    pq.write_table(table, path, row_group_size=group)
    unit = unit_of(path)
    return Unit(0, unit.file, 0, 0, len(table))


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
@pytest.mark.parametrize("block_bytes", [1, 2**22])
def test_text_of_every_type(kind: pa.DataType, block_bytes: int, tmp_path: Path) -> None:
    column = pa.array(WORDS).cast(pa.string() if pa.types.is_dictionary(kind) else kind)
    if pa.types.is_dictionary(kind):
        column = column.dictionary_encode()
    unit = parquet(tmp_path, {"n": range(6), "text": column})
    blocks = read_all(unit, block_bytes=block_bytes)
    assert texts(blocks) == GOOD
    documents = [block.documents for block in blocks]
    assert [n for d in documents for n in d.offset.tolist()] == [0, 1, 4, 5]
    assert [n for d in documents for n in d.bytes.tolist()] == [5, 9, 200, 4]
    assert reasons(blocks) == [(3, "null_text"), (4, "empty_text")]
    assert sum(block.lines for block in blocks) == 6
    assert [bad.offset for block in blocks for bad in block.bad] == [2, 3]


def test_text_that_is_none(tmp_path: Path) -> None:
    for column, reason in (
        (pa.array([1, 2]), "text_not_a_string"),
        (pa.array([["a"], ["b"]]), "text_not_a_string"),
        (pa.nulls(2), "null_text"),
        (pa.array([b"\xff", b"a\xe4"]), "invalid_utf8"),
    ):
        unit = parquet(tmp_path, {"text": column})
        assert reasons(read_all(unit)) == [(1, reason), (2, reason)]
    assert reasons(read_all(parquet(tmp_path, {"body": ["a"]}))) == [(1, "missing_field")]


def test_strings_that_are_not_utf8(tmp_path: Path) -> None:
    data = b"goodb\xe4dgood"
    offsets = pa.py_buffer(np.array([0, 4, 7, 11], np.int32))
    column = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(data)])
    blocks = read_all(parquet(tmp_path, {"text": column}))
    assert texts(blocks) == ["good", "good"]
    assert reasons(blocks) == [(2, "invalid_utf8")]
    assert blocks[0].bad[0].sample == b"b\xe4d"


def test_labels(tmp_path: Path) -> None:
    columns = {
        "text": ["a", None, "c", "d"],
        "id": [1, 2, None, 4],
        "meta": [{"lang": "x", "n": 1.5}, {"lang": "y", "n": 2}, None, {"lang": None, "n": 1}],
        "kind": pa.array(["p", "q", "q", None]).dictionary_encode(),
        "flag": [True, False, None, False],
        "list": [[1], [2], [3, None], None],
    }
    groups = ("meta.lang", "meta.n", "kind", "flag", "list", "none", "meta.none")
    unit = parquet(tmp_path, columns, group=10)
    (block,) = read_all(unit, Fields(id="id", groups=groups))
    found = {name: column.to_pylist() for name, column in block.documents.columns.items()}
    assert found == {
        "id": ["1", None, "4"],
        "meta.lang": ["x", None, None],
        "meta.n": ["1.5", None, "1.0"],
        "kind": ["p", "q", None],
        "flag": ["true", None, "false"],
        "list": ["[1]", "[3,null]", None],
        "none": [None] * 3,
        "meta.none": [None] * 3,
    }
    assert {column.type for column in block.documents.columns.values()} == {pa.string()}


def test_nested_text_and_dotted_names(tmp_path: Path) -> None:
    rows = [{"body": "a", "other": 1}, {"body": None, "other": 2}, None, {"body": "d", "other": 3}]
    unit = parquet(tmp_path, {"meta": rows, "text": ["t"] * 4})
    blocks = read_all(unit, Fields(text=("meta.body",)))
    assert texts(blocks) == ["a", "d"]
    assert reasons(blocks) == [(2, "null_text"), (3, "null_text")]
    unit = parquet(tmp_path, {"meta": rows, "meta.body": ["1", "2", "3", "4"]})
    assert texts(read_all(unit, Fields(text=("meta.body",)))) == ["1", "2", "3", "4"]


def test_chats_and_several_fields(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "é?"}, {"role": "assistant", "content": "yes"}]
    unit = parquet(tmp_path, {"messages": [chat, None, chat], "n": [1, 2, 3]}, group=10)
    (block,) = read_all(unit, Fields(template="plain", groups=("n",)))
    assert texts([block]) == ["é?\n\nyes"] * 2
    assert reasons([block]) == [(2, "null_text")]
    assert block.documents.columns["n"].to_pylist() == ["1", "3"]
    assert block.documents.spans is not None
    assert block.documents.spans.end.tolist() == [3, 8, 3, 8]
    unit = parquet(tmp_path, {"a": ["x", "y"], "b": ["1", None]})
    blocks = read_all(unit, Fields(text=("a", "b"), join="-"))
    assert texts(blocks) == ["x-1"]
    assert reasons(blocks) == [(2, "null_text")]


def test_units_of_row_groups(tmp_path: Path) -> None:
    whole = parquet(tmp_path, {"text": [str(i) for i in range(20)]}, group=6)
    edges = [(0, 6), (6, 18), (18, 20)]
    parts = [read_all(Unit(i, whole.file, 0, *edge)) for i, edge in enumerate(edges)]
    assert [texts(part) for part in parts] == [[str(i) for i in range(*edge)] for edge in edges]
    offsets = [n for part in parts for block in part for n in block.documents.offset.tolist()]
    assert offsets == list(range(20))


def test_line_numbers_count_from_the_unit(tmp_path: Path) -> None:
    whole = parquet(tmp_path, {"text": ["a", "b", "c", None, "e", ""]}, group=3)
    blocks = read_all(Unit(1, whole.file, 0, 3, 6))
    assert [(bad.line, bad.offset) for block in blocks for bad in block.bad] == [(1, 3), (3, 5)]


@pytest.mark.parametrize("block_bytes", [1, 2**22])
def test_rows_keep_all_columns_and_types(block_bytes: int, tmp_path: Path) -> None:
    columns = {
        "text": [f"text {i}" for i in range(50)],
        "small": pa.array(range(50), pa.int8()),
        "kind": pa.array(["a", "b"] * 25).dictionary_encode(),
        "nested": [{"a": [i, None]} for i in range(50)],
    }
    unit = parquet(tmp_path, columns, group=7)
    table = pq.read_table(unit.file.path)
    for rows in ([0], [49], [3, 6, 7, 8, 30, 48], list(range(50))):
        offsets = np.array(rows, np.int64)
        parts = list(
            read_rows(
                unit, offsets, np.zeros_like(offsets), fields=Fields(), block_bytes=block_bytes
            )
        )
        found = pa.concat_tables(parts)
        assert found.schema == table.schema
        assert found.to_pylist() == table.take(offsets).to_pylist()


def test_damaged_file(tmp_path: Path) -> None:
    texts_ = [f"some words {i * 7919 % 1000}" for i in range(5000)]
    unit = parquet(tmp_path, {"text": texts_}, group=1000)
    path = Path(unit.file.path)
    whole = path.read_bytes()
    for data in (whole[:-5], whole[: len(whole) // 2], b"", b"PAR1", whole[:4] + whole[50:]):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.parquet: .*(fetch|again)"):
            read_all(unit)
    middle = bytearray(whole)
    middle[len(whole) // 3 : len(whole) // 3 + 300] = bytes(300)
    path.write_bytes(middle)
    with pytest.raises(InputError, match=r"a\.parquet: the file is cut or damaged in row group"):
        read_all(unit)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        read_all(unit)
