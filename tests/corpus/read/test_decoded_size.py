"""What a file tells of its sizes is not trusted: memory is bounded by what is there, in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Column
from dataworth.corpus.fields import Fields
from dataworth.corpus.read import parquet, places
from dataworth.corpus.read.reader import read_rows
from dataworth.corpus.write import writing
from dataworth.corpus.write.writing import ShardWriter
from dataworth.errors import InputError
from dataworth.table import table as tables
from dataworth.table.columns import PartWriter, declare, part_file
from dataworth.table.table import Layout, Table, Tally

LIMIT = 2**20
LONG = "long " * 20_000  # 100 kB
COUNT = 400


def bomb(path: Path, values: list[Any], **how: Any) -> Corpus:
    pq.write_table(pa.table({"text": values}), path, row_group_size=10**6, **how)
    assert path.stat().st_size < LIMIT / 4
    return Corpus.open(path, fields=Fields())


@pytest.mark.parametrize(
    "values",
    [
        pa.array([LONG] * COUNT),
        pa.array([None] + [LONG] * (COUNT - 1)),
        pa.array(["short"] * (COUNT // 2) + [LONG] * (COUNT // 2)),
        pa.array([LONG] * COUNT, pa.large_string()),
        pa.array([LONG] * COUNT, pa.string_view()),
        pa.array([LONG] * COUNT).dictionary_encode(),
    ],
)
def test_dictionaries_are_decoded_in_pieces(
    values: pa.Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_DECODED_BYTES", LIMIT)
    corpus = bomb(tmp_path / "a.parquet", values)
    (unit,) = corpus.units
    blocks = list(corpus.blocks(unit))
    whole = [text for text in values.to_pylist() if text is not None]
    assert [text for block in blocks for text in block.documents.texts()] == whole
    assert max(int(block.documents.text_bytes.sum()) for block in blocks) <= LIMIT
    offsets = np.arange(COUNT)
    rows = list(read_rows(unit, offsets, np.zeros(COUNT, np.int64), fields=Fields()))
    assert sum(len(table) for table in rows) == COUNT
    assert max(table.nbytes for table in rows if isinstance(table, pa.Table)) <= 1.1 * LIMIT


def test_common_beginnings_are_decoded_in_pieces(tmp_path: Path) -> None:
    encoding = {"text": "DELTA_BYTE_ARRAY"}
    values = [f"{LONG}{number}" for number in range(COUNT)]
    corpus = bomb(tmp_path / "a.parquet", values, use_dictionary=False, column_encoding=encoding)
    blocks = list(corpus.blocks(corpus.units[0]))
    assert [text for block in blocks for text in block.documents.texts()] == values
    assert max(len(block.documents) for block in blocks) <= 256


def test_a_size_that_a_table_tells_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl.zst"
    line = b'{"text": "' + b"x" * 300_000 + b'"}'
    path.write_bytes(zstandard.compress(line + b"\n" + line + b"\n"))
    (unit,) = Corpus.open(path).units
    monkeypatch.setattr(places, "_LONG_BYTES", 1000)
    found = read_rows(
        unit, np.array([0, len(line) + 1]), np.full(2, len(line)), fields=Fields(), block_bytes=5000
    )
    assert [row for part in found for row in part.to_pylist()] == [line, line]
    with pytest.raises(InputError, match=r"a\.jsonl\.zst: ends before byte"):
        list(read_rows(unit, np.array([0]), np.array([2**50]), fields=Fields()))


def test_copies_are_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pa.table({"text": ["a" * 500, "b" * 100, "c"]})
    written = []
    for number, limit in enumerate((2**28, 1000)):
        monkeypatch.setattr(writing, "_COPIED_BYTES", limit)
        folder = tmp_path / str(number)
        how: Any = {"work": tmp_path / "work", "schema": rows.schema}
        with ShardWriter(folder, "parquet", total_rows=60, expected_bytes=9, **how) as writer:
            writer.add(np.arange(60), rows, index=np.repeat(np.arange(3), 20))
            writer.finish()
        (path,) = folder.glob("*.parquet")
        written.append(pq.read_table(path))
    assert written[0] == written[1]
    assert written[0]["text"].to_pylist() == ["a" * 500] * 20 + ["b" * 100] * 20 + ["c"] * 20


def test_long_columns_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_STRING_BYTES", 10)
    key = "0" * 16
    folder = tmp_path / f"documents-{key}"
    declare(folder, {}, [Column("id", pa.string(), "", "")])
    about = {"documents": None, "rows": 5, "uids": "", "covered": 5, "dropped": {}}
    for part in range(2):
        with PartWriter(part_file(folder, part)) as writer:
            writer.add({"id": pa.array([f"id-{part}-{row}" for row in range(5)])})
            writer.commit({**about, "tally": Tally(rows=[5]).as_dict()}, pa.schema([]))
    table = Table(tmp_path, Layout(folder.name, None, (), 2, 0.25))
    found = table.rows(np.array([7, 0, 9]), ["id"])
    assert found["id"].type == pa.large_string()
    assert found["id"].to_pylist() == ["id-1-2", "id-0-0", "id-1-4"]
