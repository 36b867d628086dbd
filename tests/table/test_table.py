"""The documents table: columns over several files, some of them without rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dataworth.corpus.documents import Column
from dataworth.errors import DataworthError
from dataworth.table.columns import ROW, ColumnFolder, PartWriter, declare, part_file
from dataworth.table.keys import uids_digest
from dataworth.table.table import Layout, Source, Table, Tally

SIZES = [3, 0, 4, 1]
KEY = "0" * 16
DOCUMENTS, LABELS, STEP = f"documents-{KEY}", f"labels-{KEY}", f"x-{KEY}"
COLUMNS = {
    DOCUMENTS: {"uid": pa.uint64(), "text_bytes": pa.int64()},
    LABELS: {"domain": pa.string()},
    STEP: {"utility:x:t": pa.float64(), "drop": pa.string()},
}


def write(folder: Path, part: int, columns: dict[str, pa.Array], further: int = 0, **facts: object):
    """A part's file in a folder of columns."""
    kinds = [(name, values.type) for name, values in columns.items()]
    with PartWriter(part_file(folder, part, further)) as writer:
        writer.add(columns)
        writer.commit(facts, pa.schema(kinds))


def write_part(folder: Path, part: int, rows: range, seen: list[int]) -> None:
    """A part of documents, of which a step has seen some."""
    uid = np.array([2**63 + n for n in rows], np.uint64)
    facts = {"documents": KEY, "rows": len(rows), "uids": uids_digest(uid)}
    whole = {**facts, "covered": len(rows), "dropped": {}}
    tally = Tally(len(rows), len(rows) * 10, len(rows) * 20, 1, lines=[len(rows) + 1])
    tally.rows = [len(rows)]
    own = {"uid": pa.array(uid), "text_bytes": pa.array([n * 10 for n in rows], pa.int64())}
    about = {**whole, "documents": None, "tally": tally.as_dict()}
    write(folder / DOCUMENTS, part, own, **about)
    domains = ["b" if n < 4 else "a" if n < 6 else None for n in rows]
    write(folder / LABELS, part, {"domain": pa.array(domains, pa.string())}, **whole)
    write_step(folder, part, rows, [n for n in rows if n in seen], facts)


def write_step(
    folder: Path, part: int, rows: range, seen: list[int], facts: dict, further: int = 0
) -> None:
    """The step's columns for the rows that it has seen."""
    columns = {
        ROW: pa.array([n - rows.start for n in seen], pa.int32()),
        "utility:x:t": pa.array([None if n % 2 == 0 else n / 2 for n in seen], pa.float64()),
        "drop": pa.array([None if n % 2 else "odd" for n in seen], pa.string()),
    }
    dropped = {"odd": sum(1 for n in seen if n % 2 == 0)}
    dropped = {reason: count for reason, count in dropped.items() if count}
    write(folder / STEP, part, columns, further, **facts, covered=len(seen), dropped=dropped)


def open_table(folder: Path, parts: int = len(SIZES)) -> Table:
    """The table, with the step under another label than its name."""
    source = Source("y", "x", STEP)
    return Table(folder, Layout(DOCUMENTS, LABELS, (source,), parts, 0.25))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    for name, kinds in COLUMNS.items():
        columns = [Column(column, kind, "", "") for column, kind in kinds.items()]
        declare(tmp_path / name, {"of": name}, columns)
    start = 0
    for part, size in enumerate(SIZES):
        write_part(tmp_path, part, range(start, start + size), list(range(8)))
        start += size
    return open_table(tmp_path)


def test_columns(table: Table):
    assert len(table) == 8
    assert table.sizes.tolist() == SIZES
    assert table.firsts.tolist() == [0, 3, 3, 7, 8]
    assert table.column("uid").tolist() == [2**63 + n for n in range(8)]
    assert table.column("uid").dtype == np.uint64
    assert table.utilities == ("utility:y:t",)
    values = table.column("utility:y:t")
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
    assert table.names == ["uid", "text_bytes", "tokens", "domain", "utility:y:t", "drop"]
    assert table.column("tokens").tolist() == [1, 2, 5, 8, 10, 12, 15, 18]
    empty = open_table(table.folder, 0)
    assert len(empty) == 0
    assert empty.column("uid").tolist() == []
    assert empty.to_arrow().num_rows == 0


def test_rows_that_came_later(table: Table):
    """A step that saw some of a part first, and the rest for another list of steps."""
    rows = range(3, 7)
    folder = ColumnFolder(table.folder / STEP, KEY)
    facts = folder.facts(part_file(folder.folder, 2))
    for path in folder.files(2):
        path.unlink()
    own = {name: facts[name] for name in ("documents", "rows", "uids")}
    write_step(table.folder, 2, rows, [4, 6], own)
    half = open_table(table.folder)
    assert half.tally.dropped == {"odd": 4}
    assert np.isnan(half.column("utility:y:t")[3:7]).all()
    covered = ColumnFolder(folder.folder, KEY).covered(2, 4)
    assert covered.rows is not None and covered.rows.tolist() == [False, True, False, True]
    assert covered.dropped is not None and covered.dropped.tolist() == [False, True, False, True]
    write_step(table.folder, 2, rows, [3, 5], own, further=1)
    whole = open_table(table.folder)
    assert whole.to_arrow().equals(table.to_arrow())
    assert ColumnFolder(folder.folder, KEY).covered(2, 4).rows is None


@pytest.mark.parametrize("change", ["documents", "rows", "uids"])
def test_columns_of_other_documents_are_refused(change: str, table: Table):
    own = {"documents": KEY, "rows": 1, "uids": uids_digest(table.column("uid")[7:])}
    write_step(table.folder, 3, range(7, 8), [7], {**own, change: 2 if change == "rows" else "1"})
    with pytest.raises(DataworthError, match=r"00003\.parquet: is of other documents"):
        open_table(table.folder).column("utility:y:t")


@pytest.mark.parametrize("seen", [[4, 3], [3, 3], [7], [2]])
def test_rows_of_no_part_are_refused(seen: list[int], table: Table):
    own = {"documents": KEY, "rows": 4, "uids": uids_digest(table.column("uid")[3:7])}
    write_step(table.folder, 2, range(3, 7), seen, own)
    with pytest.raises(DataworthError, match=r"00002\.parquet: cannot be read"):
        open_table(table.folder).column("utility:y:t")


@pytest.mark.parametrize("name", [DOCUMENTS, LABELS, STEP])
def test_missing_or_damaged_part(name: str, table: Table):
    path = part_file(table.folder / name, 2)
    path.write_bytes(b"PAR1 half")
    with pytest.raises(DataworthError, match=r"00002\.parquet.*delete it and run"):
        open_table(table.folder).to_arrow()
    path.unlink()
    with pytest.raises(DataworthError, match=r"00002\.parquet: is missing"):
        open_table(table.folder).check()
