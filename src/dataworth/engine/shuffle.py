"""Records by key on disk: one file a unit, sorted, of which any range of keys is read alone.

A record is a row's number within its unit under one key, with whatever columns travel. Keys are
mixed by a bijection of 64 bits before they are sorted, so that any keys spread evenly, and the
sorting is the index: a bucket is a range of mixed keys, found in each file by binary search. How
many buckets there are is settled once all files are written, from how many records they hold, so
that no estimate can be wrong.

A unit's file holds one sorted run after another, each of bounded size: a unit of any size is
written in the same memory. Files are Arrow IPC, so a range is read without copying the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.engine.files import atomic, damaged

NO_KEY = 0
"""The key of a row that meets nobody."""

FINE = 12
"""Bits of a mixed key that name a fine bucket: no range that is counted is smaller."""

KEY, PLACE = "key", "place"
_M1, _M2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_I1, _I2 = pow(_M1, -1, 2**64), pow(_M2, -1, 2**64)

Carried = Mapping[str, pa.Array]


def mixed(key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return keys spread over 64 bits by the finaliser of SplitMix64, which is a bijection."""
    value = (key ^ (key >> np.uint64(30))) * np.uint64(_M1)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_M2)
    return value ^ (value >> np.uint64(31))


def unmixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the keys that `mixed` spread."""
    value = _unshifted(value, 31) * np.uint64(_I2)
    value = _unshifted(value, 27) * np.uint64(_I1)
    return _unshifted(value, 30)


def _unshifted(value: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """Invert `x ^ (x >> bits)`."""
    return np.asarray(value ^ (value >> np.uint64(bits)) ^ (value >> np.uint64(2 * bits)))


@dataclass(frozen=True)
class Keyed:
    """Some rows of a unit under their keys.

    `place` int64 [n]: the row's number within its unit; one that comes twice is there twice.
    `keys` uint64 [n, k], `NO_KEY` for none. `uid` uint64 [n]; `rank` float64 [n], less is better.
    `at` uint64 [n] or none: a number that finds the row again within its file.
    `rows`: how many rows the unit had up to the end of this block, those without a key too.
    """

    place: NDArray[np.int64]
    keys: NDArray[np.uint64]
    uid: NDArray[np.uint64]
    rank: NDArray[np.float64]
    rows: int
    carried: Carried = field(default_factory=dict)
    at: NDArray[np.uint64] | None = None


@dataclass
class Records:
    """Records in memory: mixed keys uint64 [m], rows [m], and what travels."""

    key: NDArray[np.uint64]
    row: NDArray[Any]
    carried: Carried

    def take(self, index: NDArray[Any]) -> Records:
        """Return some records, by index or mask."""
        where = np.flatnonzero(index) if index.dtype == np.bool_ else index
        carried = {name: values.take(pa.array(where)) for name, values in self.carried.items()}
        return Records(self.key[where], self.row[where], carried)


def write_unit(path: Path, blocks: Iterator[Keyed], memory: int) -> tuple[int, list[Keyed]]:
    """Write the records of a unit as runs of about `memory` bytes, sorted by mixed key.

    Returns how many rows the unit has, and the blocks without their keys and what travels.
    """
    rows, light = 0, []
    held: list[pa.RecordBatch] = []
    with atomic(path) as temporary, pa.OSFile(str(temporary), "wb") as file:
        writer: Any = None
        try:
            for block in blocks:
                rows = block.rows
                none = np.empty((0, block.keys.shape[1]), np.uint64)
                light.append(replace(block, keys=none, carried={}))
                if len(block.place):
                    held.append(_batch(block))
                if sum(batch.nbytes for batch in held) > memory:
                    writer = _write_run(file, writer, held)
            if held or writer is None:
                writer = _write_run(file, writer, held)
        finally:
            if writer is not None:
                writer.close()
    return rows, light


def _batch(block: Keyed) -> pa.RecordBatch:
    """One record for each key of each row, as columns, in no order."""
    wanted = block.keys != NO_KEY
    row, _ = np.nonzero(wanted)
    columns = {
        KEY: pa.array(mixed(block.keys[wanted])),
        PLACE: pa.array(block.place[row].astype(np.uint32)),
    }
    for name, values in block.carried.items():
        columns[name] = values.take(pa.array(row)) if len(row) != len(values) else values
    return pa.record_batch(columns)


def _write_run(file: Any, writer: Any, held: list[pa.RecordBatch]) -> Any:
    """Sort what is held, write it as one run, and forget it."""
    if not held:
        held.append(pa.record_batch({KEY: pa.array([], pa.uint64()), PLACE: _no_places()}))
    table = pa.Table.from_batches(held)
    held.clear()
    order = np.argsort(table[KEY].to_numpy(), kind="stable")
    # One record batch a run: combined before it is sorted, or it would come in pieces.
    table = table.combine_chunks().take(pa.array(order)).combine_chunks()
    writer = writer or pa.ipc.new_file(file, table.schema)
    for batch in table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]:
        writer.write_batch(batch)
    return writer


def _no_places() -> pa.Array:
    return pa.array([], pa.uint32())


@dataclass(frozen=True)
class Bucket:
    """Fine buckets `low` to before `high`, with `records` records of `size` bytes on disk."""

    index: int
    low: int
    high: int
    records: int
    size: int


@dataclass(frozen=True)
class Shuffle:
    """The files of all units. `firsts` int64 [units + 1]: the number of each unit's first row."""

    paths: tuple[Path, ...]
    firsts: NDArray[np.int64]

    @property
    def row_type(self) -> type[np.uint32 | np.uint64]:
        """The type of a row's number."""
        return np.uint32 if self.firsts[-1] < 1 << 32 else np.uint64

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Records of each fine bucket, int64 [4096]."""
        edges = np.arange(1 << FINE, dtype=np.uint64) << np.uint64(64 - FINE)
        counts = np.zeros(1 << FINE, np.int64)
        for path in self.paths:
            for key, _, _ in _runs(path):
                places = np.searchsorted(key, edges)
                counts += np.diff(np.append(places, len(key)))
        return counts

    @cached_property
    def record_bytes(self) -> float:
        """Bytes on disk of a record."""
        size = sum(path.stat().st_size for path in self.paths)
        return size / max(int(self.counts.sum()), 1)

    def buckets(self, most: int) -> list[Bucket]:
        """Return ranges of keys of at most `most` records each, unless a fine one has more."""
        buckets: list[Bucket] = []
        low = held = 0
        for place, count in enumerate([*self.counts.tolist(), most]):
            if held and held + count > most:
                size = round(held * self.record_bytes)
                buckets.append(Bucket(len(buckets), low, place, held, size))
                low, held = place, 0
            held += count
        return buckets

    def read(self, bucket: Bucket, at_once: int | None = None) -> Iterator[Records]:
        """Yield a bucket's records in the order of the units: all together, or so many at once."""
        held: list[Records] = []
        count = 0
        for path, first in zip(self.paths, self.firsts.tolist(), strict=False):
            for key, row_numbers, carried in _runs(path):
                start = int(np.searchsorted(key, np.uint64(bucket.low << (64 - FINE))))
                last = np.uint64((bucket.high << (64 - FINE)) - 1)
                stop = int(np.searchsorted(key, last, side="right"))
                step = at_once or max(stop - start, 1)
                for begin in range(start, stop, step):
                    end = min(begin + step, stop)
                    row = (row_numbers[begin:end] + np.uint64(first)).astype(self.row_type)
                    some = {name: copied(v.slice(begin, end - begin)) for name, v in carried}
                    held.append(Records(key[begin:end].copy(), row, some))
                    count += end - begin
                    if at_once and count >= at_once:
                        yield joined(held)
                        held, count = [], 0
        if held:
            yield joined(held)


def copied(values: pa.Array) -> pa.Array:
    """Return an array in memory of its own: a slice of a file would keep the file's pages."""
    return values.take(pa.array(np.arange(len(values)))) if len(values) else values


def joined(parts: Sequence[Records]) -> Records:
    """Return all records, one after another."""
    if len(parts) == 1:
        return parts[0]
    names = list(parts[0].carried)
    return Records(
        np.concatenate([part.key for part in parts]),
        np.concatenate([part.row for part in parts]),
        {name: pa.concat_arrays([part.carried[name] for part in parts]) for name in names},
    )


def _runs(
    path: Path,
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint32], list[tuple[str, pa.Array]]]]:
    """Yield each run's keys, places and what travels, mapped, not read."""
    with damaged(path), pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            if batch.num_rows:
                carried = [(n, batch[n]) for n in batch.schema.names if n not in (KEY, PLACE)]
                yield batch[KEY].to_numpy(), batch[PLACE].to_numpy(), carried
