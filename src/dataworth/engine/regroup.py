"""The verb `regroup`: rows that share a key meet, out of core, with what they carry.

Two passes over `Engine.map`. The first spills: each unit's rows go to one file of records sorted by
key (`shuffle.py`). The second resolves: each bucket, a range of keys that fits in memory, is read
from all files, its rows are put together by key and handed over, many groups at once, to a function
that answers with columns of these rows or with pairs of them (`grouping.py`). One file a unit and
one a bucket, each under its final name only when it is whole: a file that is there is done, and a
run that was killed goes on and leaves the same bytes. Pairs are closed to connected components by
`components.py`.

What is decided depends on texts: rows of a group come by (rank, uid), a rank being declared by who
asks; row numbers only tell copies of one text apart. Buckets depend on the records and on `memory`,
not on the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.units import Unit
from dataworth.engine.components import close_pairs, row_type
from dataworth.engine.files import atomic, damaged, read_array
from dataworth.engine.grouping import Groups, Pairs, Rows, grouped, pieces
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress
from dataworth.engine.shuffle import Bucket, Keyed, Records, Shuffle, copied, write_unit

MEMORY = 128 * 2**20
"""Bytes that one worker takes for a bucket, about."""

_RECORD = 64  # bytes of memory for each record of a bucket, beside what it carries
_ON_DISK = 12  # bytes of each record, beside what it carries
ROW, OTHER = "row", "other"

Columns = Mapping[str, pa.Array]
Spills = Callable[[Unit, Tick], Iterator[Keyed]]
Decides = Callable[[Groups], Columns | Pairs]


def scratch_bytes(rows: int, keys: int, carried: float = 0) -> int:
    """Return the room on disk that a regroup of so many rows takes at most, until it is removed.

    Parameters
    ----------
    rows, keys
        Rows of the pool and keys of each.
    carried
        Bytes that travel with each row.
    """
    # Records; facts of each row, by unit and all together; the closing; pairs.
    return int(rows * (keys * (_ON_DISK + carried) + 24 + 16 + 8 + keys * 16))


@dataclass(frozen=True)
class Regrouped:
    """The results of a regroup, on disk, and the `rows` that it numbered.

    `firsts` int64 [units + 1]: the number of each unit's first row.
    """

    firsts: NDArray[np.int64]
    rows: Rows
    results: tuple[Path, ...]
    folder: Path

    def facts(self, unit: int) -> NDArray[Any]:
        """Return `uid`, `rank` and `at` of a unit's rows, [n]; the rank of one left out is NaN."""
        return read_array(row_file(self.folder, unit), mapped=True)

    def pairs(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield the pairs of each bucket, (row [p], other [p])."""
        for path in self.results:
            with damaged(path), pa.memory_map(str(path)) as source:
                batch = pa.ipc.open_file(source).get_batch(0)
                if batch.num_rows:
                    yield batch[ROW].to_numpy(), batch[OTHER].to_numpy()

    def pairs_of(self, unit: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a unit's rows and their partners, each pair once, sorted; of mirrored pairs."""
        low, high = self.firsts[unit], self.firsts[unit + 1]
        kind = row_type(int(self.firsts[-1]))
        parts = [np.empty((0, 2), kind)]
        for row, other in self.pairs():
            span = slice(*np.searchsorted(row, [kind(low), kind(high)]))
            parts.append(np.stack([row[span], other[span]], 1))
        found = np.concatenate(parts)
        return _unique(found[:, 0], found[:, 1])

    def answers(self, unit: int) -> tuple[NDArray[np.int64], dict[str, pa.Array]]:
        """Return all that was said of a unit's rows: the row within the unit [m], columns [m]."""
        low, high = int(self.firsts[unit]), int(self.firsts[unit + 1])
        parts = []
        for path in self.results:
            with damaged(path), pa.memory_map(str(path)) as source:
                batch = pa.ipc.open_file(source).get_batch(0)
                row = batch[ROW].to_numpy()
                span = np.searchsorted(row, np.array([low, high], row.dtype))
                if len(batch.schema) > 1:
                    part = batch.slice(int(span[0]), int(span[1] - span[0]))
                    parts.append(pa.table({n: copied(part[n]) for n in part.schema.names}))
        if not parts:
            return np.empty(0, np.int64), {}
        table = pa.concat_tables(parts).combine_chunks()
        columns = {n: table[n].combine_chunks() for n in table.column_names if n != ROW}
        return table[ROW].to_numpy().astype(np.int64) - low, columns

    def columns(self, unit: int) -> dict[str, pa.Array]:
        """Return the columns of a unit, a row for each of its rows; null where nothing was said."""
        rows, answers = self.answers(unit)
        place = np.full(int(self.firsts[unit + 1] - self.firsts[unit]), -1, np.int64)
        place[rows] = np.arange(len(rows))
        index = pa.array(place, mask=place < 0)
        return {name: values.take(index) for name, values in answers.items()}

    def components(self) -> NDArray[Any]:
        """Return the best row of each row's component, [rows], mapped from a file."""
        return close_pairs(self.pairs(), self.rows.rank, self.rows.uid, self.folder / "components")


@dataclass(frozen=True)
class _Spill:
    """The work on one unit: its records, and what is known of its rows."""

    spills: Spills
    folder: Path
    memory: int

    def __call__(self, unit: Unit, tick: Tick) -> None:
        rows, light = write_unit(
            record_file(self.folder, unit.index), self.spills(unit, tick), self.memory
        )
        facts = np.zeros(rows, [("uid", np.uint64), ("rank", np.float64), ("at", np.uint64)])
        facts["rank"] = np.nan  # of rows that are left out
        for block in light:
            if block.at is not None:
                facts["at"][block.place] = block.at
            facts["uid"][block.place] = block.uid
            facts["rank"][block.place] = block.rank
        with atomic(row_file(self.folder, unit.index)) as path, path.open("wb") as file:
            np.save(file, facts)


def record_file(folder: Path, unit: int) -> Path:
    """Return where the records of a unit lie."""
    return folder / "records" / f"{unit:05d}.arrow"


def row_file(folder: Path, unit: int) -> Path:
    """Return where uid, rank and place of a unit's rows lie: written last, so it is done."""
    return folder / "rows" / f"{unit:05d}.npy"


@dataclass(frozen=True)
class _Resolve:
    """The work on one bucket: its groups handed over, the answer in a file."""

    shuffle: Shuffle
    rows: Rows
    decides: Decides
    folder: Path
    most: int
    singles: bool
    mirrored: bool

    def __call__(self, bucket: Bucket, tick: Tick) -> None:
        uid, rank = self.rows.uid, self.rows.rank
        answers: list[dict[str, pa.Array]] = []
        if bucket.records <= self.most:
            parts: Iterator[tuple[Records, NDArray[np.bool_] | None]] = (
                (part, None) for part in self.shuffle.read(bucket)
            )
        else:
            parts = pieces(self.shuffle, bucket, self.most, self.rows)
        for records, own in parts:
            tick(0, 0)
            groups, mine = grouped(records, own, uid, rank, self.singles)
            if len(groups):
                answers.append(self._answer(groups, mine))
        self._write(bucket_file(self.folder, bucket.index), answers)

    def _answer(self, groups: Groups, own: NDArray[np.bool_] | None) -> dict[str, pa.Array]:
        answer = self.decides(groups)
        if isinstance(answer, Pairs):
            first = np.minimum(answer.first, answer.second)
            second = np.maximum(answer.first, answer.second)
            differ = first != second
            first, second = first[differ], second[differ]
            if self.mirrored:
                first, second = np.append(first, second), np.append(second, first)
            first, second = _unique(first, second)
            return {ROW: pa.array(first), OTHER: pa.array(second)}
        mine = np.ones(len(groups.row), np.bool_) if own is None else own
        columns = {ROW: pa.array(groups.row), **answer}
        return {name: values.filter(pa.array(mine)) for name, values in columns.items()}

    def _write(self, path: Path, answers: list[dict[str, pa.Array]]) -> None:
        table = pa.concat_tables(
            [pa.table(answer) for answer in answers] or [pa.table({ROW: pa.array([], pa.uint64())})]
        ).combine_chunks()
        if OTHER in table.column_names and len(answers) > 1:
            first, second = _unique(table[ROW].to_numpy(), table[OTHER].to_numpy())
            table = pa.table({ROW: first, OTHER: second})
        elif OTHER not in table.column_names:
            table = table.take(pa.array(np.argsort(table[ROW].to_numpy(), kind="stable")))
        batches = table.combine_chunks().to_batches()
        batch = batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)
        with (
            atomic(path) as temporary,
            pa.OSFile(str(temporary), "wb") as file,
            pa.ipc.new_file(file, table.schema) as writer,
        ):
            writer.write_batch(batch)


def bucket_file(folder: Path, bucket: int) -> Path:
    """Return where the answers about a bucket lie."""
    return folder / "buckets" / f"{bucket:05d}.arrow"


def _unique(first: NDArray[Any], second: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pairs once each, sorted."""
    if first.dtype == np.uint32:
        packed = np.unique((first.astype(np.uint64) << np.uint64(32)) | second)
        return (packed >> np.uint64(32)).astype(np.uint32), packed.astype(np.uint32)
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    new = np.ones(len(first), np.bool_)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[new], second[new]


def _number(folder: Path, units: Sequence[Unit]) -> tuple[NDArray[np.int64], Rows]:
    """Return the units' first rows, and the facts of all rows in two files."""
    parts = [read_array(row_file(folder, unit.index), mapped=True) for unit in units]
    firsts = np.concatenate([[0], np.cumsum([len(batch) for batch in parts])]).astype(np.int64)
    for name, kind in (("uid", np.uint64), ("rank", np.float64)):
        path = folder / f"{name}.npy"
        if not path.is_file():
            with atomic(path) as temporary:
                shape = (int(firsts[-1]),)
                with temporary.open("wb") as file:
                    header = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    for batch in parts:
                        np.ascontiguousarray(batch[name]).tofile(file)
    return firsts, Rows(folder)


def regroup(
    units: Sequence[Unit],
    spills: Spills,
    decides: Decides,
    folder: Path,
    engine: Engine,
    *,
    known: Regrouped | None = None,
    singles: bool = False,
    mirrored: bool = False,
    memory: int = MEMORY,
    progress: Progress | None = None,
    name: str = "regroup",
) -> Regrouped:
    """Let rows of a pool meet that share a key, and keep what is decided about them.

    Parameters
    ----------
    units
        The pool's units, whose indices count from 0.
    spills
        Unit → blocks of its rows under their keys. Called in a worker, so it can be pickled.
    decides
        Many groups → columns of their rows, [m], or pairs. Called in a worker.
    folder
        Scratch, which survives a kill; whoever asked removes it. See `scratch_bytes`.
    engine
        Where the work runs.
    known
        An earlier regroup that numbered the same rows; ranks and uids are taken from it.
    singles
        Hand over groups of one row too.
    mirrored
        Keep each pair both ways, for `Regrouped.pairs_of`.
    memory
        Bytes that a worker may take, about.
    progress, name
        What is shown meanwhile.

    Returns
    -------
    Regrouped
        The answers, on disk.
    """
    missing = [unit for unit in units if not row_file(folder, unit.index).is_file()]
    for _ in engine.map(_Spill(spills, folder, memory // 4), missing, progress=progress, name=name):
        pass
    firsts, rows = (known.firsts, known.rows) if known else _number(folder, units)
    shuffle = Shuffle(tuple(record_file(folder, unit.index) for unit in units), firsts)
    carried = max(shuffle.record_bytes - _ON_DISK, 0)
    most = max(int(memory / (_RECORD + 2 * carried)), 1)
    buckets = shuffle.buckets(most)
    work = _Resolve(shuffle, rows, decides, folder, most, singles, mirrored)
    left = [one for one in buckets if not bucket_file(folder, one.index).is_file()]
    for _ in engine.map(work, left, progress=progress, name=name):
        pass
    results = tuple(bucket_file(folder, bucket.index) for bucket in buckets)
    return Regrouped(firsts, rows, results, folder)
