"""The documents table: a row for each document, and columns that several producers made.

Where a document lies, its labels and each step's columns are folders of their own (`columns.py`);
a table reads some of them side by side. Row numbers count through the parts of the pool in order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from dataworth.corpus.documents import Column, Documents
from dataworth.corpus.uid import checks
from dataworth.engine.files import REMEDY, damaged
from dataworth.engine.local import cores
from dataworth.errors import DataworthError, RunError
from dataworth.table.columns import DROP, ColumnFolder

UTILITY = "utility:"
EMBEDDING = "embedding:"
MATRIX = "matrix:"
TOKENS = "tokens"
_FOLDER = re.compile(r"[\w.-]+-[0-9a-f]{16}")
_STRING_BYTES = 2**31 - 1
_BLOCK, _BLOCK_BYTES = 1 << 14, 1 << 26  # rows of vectors that are in memory at a time, and bytes
_FEW = 1 << 10  # rows that are looked at to see how long vectors are
IDENTITY = (
    Column("uid", pa.uint64(), "XXH64 of the text", "corpus"),
    Column("check", pa.uint64(), "second hash of the text, for copies", "corpus"),
    Column("file", pa.int32(), "index of the file in run.json", "corpus"),
    Column("offset", pa.int64(), "bytes from the file's start; Parquet: row", "corpus"),
    Column("bytes", pa.int64(), "bytes of the row", "corpus"),
    Column("text_bytes", pa.int64(), "bytes of the text in UTF-8", "corpus"),
)
PIECE = Column("piece", pa.int32(), "number of the piece in its row", "corpus")
_TYPES = {column.name: column.type for column in (*IDENTITY, PIECE)}


def _wide(table: pa.Table) -> pa.Table:
    """The table with long columns of strings as strings that may hold more than 2 GB in one."""
    for place, kind in enumerate(table.schema):
        if pa.types.is_string(kind.type) and table.column(place).nbytes > _STRING_BYTES:
            wide = table.column(place).cast(pa.large_string())
            table = table.set_column(place, kind.name, wide)
    return table


def folder_name(name: str) -> str:
    """Return the name of a folder of columns or of what was learned; ValueError if it is none."""
    if not _FOLDER.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a folder of columns")
    return name


def labelled(column: str, step: str, label: str) -> str:
    """Return what a step's column `kind:step` or `kind:step:target` is called under a label."""
    kind, _, rest = column.partition(":")
    own, colon, target = rest.partition(":")
    return f"{kind}:{label}{colon}{target}" if own == step else column


def rows_of(documents: Documents) -> dict[str, pa.Array]:
    """Return the columns that every document has, before any step."""
    return {
        "uid": pa.array(documents.uid),
        "check": pa.array(checks(documents.data, documents.starts, documents.ends)),
        "file": pa.array(documents.file),
        "offset": pa.array(documents.offset),
        "bytes": pa.array(documents.bytes),
        "text_bytes": pa.array(documents.text_bytes),
    }


def estimated_tokens(text_bytes: NDArray[np.int64], tokens_per_byte: float) -> NDArray[np.int64]:
    """Tokens of texts by their size, int64 [n], at least 1."""
    tokens: NDArray[np.int64] = np.maximum(1, np.rint(text_bytes * tokens_per_byte)).astype(
        np.int64
    )
    return tokens


@dataclass
class Tally:
    """Counts of a pool's documents, bytes and lines, taken while it was read.

    `lines`, `rows`: lines of each unit, blank and bad ones too, and its documents. `dropped`:
    documents by the steps' reasons.
    """

    documents: int = 0
    text_bytes: int = 0
    raw_bytes: int = 0
    blank: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    lines: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For the metadata of a file."""
        return {**asdict(self), "bad": dict(self.bad), "dropped": dict(self.dropped)}

    def add(self, facts: Mapping[str, Any]) -> None:
        """Add a part's counts."""
        for name in ("documents", "text_bytes", "raw_bytes", "blank"):
            setattr(self, name, getattr(self, name) + int(facts["tally"][name]))
        self.bad.update(facts["tally"]["bad"])
        self.lines += facts["tally"]["lines"]
        self.rows += facts["tally"]["rows"]


@dataclass(frozen=True)
class Source:
    """A step's columns in a table: the step's `name`, its `label` there, and their folder."""

    label: str
    name: str
    folder: str


@dataclass(frozen=True)
class Layout:
    """The folders that a table reads.

    `documents`, `labels`: names of folders; labels are ids and groups, None without any.
    `sources`: of the steps, in their order. `parts`: files of each. `tokens_per_byte`: by which
    tokens are estimated. `dropped`: documents by drop reason, if that is known.
    """

    documents: str
    labels: str | None
    sources: tuple[Source, ...]
    parts: int
    tokens_per_byte: float
    dropped: Mapping[str, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Layout:
        """Return a layout from JSON. Raises anything for what is none."""
        labels = values["labels"]
        sources = tuple(Source(**source) for source in values["sources"])
        for source in sources:
            folder_name(source.folder)
        dropped = values["dropped"]
        if dropped is not None:
            dropped = {str(reason): int(count) for reason, count in dropped.items()}
        return Layout(
            folder_name(values["documents"]),
            None if labels is None else folder_name(labels),
            sources,
            range(int(values["parts"])).stop,
            float(values["tokens_per_byte"]),
            dropped,
        )


class Table:
    """The documents of a run as columns; read from disk when asked for, one column at a time.

    Raises RunError, which names the file, for what is missing or not what was written.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder = folder
        self.layout = layout
        key = layout.documents.rpartition("-")[2]
        self._documents = ColumnFolder(folder / layout.documents, None)
        self._labels = ColumnFolder(folder / layout.labels, key) if layout.labels else None
        self._sources = [ColumnFolder(folder / source.folder, key) for source in layout.sources]

    @cached_property
    def _facts(self) -> list[dict[str, Any]]:
        """The metadata of each part's file of documents, which all columns are checked against."""
        facts = []
        for part in range(self.layout.parts):
            path = self._documents.files(part)[0]
            own = self._documents.facts(path)
            with damaged(path):
                rows, uids = int(own["rows"]), str(own["uids"])
                if (
                    sum(own["tally"]["rows"]) != rows
                    or self._documents.metadata(path).num_rows != rows
                ):
                    raise ValueError("its rows are not those of its units")
            facts.append({**own, "uids": uids})
        return facts

    def check(self) -> None:
        """Raise RunError, which names the file, if a part of a column is missing."""
        for folder in (self._documents, *([self._labels] if self._labels else []), *self._sources):
            folder.check_parts(self.layout.parts)
        _ = self._facts

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Documents of each unit, int64 [units]."""
        rows = [rows for facts in self._facts for rows in facts["tally"]["rows"]]
        return np.array(rows, np.int64)

    @cached_property
    def firsts(self) -> NDArray[np.int64]:
        """The number of each unit's first row, and after the last the number of rows."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.sizes)])

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """The number of each part's first row, and after the last the number of rows."""
        rows = [int(facts["rows"]) for facts in self._facts]
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.array(rows, np.int64))])

    @property
    def lines(self) -> list[int]:
        """Lines of each unit, blank and bad ones too."""
        return [lines for facts in self._facts for lines in facts["tally"]["lines"]]

    @cached_property
    def tally(self) -> Tally:
        """The counts of all parts."""
        total = Tally()
        for part, facts in enumerate(self._facts):
            with damaged(self._documents.files(part)[0]):
                total.add(facts)
        known = self.layout.dropped
        if known is None:
            codes, reasons = self.codes(DROP)
            counts = np.bincount(codes, minlength=len(reasons)).tolist()
            known = {r: n for r, n in zip(reasons, counts, strict=False) if r is not None}
        total.dropped.update(known)
        return total

    def __len__(self) -> int:
        return int(self._bounds[-1])

    @cached_property
    def _homes(self) -> dict[str, tuple[ColumnFolder, str]]:
        """The folder of each column, and its name there; tokens are estimated by `text_bytes`."""
        homes = {name: (self._documents, name) for name in self._documents.schema.names}
        if "text_bytes" in homes:
            homes[TOKENS] = (self._documents, "text_bytes")
        for folder in [self._labels] if self._labels else []:
            homes |= {name: (folder, name) for name in folder.schema.names}
        for source, folder in zip(self.layout.sources, self._sources, strict=True):
            for name in folder.schema.names:
                if name != DROP:
                    homes[labelled(name, source.name, source.label)] = (folder, name)
        return homes

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        homes = self._homes.items()
        kinds = [(name, folder.schema.field(own).type) for name, (folder, own) in homes]
        return pa.schema([*kinds, (DROP, pa.string())])

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return list(self.schema.names)

    @property
    def utilities(self) -> tuple[str, ...]:
        """The columns `utility:<step>:<target>`."""
        return tuple(name for name in self.names if name.startswith(UTILITY))

    @property
    def embeddings(self) -> tuple[str, ...]:
        """The columns of vectors, `embedding:<step>`."""
        return tuple(name for name in self.names if name.startswith(EMBEDDING))

    @property
    def matrices(self) -> tuple[str, ...]:
        """The columns of utilities for each query, `matrix:<step>:<target>`."""
        return tuple(name for name in self.names if name.startswith(MATRIX))

    def vectors(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some rows of a column of vectors, in the order given; NaN where there is none."""
        out = np.full((len(rows), self.width(name)), np.nan, np.float32)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        for first, block in self.blocks(name, wanted=ordered):
            low, high = np.searchsorted(ordered, [first, first + len(block)])
            out[order[low:high]] = block[ordered[low:high] - first]
        return out

    def blocks(
        self, name: str, size: int = 0, *, wanted: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (first row, [at most `size`, d]) of a column of vectors, in order.

        Rows without a vector are NaN. `size`: 0 for as many rows as fit some megabytes. `wanted`:
        rows in rising order; blocks without any of them are left out.
        """
        width, (folder, own) = self.width(name), self._homes[name]
        size = size or max(1, min(_BLOCK, _BLOCK_BYTES // (4 * max(width, 1))))
        for part, first in enumerate(self._bounds[:-1].tolist()):
            rows = int(self._facts[part]["rows"])
            starts = np.arange(0, rows, size)
            if wanted is not None:
                edges = np.searchsorted(wanted, first + np.append(starts, rows))
                starts = starts[np.diff(edges) > 0]
            if not len(starts):
                continue
            folder.check(part, rows, self._facts[part]["uids"])
            blocks = folder.blocks(part, own, rows, starts, size)
            for start, held in zip(starts.tolist(), blocks, strict=True):
                out = np.full((min(size, rows - start), width), np.nan, np.float32)
                for at, values in held:
                    there = np.asarray(values.is_valid())
                    numbers = values.drop_null().flatten().to_numpy(zero_copy_only=False)
                    out[at[there] - start] = numbers.reshape(-1, width)
                yield first + start, out

    def width(self, name: str) -> int:
        """Return how many numbers each row of a column of vectors has; 0 where no row has any."""
        self._check_names([name])
        kind = self.schema.field(name).type
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        folder, own = self._homes[name]
        for part, rows in enumerate(np.diff(self._bounds).tolist()):
            starts = np.arange(0, rows, _FEW)
            for held in folder.blocks(part, own, rows, starts, _FEW):
                for _, values in held:
                    if values.null_count < len(values):
                        return len(values.drop_null()[0])
        return 0

    def column(self, name: str) -> NDArray[Any]:
        """A numeric column, [rows]; nulls of a utility are NaN."""
        return self.columns([name])[name]

    def columns(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Several numeric columns, each [rows], in one pass; a whole number that is null is 0."""
        self._check_names(names)
        out = {
            name: np.empty(len(self), self.schema.field(name).type.to_pandas_dtype())
            for name in names
        }

        def read(part: int) -> None:
            columns = self._part(part, names)
            for name in names:
                # Not zero-copy: nulls, which only what steps made has, become NaN.
                values = columns[name]
                if values.null_count and pa.types.is_integer(values.type):
                    values = values.fill_null(0)
                values = values.to_numpy(zero_copy_only=False)
                out[name][self._bounds[part] : self._bounds[part + 1]] = values

        with ThreadPoolExecutor(cores()) as threads:
            for _ in threads.map(read, range(self.layout.parts)):
                pass
        return out

    def codes(self, name: str) -> tuple[NDArray[np.int32], list[str | None]]:
        """A text column as codes int32 [rows] and the values they stand for, sorted, None last."""
        self._check_names([name])
        out = np.empty(len(self), np.int32)
        code_of: dict[str | None, int] = {}
        none = name == DROP and self.layout.dropped is not None and not self.layout.dropped
        for part in range(self.layout.parts):
            rows = slice(self._bounds[part], self._bounds[part + 1])
            if none or (name == DROP and not any(f.dropped(part) for f in self._sources)):
                out[rows] = code_of.setdefault(None, len(code_of)) if rows.stop > rows.start else 0
                continue
            values = self._part(part, [name])[name]
            if values.null_count == len(values):
                out[rows] = code_of.setdefault(None, len(code_of)) if len(values) else 0
                continue
            encoded = values.cast(pa.string()).dictionary_encode()
            place = np.array(
                [
                    code_of.setdefault(value, len(code_of))
                    for value in encoded.dictionary.to_pylist()
                ],
                np.int32,
            )
            codes = np.asarray(encoded.indices.fill_null(0), np.int64)
            numbers = place[codes]
            if encoded.indices.null_count:
                numbers[np.asarray(encoded.indices.is_null())] = code_of.setdefault(
                    None, len(code_of)
                )
            out[rows] = numbers
        values_sorted = sorted(code_of, key=lambda value: (value is None, value or ""))
        rank = np.empty(max(len(code_of), 1), np.int32)
        for new, value in enumerate(values_sorted):
            rank[code_of[value]] = new
        return rank[out] if len(out) else out, values_sorted

    def read(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns, a part at a time."""
        self._check_names(names)
        for part in range(self.layout.parts):
            yield pa.table(self._part(part, names))

    def rows(self, rows: NDArray[np.int64], names: Sequence[str] | None = None) -> pa.Table:
        """Some rows, in the order given."""
        wanted = self.names if names is None else list(names)
        self._check_names(wanted)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        bounds = np.searchsorted(ordered, self._bounds)

        def read(part: int) -> pa.Table:
            inside = ordered[bounds[part] : bounds[part + 1]]
            columns = pa.table(self._part(part, wanted))
            return columns.take(pa.array(inside - self._bounds[part]))

        with ThreadPoolExecutor(cores()) as threads:
            parts = list(threads.map(read, np.flatnonzero(np.diff(bounds)).tolist()))
        if not parts:
            return pa.schema([self.schema.field(name) for name in wanted]).empty_table()
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return _wide(pa.concat_tables(parts)).take(pa.array(back))

    def to_arrow(self) -> pa.Table:
        """Return the whole table in memory."""
        parts = list(self.read(self.names))
        return pa.concat_tables(parts) if parts else self.schema.empty_table()

    def _check_names(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.schema.names:
                raise DataworthError(f"{self.folder}: the table has no column {name!r}; {REMEDY}")

    def _part(self, part: int, names: Sequence[str]) -> dict[str, pa.Array]:
        """Columns of a part. RunError if a file is not what was written."""
        rows = int(self._facts[part]["rows"])
        wanted: dict[int, tuple[ColumnFolder, list[str]]] = {}
        for name in names:
            if name != DROP:
                folder, own = self._homes[name]
                wanted.setdefault(id(folder), (folder, []))[1].append(own)
        read: dict[int, dict[str, pa.Array]] = {}
        for place, (folder, own_names) in wanted.items():
            if folder is not self._documents:
                folder.check(part, rows, self._facts[part]["uids"])
            read[place] = folder.read(part, list(dict.fromkeys(own_names)), rows)
        if id(self._documents) in read:
            self._check_documents(part, read[id(self._documents)])
        out: dict[str, pa.Array] = {}
        for name in names:
            if name == DROP:
                out[name] = self._reasons(part, rows)
                continue
            folder, own = self._homes[name]
            out[name] = read[id(folder)][own]
            if name == TOKENS:
                sizes = np.asarray(out[name])
                out[name] = pa.array(estimated_tokens(sizes, self.layout.tokens_per_byte))
        return out

    def _check_documents(self, part: int, columns: Mapping[str, pa.Array]) -> None:
        """Raise RunError for columns that compiled code reads by, if they are of another type."""
        for name, values in columns.items():
            if values.type != _TYPES.get(name, values.type) or values.null_count:
                path = self._documents.files(part)[0]
                kind = _TYPES.get(name, values.type)
                raise RunError(f"{path}: column {name!r} is not {kind} throughout; {REMEDY}")

    def _reasons(self, part: int, rows: int) -> pa.Array:
        """Return the first drop reason of each document of a part, string [rows]."""
        reasons = pa.nulls(rows, pa.string())
        for folder in self._sources:
            folder.check(part, rows, self._facts[part]["uids"])
            if folder.dropped(part):
                own = folder.read(part, [DROP], rows)[DROP]
                reasons = pa.compute.coalesce(reasons, own)
        return reasons
