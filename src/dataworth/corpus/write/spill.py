"""Rows put in order without holding them all: buckets of positions, in memory or on disk.

Rows come in any order, each with its position in the output. They are kept by bucket, a range of
positions, until they are too many; then every bucket is appended to a file of its own. Read back
bucket by bucket, they are few enough to be sorted in memory. A bucket that became too large for
that is spilled again, into finer ones.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.files import writing_to

POSITION: Final = "__dataworth_position__"
"""The column that holds a row's position, int64; the first of every table in here."""

MOST_BUCKETS: Final = 256
"""At most so many files are written in turn; larger selections take a second pass."""


def even_edges(low: int, high: int, count: int) -> NDArray[np.int64]:
    """Return the edges of `count` even ranges of [low, high), int64 [count + 1]."""
    return low + (high - low) * np.arange(count + 1, dtype=np.int64) // max(1, count)


class Spill:
    """Rows by position; safe to add to from several threads.

    `edges` int64 [buckets + 1]: bucket b holds the positions [edges[b], edges[b + 1]).
    `folder` is made when the first bucket is written, and belongs to this object alone.
    `memory_bytes`: what is held before everything is written out.
    """

    def __init__(self, edges: NDArray[np.int64], folder: Path, memory_bytes: int) -> None:
        self.edges = edges
        self.folder = folder
        self.memory_bytes = memory_bytes
        count = len(edges) - 1
        self._held: list[list[pa.Table]] = [[] for _ in range(count)]
        self._held_bytes = 0
        self._bytes = np.zeros(count, np.int64)
        self._on_disk = np.zeros(count, np.bool_)
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    def add(self, positions: NDArray[np.int64], rows: pa.Table) -> None:
        """Take over rows, copied, each with its position (int64 [len(rows)])."""
        order = np.argsort(positions, kind="stable")
        positions = positions[order]
        rows = rows.take(pa.array(order)).replace_schema_metadata(None)
        rows = rows.add_column(0, POSITION, pa.array(positions))
        cuts = np.searchsorted(positions, self.edges)
        parts = [
            (int(bucket), rows.slice(cuts[bucket], cuts[bucket + 1] - cuts[bucket]))
            for bucket in np.flatnonzero(cuts[1:] > cuts[:-1])
        ]
        with self._lock:
            for bucket, part in parts:
                self._held[bucket].append(part)
                self._bytes[bucket] += part.nbytes
                self._held_bytes += part.nbytes
            full = self._held_bytes > self.memory_bytes
            if full:
                held, self._held = self._held, [[] for _ in self._held]
                size, self._held_bytes = self._held_bytes, 0
        if full:
            # Others go on meanwhile, until they have as much again.
            with self._writing:
                self._flush(held, size)

    def buckets(self, limit: int) -> Iterator[tuple[int, int, list[pa.Table]]]:
        """Ranges of positions in order: their first, their end and their rows in no order.

        A range takes up to about twice `limit` bytes, unless one row alone takes more. What was
        given out is let go of.
        """
        for bucket in range(len(self._held)):
            low, high = int(self.edges[bucket]), int(self.edges[bucket + 1])
            size = int(self._bytes[bucket])
            if size > 2 * limit and high - low > 1:
                count = min(MOST_BUCKETS, -(-size // limit), high - low)
                folder = self.folder / f"{bucket:05d}.finer"
                finer = Spill(even_edges(low, high, count), folder, self.memory_bytes)
                for table in self._take(bucket):
                    finer.add(table.column(POSITION).to_numpy(), table.drop_columns([POSITION]))
                yield from finer.buckets(limit)
            else:
                yield low, high, list(self._take(bucket))

    def close(self) -> None:
        """Remove what was written to disk."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, bucket: int) -> Path:
        return self.folder / f"{bucket:05d}.arrow"

    def _flush(self, held: list[list[pa.Table]], size: int) -> None:
        """Append rows to their buckets' files; one Arrow stream a schema, one after another."""
        with writing_to(self.folder, float(size)):
            self.folder.mkdir(parents=True, exist_ok=True)
            for bucket, parts in enumerate(held):
                if not parts:
                    continue
                by_schema: dict[pa.Schema, list[pa.Table]] = {}
                while parts:
                    table = parts.pop(0)
                    by_schema.setdefault(table.schema, []).append(table)
                with self._path(bucket).open("ab") as file:
                    for schema, tables in by_schema.items():
                        # In one piece: reading many small ones takes longer than the copy.
                        table = pa.concat_tables(tables).combine_chunks()
                        tables.clear()
                        with pa.ipc.new_stream(file, schema) as stream:
                            stream.write_table(table)
                self._on_disk[bucket] = True

    def _take(self, bucket: int) -> Iterator[pa.Table]:
        """Yield the rows of a bucket, in memory and on disk, let go of as they are given out."""
        held, self._held[bucket] = self._held[bucket], []
        while held:
            yield held.pop()
        if self._on_disk[bucket]:
            path = self._path(bucket)
            with pa.OSFile(str(path)) as file:
                size = file.size()
                while file.tell() < size:
                    for batch in pa.ipc.open_stream(file):
                        yield pa.Table.from_batches([batch])
            path.unlink()
