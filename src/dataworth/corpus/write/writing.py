"""The chosen rows as shards, in their order, byte for byte what they were.

Rows may come in any order and from several threads; each knows its position in the output. What
is written depends on the rows and their positions alone.
"""

from __future__ import annotations

import itertools
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataworth.corpus.fields import Fields
from dataworth.corpus.files import flush, writing_to
from dataworth.corpus.read.ahead import ahead
from dataworth.corpus.read.formats import SourceFile
from dataworth.corpus.write import convert
from dataworth.corpus.write.shards import SPLIT, OutputFormat, Sink, check_format
from dataworth.corpus.write.spill import MOST_BUCKETS, POSITION, Spill, even_edges
from dataworth.errors import RunError

__all__ = [
    "Limits",
    "OutputFormat",
    "ShardInfo",
    "ShardWriter",
    "check_format",
    "default_format",
]

Rows: TypeAlias = pa.Table | pa.Array | Sequence[bytes]
"""Rows of Parquet, or JSON lines without their ends."""

_Ordered: TypeAlias = pa.Table | tuple[memoryview, int]
"""Rows in their order: of Parquet, or JSON lines with their ends and how many they are."""

_SLICE_BYTES: Final = 8 * 2**20
_COPIED_BYTES: Final = 256 * 2**20  # Arrow's strings hold 2 GB
_LINE: Final = "__dataworth_line__"
_NOTHING: Final = pa.scalar(b"", pa.large_binary())
_END: Final = pa.scalar(b"\n", pa.large_binary())
_LINES: Final = pa.schema([(_LINE, pa.large_binary())])


@dataclass(frozen=True)
class ShardInfo:
    """A shard as written: the name of its file, its rows, its bytes as stored and uncompressed
    (of Parquet: about what the rows take in memory)."""

    name: str
    rows: int
    bytes: int
    raw_bytes: int


def default_format(files: Sequence[SourceFile], fields: Fields | None = None) -> OutputFormat:
    """Parquet if all files of the pool are, else (and for pieces) compressed JSON lines."""
    if fields is not None and fields.split_words is not None:
        return "jsonl.zst"
    return "parquet" if files and all(f.format == "parquet" for f in files) else "jsonl.zst"


@dataclass(frozen=True)
class Limits:
    """Limits of sizes, in bytes, and of the threads that compress.

    `shard_bytes`: of a shard, uncompressed. `memory_bytes`: of rows held before they are written
    to the work folder. `bucket_bytes`: of rows put in order at a time.
    """

    shard_bytes: int = 256_000_000
    memory_bytes: int = 64 * 2**20
    bucket_bytes: int = 16 * 2**20
    threads: int = 1


class ShardWriter:
    """Writes rows into shards named like `train-00000-of-00008.jsonl.zst`.

    `folder`: where the shards go. `form`: their format. `total_rows`: how many rows will be added,
    with the positions 0 to total_rows - 1. `expected_bytes`: about how many bytes they have; a
    wrong guess costs time only. `work`: a folder for rows that await their turn. `schema`: that of
    all Parquet files of the pool together (`convert.parquet_schema`), needed to write Parquet from
    Parquet, None for pieces. `overwrite`: replaces the shards that are there.

    Use it as a context: `add` everything, then `finish`; a context that ends otherwise leaves
    nothing behind, and shards that were there stay. Raises RunError if there are shards already,
    DataworthError when the disk is full or cannot be written, ConfigError for an unknown format.
    """

    def __init__(
        self,
        folder: Path,
        form: str,
        *,
        total_rows: int,
        expected_bytes: int,
        work: Path,
        schema: pa.Schema | None = None,
        limits: Limits | None = None,
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self.form = check_format(form)
        self.limits = limits = limits or Limits()
        self._schema = schema
        self._schemas: dict[pa.Schema, int] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._sizes = np.full(total_rows, -1, np.int64)
        self._lock = threading.Lock()
        self._sinks: list[Sink] = []
        self._old = self._existing()
        if self._old and not overwrite:
            raise RunError(
                f"{folder}: holds a selection already ({self._old[0].name}); choose another "
                f"folder, or overwrite it (--overwrite, overwrite=True)"
            )
        with writing_to(work):
            work.mkdir(parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(prefix="spill-", dir=work))
        count = max(1, min(MOST_BUCKETS, -(-expected_bytes // limits.bucket_bytes), total_rows))
        self._spill = Spill(even_edges(0, total_rows, count), place, limits.memory_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove all that is not a finished shard."""
        for sink in self._sinks:
            sink.abandon()
        self._sinks = []
        self._spill.close()

    def add(
        self,
        positions: NDArray[np.int64],
        rows: Rows,
        *,
        index: NDArray[np.int64] | None = None,
        file: SourceFile | None = None,
    ) -> None:
        """Take over rows with their positions in the output, int64 [k]; safe in several threads.

        `rows`: a table, or JSON lines without their ends as bytes. `index` int64 [k]: which of the
        rows each position takes, for rows written several times; without it, one after another.
        `file`: where the rows are from; those of a text file are taken as texts and become
        {"text", "source"}. Raises InputError for what the output format cannot hold.
        """
        positions = np.asarray(positions, np.int64)
        if isinstance(rows, pa.Table) and self.form == "parquet":
            table, lines = self._known(rows), False
        else:
            table, lines = self._lines(rows, file), True
        count = len(table) if index is None else len(index)
        if count != len(positions):
            raise ValueError(f"{len(positions)} positions for {count} rows")
        if not count:
            return
        if positions.min() < 0:
            raise IndexError("a position is negative")
        if index is None:
            self._add(positions, table, lines=lines)
            return
        # Copies of a row are many times what was read: a part of them at a time.
        copies = int(np.bincount(index).max())
        step = count if table.nbytes * copies <= _COPIED_BYTES else _COPIED_BYTES // table.nbytes
        for low in range(0, count, max(1, step)):
            part = slice(low, low + max(1, step))
            self._add(positions[part], table.take(pa.array(index[part])), lines=lines)

    def _add(self, positions: NDArray[np.int64], table: pa.Table, *, lines: bool) -> None:
        if lines and self.form == "parquet":
            self._note_schema(positions, table.column(0))
        if lines:
            sizes = pc.binary_length(table.column(0)).to_numpy() + 1
        else:
            sizes = -(-table.nbytes // len(table))
        self._sizes[positions] = sizes
        self._spill.add(positions, table)

    def finish(self) -> list[ShardInfo]:
        """Write the shards and give them their names; return them in order.

        A selection without rows is one empty shard. Raises RunError when rows are missing, which
        means that the pool changed while it was read; InputError when fields do not fit.
        """
        missing = int(np.count_nonzero(self._sizes < 0))
        if missing:
            raise RunError(
                f"{missing} of the {len(self._sizes)} chosen rows were not found again: the pool "
                f"changed while it was read; run again on files that stay as they are"
            )
        schema = self._final_schema()
        with writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        edges, raw = self._shard_edges()
        stored = self._write(edges, schema)
        infos = []
        with writing_to(self.folder):
            for number, sink in enumerate(self._sinks):
                name = f"{SPLIT}-{number:05d}-of-{len(self._sinks):05d}.{self.form}"
                sink.temporary.replace(self.folder / name)
                infos.append(ShardInfo(name, sink.rows, stored[number], raw[number]))
            for path in self._old:
                if path.name not in {info.name for info in infos}:
                    path.unlink()
            flush(self.folder)
        self._sinks = []
        self.close()
        return infos

    def _existing(self) -> list[Path]:
        """Shards of an earlier selection; what a crash left under temporary names is removed."""
        if not self.folder.is_dir():
            return []
        name = rf"{SPLIT}-\d{{5}}"
        shard = re.compile(rf"{name}-of-\d{{5}}\.(jsonl(\.gz|\.zst)?|parquet)")
        left = re.compile(rf"\.{name}\.\d+-[0-9a-f]+\.tmp")
        old = []
        for path in sorted(self.folder.iterdir()):
            if shard.fullmatch(path.name):
                old.append(path)
            elif left.fullmatch(path.name):
                path.unlink()
        return old

    def _known(self, table: pa.Table) -> pa.Table:
        """Return a table, all of whose columns the schema has."""
        if self._schema is None:
            raise ValueError("to write Parquet from Parquet, give the schema of all files")
        new = sorted(set(table.column_names) - set(self._schema.names))
        if new:
            raise RunError(
                f"column {new[0]!r} was not in the pool's Parquet files when the run began; run "
                f"again on files that stay as they are"
            )
        return table

    def _lines(self, rows: Rows, file: SourceFile | None) -> pa.Table:
        """Rows as a table of JSON lines."""
        if isinstance(rows, pa.Table):
            rows = convert.json_lines(rows)
        elif file is not None and file.format == "txt":
            texts = rows.to_pylist() if isinstance(rows, pa.Array) else rows
            rows = convert.text_rows(texts, file.path)
        column = rows if isinstance(rows, pa.Array) else pa.array(rows, pa.large_binary())
        return pa.Table.from_arrays([column.cast(pa.large_binary())], schema=_LINES)

    def _note_schema(self, positions: NDArray[np.int64], column: pa.ChunkedArray) -> None:
        """Keep the schema of JSON rows and the first position each field is seen at."""
        order = np.argsort(positions)
        schema, first = convert.infer_schema(column.take(pa.array(order)).to_pylist())
        seen = {name: (int(positions[order[row]]), key) for name, (row, key) in first.items()}
        with self._lock:
            low = int(positions[order[0]])
            self._schemas[schema] = min(low, self._schemas.get(schema, low))
            for name, place in seen.items():
                self._seen[name] = min(place, self._seen.get(name, place))

    def _final_schema(self) -> pa.Schema | None:
        """Return a schema that fits all rows: the Parquet files' columns, then fields of JSON rows.

        Its order comes from the rows' positions, not from the threads'.
        """
        if self.form != "parquet":
            return None
        named = [] if self._schema is None else [("the Parquet files", self._schema)]
        noted = sorted(self._schemas.items(), key=lambda item: (item[1], str(item[0])))
        named += [("the JSON rows", schema) for schema, _ in noted]
        schema = convert.unify(named) if named else pa.schema([("text", pa.string())])
        convert.check_writable(schema)
        known = 0 if self._schema is None else len(self._schema)
        further = sorted(list(schema)[known:], key=lambda f: self._seen.get(f.name, (-1, 0)))
        return pa.schema([*list(schema)[:known], *further], schema.metadata)

    def _shard_edges(self) -> tuple[list[int], list[int]]:
        """Return the positions between shards, and the uncompressed bytes of each shard.

        Shards have about even sizes. Turns the rows' sizes into their running sum.
        """
        ends = np.cumsum(self._sizes, out=self._sizes)
        rows, total = len(ends), int(ends[-1]) if len(ends) else 0
        count = max(1, -(-total // self.limits.shard_bytes))
        wanted = np.array([total * number // count for number in range(1, count)], np.int64)
        inner = np.searchsorted(ends, wanted, side="right")
        edges = sorted({0, rows, *inner.tolist()}) if rows else [0, 0]
        sums = [int(ends[edge - 1]) if edge else 0 for edge in edges]
        return edges, [high - low for low, high in itertools.pairwise(sums)]

    def _write(self, edges: list[int], schema: pa.Schema | None) -> list[int]:
        """Write all shards under temporary names; return their bytes as stored."""
        stored: list[int] = []
        sink = self._open(0, schema)
        # Rows are put in order while those before them are compressed.
        for shard, rows in ahead(self._in_order(edges, schema)):
            while shard > len(stored):
                stored.append(sink.finish())
                sink = self._open(len(stored), schema)
            if isinstance(rows, pa.Table):
                sink.write_table(rows)
            else:
                sink.write_lines(*rows)
        stored.append(sink.finish())
        return stored

    def _in_order(
        self, edges: list[int], schema: pa.Schema | None
    ) -> Iterator[tuple[int, _Ordered]]:
        """All rows by position, some at a time, each time with the number of their shard."""
        shard = 0
        for low, high, tables in self._spill.buckets(self.limits.bucket_bytes):
            if low == high:
                continue
            bucket = _Bucket(tables, schema)
            at = low
            while at < high:
                shard += at == edges[shard + 1]
                end = min(high, edges[shard + 1])
                for rows in bucket.rows(at - low, end - low):
                    yield shard, rows
                at = end

    def _open(self, shard: int, schema: pa.Schema | None) -> Sink:
        path = self.folder / f"{SPLIT}-{shard:05d}"
        sink = Sink(path, self.form, schema, self.limits.threads)
        self._sinks.append(sink)
        return sink


class _Bucket:
    """The rows of a bucket, to be written in the order of their positions."""

    def __init__(self, tables: list[pa.Table], schema: pa.Schema | None) -> None:
        self._schema = schema
        if schema is not None:
            wide = schema.insert(0, pa.field(POSITION, pa.int64()))
            tables = [_typed(table, wide) for table in tables]
        table = pa.concat_tables(tables).combine_chunks()
        tables.clear()
        self._order = np.argsort(table.column(POSITION).to_numpy(), kind="stable")
        self._table = table.drop_columns([POSITION])

    def rows(self, start: int, end: int) -> Iterator[_Ordered]:
        """Yield the rows [start, end) of the order."""
        if self._schema is not None:
            yield self._table.take(pa.array(self._order[start:end]))
            return
        for low, high in self._slices(start, end):
            lines = self._table.column(0).chunk(0).take(pa.array(self._order[low:high]))
            # Joined by Arrow, whose buffer then is the text of the lines: no Python objects.
            ended = pc.binary_join_element_wise(lines, _NOTHING, _END)
            offsets = np.frombuffer(ended.buffers()[1], np.int64)[ended.offset :]
            text = ended.buffers()[2].slice(int(offsets[0]), int(offsets[high - low] - offsets[0]))
            yield memoryview(text), high - low

    def _slices(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Ranges of rows of some megabytes."""
        step = max(1, len(self._order) * _SLICE_BYTES // max(1, self._table.nbytes))
        for low in range(start, end, step):
            yield low, min(end, low + step)


def _typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of Parquet or JSON lines, with their positions, as rows of a schema."""
    if table.column_names == [POSITION, _LINE]:
        rows = convert.table_of(table.column(1).to_pylist(), schema.remove(0))
        return rows.add_column(0, schema.field(0), table.column(0))
    return convert.conform(table, schema)
