"""The documents table: one Parquet file a unit, a row for each document, in the units' order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataworth.corpus.documents import Column, Documents
from dataworth.corpus.uid import checks
from dataworth.engine.files import REMEDY, damaged
from dataworth.engine.local import cores
from dataworth.errors import DataworthError

UTILITY = "utility:"
_TALLY = b"dataworth"
_STRING_BYTES = 2**31 - 1
IDENTITY = (
    Column("uid", pa.uint64(), "XXH64 of the text", "corpus"),
    Column("check", pa.uint64(), "second hash of the text, for copies", "corpus"),
    Column("file", pa.int32(), "index of the file in run.json", "corpus"),
    Column("offset", pa.int64(), "bytes from the file's start; Parquet: row", "corpus"),
    Column("bytes", pa.int64(), "bytes of the row", "corpus"),
    Column("text_bytes", pa.int64(), "bytes of the text in UTF-8", "corpus"),
    Column("tokens", pa.int64(), "tokens, estimated from text_bytes", "corpus"),
    Column("drop", pa.string(), "reason for dropping, or null", "steps"),
)
_TYPES = {column.name: column.type for column in IDENTITY}


def unit_file(folder: Path, unit: int) -> Path:
    """Where the rows of a unit lie."""
    return folder / f"{unit:05d}.parquet"


def _wide(table: pa.Table) -> pa.Table:
    """The table with long columns of strings as strings that may hold more than 2 GB in one."""
    for place, kind in enumerate(table.schema):
        if pa.types.is_string(kind.type) and table.column(place).nbytes > _STRING_BYTES:
            wide = table.column(place).cast(pa.large_string())
            table = table.set_column(place, kind.name, wide)
    return table


def rows_of(documents: Documents, tokens_per_byte: float) -> dict[str, pa.Array]:
    """The columns that every document has, before any step."""
    tokens = np.maximum(1, np.rint(documents.text_bytes * tokens_per_byte)).astype(np.int64)
    return {
        "uid": pa.array(documents.uid),
        "check": pa.array(checks(documents.data, documents.starts, documents.ends)),
        "file": pa.array(documents.file),
        "offset": pa.array(documents.offset),
        "bytes": pa.array(documents.bytes),
        "text_bytes": pa.array(documents.text_bytes),
        "tokens": pa.array(tokens),
        **documents.columns,
    }


@dataclass
class Tally:
    """What a pool held, counted while its table was written.

    `lines`: lines of each unit, blank and bad ones too. `dropped`: documents by the steps' reasons.
    """

    documents: int = 0
    text_bytes: int = 0
    raw_bytes: int = 0
    blank: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    lines: list[int] = field(default_factory=list)

    def as_metadata(self) -> dict[bytes, bytes]:
        """For a unit's Parquet file."""
        facts = {**asdict(self), "bad": dict(self.bad), "dropped": dict(self.dropped)}
        return {_TALLY: json.dumps(facts).encode()}

    def add(self, facts: dict[str, Any]) -> None:
        """Add a unit's counts."""
        self.documents += facts["documents"]
        self.text_bytes += facts["text_bytes"]
        self.raw_bytes += facts["raw_bytes"]
        self.blank += facts["blank"]
        self.bad.update(facts["bad"])
        self.dropped.update(facts["dropped"])
        self.lines += facts["lines"]


class Table:
    """The documents of a run as columns; read from disk when asked for, one column at a time.

    Row numbers count through the units in order.
    """

    def __init__(self, folder: Path, units: int) -> None:
        self.folder = folder
        self.units = units

    @cached_property
    def _metadata(self) -> list[pq.FileMetaData]:
        found = []
        for unit in range(self.units):
            path = unit_file(self.folder, unit)
            with damaged(path):
                found.append(pq.read_metadata(path))
        return found

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each unit, int64 [units]."""
        return np.array([metadata.num_rows for metadata in self._metadata], np.int64)

    @cached_property
    def tally(self) -> Tally:
        """The counts of all units."""
        total = Tally()
        for unit, metadata in enumerate(self._metadata):
            with damaged(unit_file(self.folder, unit)):
                total.add(json.loads(metadata.metadata[_TALLY]))
        return total

    @cached_property
    def firsts(self) -> NDArray[np.int64]:
        """The number of each unit's first row, and after the last the number of rows."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.sizes)])

    def __len__(self) -> int:
        return int(self.firsts[-1])

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        if not self.units:
            return pa.schema([(column.name, column.type) for column in IDENTITY])
        with damaged(unit_file(self.folder, 0)):
            return self._metadata[0].schema.to_arrow_schema()

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return list(self.schema.names)

    @property
    def utilities(self) -> tuple[str, ...]:
        """The columns `utility:<step>:<target>`."""
        return tuple(name for name in self.names if name.startswith(UTILITY))

    def column(self, name: str) -> NDArray[Any]:
        """A numeric column, [rows]; nulls of a utility are NaN."""
        return self.columns([name])[name]

    def columns(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Several numeric columns, each [rows], in one pass over the files."""
        for name in names:
            if name not in self.names:
                raise DataworthError(f"{self.folder}: the table has no column {name!r}; {REMEDY}")
        out = {
            name: np.empty(len(self), self.schema.field(name).type.to_pandas_dtype())
            for name in names
        }

        def read(unit: int) -> None:
            part = self._part(unit, list(names))
            for name in names:
                # Not zero-copy: nulls, which only utilities have, become NaN.
                out[name][self.firsts[unit] : self.firsts[unit + 1]] = part[name].to_numpy()

        with ThreadPoolExecutor(cores()) as threads:
            for _ in threads.map(read, range(self.units)):
                pass
        return out

    def codes(self, name: str) -> tuple[NDArray[np.int32], list[str | None]]:
        """A text column as codes int32 [rows] and the values they stand for, sorted, None last."""
        out = np.empty(len(self), np.int32)
        known: dict[str | None, int] = {}
        for unit, part in enumerate(self.read([name])):
            if part[name].null_count == len(part):
                rows = slice(self.firsts[unit], self.firsts[unit + 1])
                out[rows] = known.setdefault(None, len(known)) if len(part) else 0
                continue
            encoded = part[name].combine_chunks().cast(pa.string()).dictionary_encode()
            values = encoded.dictionary.to_pylist()
            place = np.array([known.setdefault(value, len(known)) for value in values], np.int32)
            indices = encoded.indices
            codes = np.asarray(indices.fill_null(0), np.int64)
            part_out = place[codes] if len(place) else np.zeros(len(codes), np.int32)
            if indices.null_count:
                part_out[np.asarray(indices.is_null())] = known.setdefault(None, len(known))
            out[self.firsts[unit] : self.firsts[unit + 1]] = part_out
        values_sorted = sorted(known, key=lambda value: (value is None, value or ""))
        rank = np.empty(max(len(known), 1), np.int32)
        for new, value in enumerate(values_sorted):
            rank[known[value]] = new
        return rank[out] if len(out) else out, values_sorted

    def read(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns, a unit at a time."""
        for unit in range(self.units):
            yield self._part(unit, list(names))

    def _part(self, unit: int, names: list[str] | None) -> pa.Table:
        """Return columns of a unit; DataworthError if its file is not what was written."""
        path = unit_file(self.folder, unit)
        with damaged(path):
            file = pq.ParquetFile(path, metadata=self._metadata[unit])
            part = file.read(columns=names, use_threads=False)
        for name in self.names if names is None else names:
            if name not in part.column_names:
                raise DataworthError(f"{path}: has no column {name!r}; {REMEDY}")
            kind = _TYPES.get(name) or (pa.float64() if name.startswith(UTILITY) else None)
            if kind is None:
                continue
            may_lack = name == "drop" or name.startswith(UTILITY)
            if part[name].type != kind or (not may_lack and part[name].null_count):
                raise DataworthError(f"{path}: column {name!r} is not {kind} throughout; {REMEDY}")
        if len(part) != self.sizes[unit]:
            raise DataworthError(f"{path}: has {len(part)} rows, not {self.sizes[unit]}; {REMEDY}")
        return part

    def rows(self, rows: NDArray[np.int64], names: Sequence[str] | None = None) -> pa.Table:
        """Some rows, in the order given."""
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        bounds = np.searchsorted(ordered, self.firsts)
        wanted = None if names is None else list(names)

        def read(unit: int) -> pa.Table:
            inside = ordered[bounds[unit] : bounds[unit + 1]]
            part = self._part(unit, wanted)
            return part.take(pa.array(inside - self.firsts[unit]))

        with ThreadPoolExecutor(cores()) as threads:
            parts = list(threads.map(read, np.flatnonzero(np.diff(bounds))))
        if not parts:
            schema = (
                self.schema
                if names is None
                else pa.schema([self.schema.field(name) for name in names])
            )
            return schema.empty_table()
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return _wide(pa.concat_tables(parts)).take(pa.array(back))

    def to_arrow(self) -> pa.Table:
        """The whole table in memory."""
        parts = list(self.read(self.names))
        return pa.concat_tables(parts) if parts else self.schema.empty_table()
