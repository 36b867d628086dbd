"""The documents table: columns over several files, some of them without rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataworth.errors import DataworthError
from dataworth.table.table import Table, Tally, unit_file

SIZES = [3, 0, 4, 1]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    start = 0
    for unit, size in enumerate(SIZES):
        rows = range(start, start + size)
        columns = {
            "uid": pa.array([2**63 + n for n in rows], pa.uint64()),
            "text_bytes": pa.array([n * 10 for n in rows], pa.int64()),
            "drop": pa.array([None if n % 2 else "odd" for n in rows], pa.string()),
            "domain": pa.array(
                ["b" if n < 4 else "a" if n < 6 else None for n in rows], pa.string()
            ),
            "utility:x:t": pa.array([None if n % 2 == 0 else n / 2 for n in rows], pa.float64()),
        }
        tally = Tally(size, size * 10, size * 20, 1, lines=[size + 1])
        made = pa.table(columns).replace_schema_metadata(tally.as_metadata())
        pq.write_table(made, unit_file(tmp_path, unit))
        start += size
    return Table(tmp_path, len(SIZES))


def test_columns(table: Table):
    assert len(table) == 8
    assert table.sizes.tolist() == SIZES
    assert table.firsts.tolist() == [0, 3, 3, 7, 8]
    assert table.column("uid").tolist() == [2**63 + n for n in range(8)]
    assert table.column("uid").dtype == np.uint64
    assert table.utilities == ("utility:x:t",)
    values = table.column("utility:x:t")
    assert np.isnan(values[::2]).all()
    assert values[1::2].tolist() == [0.5, 1.5, 2.5, 3.5]


def test_codes(table: Table):
    codes, values = table.codes("domain")
    assert values == ["a", "b", None]
    assert [values[code] for code in codes] == ["b"] * 4 + ["a"] * 2 + [None] * 2
    codes, values = table.codes("drop")
    assert values == ["odd", None]
    assert [values[code] for code in codes] == ["odd", None] * 4


@pytest.mark.parametrize("rows", [[], [0], [7, 0, 3], [5, 5, 1], [*range(8)]])
def test_rows(rows: list[int], table: Table):
    found = table.rows(np.array(rows, np.int64))
    assert found["uid"].to_pylist() == [2**63 + n for n in rows]
    assert found.schema.names == table.names
    few = table.rows(np.array(rows, np.int64), ["text_bytes"])
    assert few.to_pydict() == {"text_bytes": [n * 10 for n in rows]}


def test_tally(table: Table):
    tally = table.tally
    assert (tally.documents, tally.text_bytes, tally.raw_bytes, tally.blank) == (8, 80, 160, 4)
    assert tally.lines == [4, 1, 5, 2]


def test_whole(table: Table):
    assert table.to_arrow()["uid"].to_pylist() == table.column("uid").tolist()
    empty = Table(table.folder, 0)
    assert len(empty) == 0
    assert empty.column("uid").tolist() == []
    assert empty.to_arrow().num_rows == 0


def test_missing_or_damaged_part(table: Table):
    unit_file(table.folder, 2).write_bytes(b"PAR1 half")
    with pytest.raises(DataworthError, match=r"00002\.parquet.*delete it and run"):
        len(Table(table.folder, len(SIZES)))
    unit_file(table.folder, 2).unlink()
    with pytest.raises(DataworthError, match=r"00002\.parquet"):
        len(Table(table.folder, len(SIZES)))


def test_counts_are_in_the_files(table: Table):
    metadata = pq.read_metadata(unit_file(table.folder, 0)).metadata
    assert json.loads(metadata[b"dataworth"])["documents"] == 3
