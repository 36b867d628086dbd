"""The columns that one producer made: a folder with a file for each part of the pool.

table/<name>-<key>/column.json      the whole record that the key is of, and the columns' names
table/<name>-<key>/00000.parquet    the columns of part 0; a file that is there is done
table/<name>-<key>/00000-1.parquet  further rows of part 0, which a later list of steps needed

A file without the column `row` has a row for each document of its part, else `row` says which. Its
metadata names the documents key, the part's rows and a digest of their uids, and a reader checks
them: files of another pool, or of rows in another order, are refused.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataworth.corpus.documents import Column
from dataworth.engine.files import REMEDY, atomic, damaged, read_object, write_json
from dataworth.errors import RunError

ROW = "row"
DROP = "drop"
RECORD = "column.json"
FACTS = b"dataworth"
_ROW_GROUP = 1 << 16
_GROUP_BYTES = 1 << 24  # of a row group of wide columns, about
_VECTOR = re.compile(r"(?:fixed_size_)?list<\w+: (\w+)>(?:\[(\d+)\])?")
_OVERWRITE = "run again with --overwrite"


def part_file(folder: Path, part: int, further: int = 0) -> Path:
    """Return the path of a part's rows, or of the further rows that came later."""
    return folder / (f"{part:05d}-{further}.parquet" if further else f"{part:05d}.parquet")


@dataclass(frozen=True)
class Covered:
    """The rows of a part that columns are there for.

    `rows` bool [n], None: all. `dropped` bool [n], None: none of them.
    """

    rows: NDArray[np.bool_] | None
    dropped: NDArray[np.bool_] | None


class ColumnFolder:
    """The columns of one producer, read part by part.

    `documents`: the key of the documents table that they belong to, None for that table itself.
    """

    def __init__(self, folder: Path, documents: str | None) -> None:
        self.folder = folder
        self._documents = documents

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns, as they were declared."""
        path = self.folder / RECORD
        with damaged(path, _OVERWRITE):
            declared = read_object(path, _OVERWRITE)["columns"]
            return pa.schema([(name, _kind(text)) for name, text in declared.items()])

    def files(self, part: int) -> list[Path]:
        """Return the files of a part; the first one, which is missing, where there is none."""
        paths = [part_file(self.folder, part)]
        while (path := part_file(self.folder, part, len(paths))).is_file():
            paths.append(path)
        return paths

    def has(self, part: int) -> bool:
        """Tell if there are rows of a part."""
        return part_file(self.folder, part).is_file()

    def next_file(self, part: int) -> Path:
        """Return the path of a part's next file."""
        return part_file(self.folder, part, len(self.files(part)) if self.has(part) else 0)

    def check_parts(self, parts: int) -> None:
        """Raise RunError, which names the file, if a part is missing."""
        there = {path.name for path in self.folder.glob("*.parquet")}
        for part in range(parts):
            path = part_file(self.folder, part)
            if path.name not in there:
                raise RunError(f"{path}: is missing; run the same command again, which makes it")

    def forget(self, part: int) -> None:
        """Remove the files of a part, whose documents are read anew."""
        for path in reversed(self.files(part)):
            path.unlink(missing_ok=True)

    def metadata(self, path: Path) -> pq.FileMetaData:
        """The footer of a file, read once. RunError names the file if it is missing or damaged."""
        footers: dict[Path, pq.FileMetaData] = self.__dict__.setdefault("_footers", {})
        if path not in footers:
            with damaged(path):
                footers[path] = pq.read_metadata(path)
        return footers[path]

    def facts(self, path: Path) -> dict[str, Any]:
        """Return what a file says of itself."""
        with damaged(path):
            facts: dict[str, Any] = json.loads(self.metadata(path).metadata[FACTS])
            return facts

    def check(self, part: int, rows: int, uids: str) -> None:
        """Raise RunError unless the files of a part are of these documents."""
        for path in self.files(part):
            facts = self.facts(path)
            own = (facts.get("documents"), facts.get("rows"), facts.get("uids"))
            if own != (self._documents, rows, uids):
                raise RunError(
                    f"{path}: is of other documents than the table's, or of another order of "
                    f"them; {REMEDY}"
                )

    def covered(self, part: int, rows: int) -> Covered:
        """Return which of a part's `rows` documents the files of the part hold and drop."""
        there = np.zeros(rows, np.bool_)
        dropped = np.zeros(rows, np.bool_)
        any_dropped = False
        for path in self.files(part):
            facts = self.facts(path)
            whole = facts["covered"] == rows
            if whole and not facts["dropped"]:
                there[:] = True
                continue
            names = [*([] if whole else [ROW]), *([DROP] if facts["dropped"] else [])]
            table = self._read(path, names)
            at = np.arange(rows) if whole else self._rows(path, table, rows)
            there[at] = True
            if facts["dropped"]:
                any_dropped = True
                dropped[at] = np.asarray(table[DROP].is_valid())
        return Covered(None if there.all() else there, dropped if any_dropped else None)

    def dropped(self, part: int) -> bool:
        """Tell if any document of a part has a drop reason."""
        return any(self.facts(path)["dropped"] for path in self.files(part))

    def read(self, part: int, names: Sequence[str], rows: int) -> dict[str, pa.Array]:
        """Return columns of a part, each of `rows` values; null for rows that are not there."""
        pieces: list[tuple[NDArray[np.int64] | None, pa.Table]] = []
        for path in self.files(part):
            whole = self.facts(path)["covered"] == rows
            table = self._read(path, [*names, *([] if whole else [ROW])])
            at = None if whole else self._rows(path, table, rows)
            pieces.append((at, table.select(names)))
        at, table = pieces[0]
        if at is not None:
            table = pa.concat_tables([table for _, table in pieces])
            place = np.full(rows, -1, np.int64)
            filled = np.concatenate([at for at, _ in pieces if at is not None])
            place[filled] = np.arange(len(table))
            table = table.take(pa.array(place, mask=place < 0))
        if len(table) != rows:
            raise RunError(f"{self.files(part)[0]}: has {len(table)} rows, not {rows}; {REMEDY}")
        return {name: _one(table[name]) for name in names}

    def blocks(
        self, part: int, name: str, rows: int, starts: NDArray[np.int64], size: int
    ) -> Iterator[list[tuple[NDArray[np.int64], pa.Array]]]:
        """Yield what the files of a part hold of a column, for `size` rows from each of `starts`.

        Each as (rows of the part, values). Row groups that lie elsewhere are not in memory.
        """
        files = []
        for path in self.files(part):
            whole = self.facts(path)["covered"] == rows
            at = np.arange(rows) if whole else self._rows(path, self._read(path, [ROW]), rows)
            footer = self.metadata(path)
            counts = [footer.row_group(n).num_rows for n in range(footer.num_row_groups)]
            files.append((path, at, np.cumsum([0, *counts])))
        for start in starts.tolist():
            held = []
            for path, at, edges in files:
                low, high = np.searchsorted(at, [start, start + size]).tolist()
                if low < high:
                    first = int(np.searchsorted(edges, low, "right")) - 1
                    groups = range(first, int(np.searchsorted(edges, high, "left")))
                    table = self._read(path, [name], groups)
                    values = table[name].slice(low - int(edges[first]), high - low)
                    held.append((at[low:high], _one(values)))
            yield held

    def _read(
        self, path: Path, names: Sequence[str], groups: Sequence[int] | None = None
    ) -> pa.Table:
        with damaged(path):
            file = pq.ParquetFile(path, metadata=self.metadata(path))
            some = range(file.num_row_groups) if groups is None else groups
            table = file.read_row_groups(some, columns=list(names), use_threads=False)
            for name in names:
                if name not in table.column_names:
                    raise ValueError(f"it has no column {name!r}")
                if name in self.schema.names and table[name].type != self.schema.field(name).type:
                    kind = self.schema.field(name).type
                    raise ValueError(f"its column {name!r} is not {kind} throughout")
        return table

    def _rows(self, path: Path, table: pa.Table, rows: int) -> NDArray[np.int64]:
        """The rows of the part that a file is of; checked, since arrays are filled by them."""
        with damaged(path):
            if table[ROW].type != pa.int32() or table[ROW].null_count:
                raise ValueError("its column 'row' is not int32 throughout")
            at = np.asarray(table[ROW], np.int64)
            if len(at) and (at[0] < 0 or at[-1] >= rows or (np.diff(at) <= 0).any()):
                raise ValueError("its rows are not those of the part, in order")
        return at


def _one(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _kind(text: str) -> pa.DataType:
    """Return a type from its text; those of vectors too, which Arrow's aliases leave out."""
    vector = _VECTOR.fullmatch(text)
    if vector is None:
        return pa.type_for_alias(text)
    return pa.list_(pa.type_for_alias(vector[1]), int(vector[2] or -1))


def declare(folder: Path, record: Mapping[str, Any], columns: Sequence[Column]) -> None:
    """Make a folder of columns, unless it is there. RunError where it is of another record."""
    path = folder / RECORD
    if not path.is_file():
        kinds = {column.name: str(column.type) for column in columns}
        write_json(path, {"record": record, "columns": kinds})
        return
    known = read_object(path, _OVERWRITE).get("record")
    if known != json.loads(json.dumps(record)):
        raise RunError(f"{path}: is the record of other columns; {_OVERWRITE}")


def copy_columns(source: Path, folder: Path) -> None:
    """Copy the parts of a folder of columns that another folder of that name lacks."""
    if source.is_symlink() or not (source / RECORD).is_file():
        return
    theirs, ours = ColumnFolder(source, None), ColumnFolder(folder, None)
    parts = {int(path.stem.partition("-")[0]) for path in source.glob("[0-9]*.parquet")}
    for part in sorted(part for part in parts if theirs.has(part) and not ours.has(part)):
        # The first file last: it says that the part is there.
        for path in reversed(theirs.files(part)):
            if not path.is_symlink():
                with atomic(folder / path.name) as temporary:
                    shutil.copyfile(path, temporary)
    if parts and not (folder / RECORD).exists():
        with atomic(folder / RECORD) as temporary:
            shutil.copyfile(source / RECORD, temporary)


class PartWriter:
    """The file of a part in a folder of columns: row groups as they come, whole or not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = ExitStack()
        self._temporary = self._open.enter_context(atomic(path))
        self._file: pa.NativeFile | None = None
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._held = self._bytes = 0
        self.rows = 0

    def add(self, columns: Mapping[str, pa.Array]) -> None:
        """Add rows."""
        table = pa.table(dict(columns))
        self._waiting.append(table)
        self._held += len(table)
        self._bytes += table.nbytes
        self.rows += len(table)
        if self._held >= _ROW_GROUP or self._bytes >= _GROUP_BYTES:
            self._flush()

    def commit(self, facts: Mapping[str, Any], schema: pa.Schema) -> None:
        """Close the file, which takes its name. `schema`: of one without rows."""
        self._flush()
        writer = self._writer or self._begin(schema)
        writer.add_key_value_metadata({FACTS: json.dumps(facts).encode()})
        writer.close()
        self._writer = None
        self._close_file()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        """Remove what was written, unless it has its name already."""
        self._close_file()
        self._open.__exit__(*error)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        self._waiting, self._held, self._bytes = [], 0, 0
        (self._writer or self._begin(table.schema)).write_table(
            table, row_group_size=_ROW_GROUP * 2
        )

    def _begin(self, schema: pa.Schema) -> pq.ParquetWriter:
        strings = [field.name for field in schema if pa.types.is_string(field.type)]
        # Opened here, since a writer that failed does not close its file, which takes room.
        self._file = pa.OSFile(str(self._temporary), "wb")
        packed = {ROW: "DELTA_BINARY_PACKED"} if ROW in schema.names else None
        self._writer = pq.ParquetWriter(
            self._file,
            schema,
            compression="lz4",
            use_dictionary=strings,
            column_encoding=packed,
            write_statistics=False,
        )
        return self._writer
