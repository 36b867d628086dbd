"""Steps that compare documents: run over a pool, and looked up while its documents are scored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.units import Unit
from dataworth.engine.files import (
    atomic_folder,
    damaged,
    read_object,
    read_parquet,
    write_parquet,
)
from dataworth.engine.grouping import Groups, Pairs
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress
from dataworth.engine.regroup import MEMORY, Columns, Regrouped, regroup
from dataworth.engine.shuffle import Keyed
from dataworth.errors import ConfigError, DataworthError
from dataworth.methods.base import (
    DROP,
    Batch,
    CrossDocument,
    Pool,
    State,
    Step,
    Targets,
    Verifies,
    kept_by,
)
from dataworth.methods.fitted import Fitted
from dataworth.methods.state import FILE

UID, AT = "uid", "at"
_PIECES = 20  # bits of the number that finds a document again: its piece of the row
_AT_ONCE = 1 << 16  # pairs whose rows are copied together
_SCRATCH = ".scratch_bytes"  # beside the decisions, of which it is no part
_REMEDY = "delete its folder and run the same command again"


def _state(folder: Path) -> State:
    return _read_state(folder, (folder / FILE).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read_state(folder: Path, written: int) -> State:
    return State.load(folder)


def _at(documents: Documents) -> NDArray[np.uint64]:
    """Return a number that finds each document again within its file, [n]."""
    at = documents.offset.astype(np.uint64) << np.uint64(_PIECES)
    if "piece" in documents.columns:
        at += np.asarray(documents.columns["piece"]).astype(np.uint64)
    return at


def _carried(step: CrossDocument, batch: Batch) -> dict[str, pa.Array]:
    return {w if isinstance(w, str) else w.name: batch.arrow(w) for w in step.carries}


@dataclass(frozen=True)
class _Keys:
    """Unit → the keys of the documents that the steps before leave."""

    corpus: Corpus
    before: tuple[Fitted, ...]
    step: CrossDocument
    state: Path

    def __call__(self, unit: Unit, tick: Tick) -> Iterator[Keyed]:
        state = _state(self.state)
        self.corpus.check_unchanged([unit.file_index])
        rows = 0
        for block in self.corpus.blocks(unit):
            documents, place = block.documents, rows + np.arange(len(block.documents))
            rows += len(place)
            for fitted in self.before:
                kept = kept_by(fitted.annotate(documents))
                documents, place = documents.take(kept), place[kept]
            yield self._keyed(documents, place, rows, state)
            tick(len(block.documents), block.raw_bytes)
        self.corpus.check_unchanged([unit.file_index])

    def _keyed(self, documents: Documents, place: Any, rows: int, state: State) -> Keyed:
        batch = Batch(documents)
        carried = {} if isinstance(self.step, Verifies) else _carried(self.step, batch)
        keys = self.step.keys(batch, state)
        if carried and keys.shape[1] != 1:
            raise ConfigError(
                f"{self.step.name}: what it carries travels with one key for each document, or "
                "with pairs that it verifies"
            )
        rank = np.asarray(self.step.rank(batch, state), np.float64)
        if np.isnan(rank).any():  # which says of a row that a step before dropped it
            raise DataworthError(f"{self.step.name}: `rank` gave a number that is none (NaN)")
        return Keyed(place, keys, documents.uid, rank, rows, carried, _at(documents))


@dataclass(frozen=True)
class _Candidates:
    """Unit → its documents under the pairs that they are candidates of, with what they carry."""

    corpus: Corpus
    step: CrossDocument
    first: Regrouped

    def __call__(self, unit: Unit, tick: Tick) -> Iterator[Keyed]:
        row, other = self.first.pairs_of(unit.index)
        if not len(row):
            return
        low, total = self.first.firsts[unit.index], np.uint64(self.first.firsts[-1])
        # Exact below 2^32 rows; beyond, two pairs that share a number are left out.
        key = np.minimum(row, other).astype(np.uint64) * total + np.maximum(row, other)
        place = row.astype(np.int64) - low
        rows = 0
        for block in self.corpus.blocks(unit):
            start, stop = np.searchsorted(place, [rows, rows + len(block.documents)])
            wanted, index = np.unique(place[start:stop], return_inverse=True)
            documents = block.documents.take(wanted - rows)
            rows += len(block.documents)
            carried = _carried(self.step, Batch(documents)) if len(wanted) else {}
            for begin in range(0, len(index), _AT_ONCE):
                some = index[begin : begin + _AT_ONCE]
                yield Keyed(
                    wanted[some],
                    key[start + begin : start + begin + len(some), None],
                    documents.uid[some],
                    np.zeros(len(some)),
                    rows,
                    {name: values.take(pa.array(some)) for name, values in carried.items()},
                )
            tick(len(block.documents), block.raw_bytes)


@dataclass(frozen=True)
class _Decide:
    """Groups → what the step says of them; of candidates, the pairs that hold."""

    step: CrossDocument
    state: Path
    candidates: bool = False

    def __call__(self, groups: Groups) -> Columns | Pairs:
        state = _state(self.state)
        if not self.candidates or not isinstance(self.step, Verifies):
            return self.step.resolve(groups, state)
        if (groups.sizes != 2).any():
            groups = groups.take(groups.sizes == 2)
        holds = self.step.verify(groups, state)
        return Pairs(groups.row[0::2][holds], groups.row[1::2][holds])


def run_cross_document(
    step: CrossDocument,
    state: State,
    corpus: Corpus,
    engine: Engine,
    scratch: Path,
    *,
    before: Sequence[Fitted] = (),
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Iterator[pa.Table]:
    """Yield the columns of a step that compares documents, unit by unit.

    Parameters
    ----------
    step, state
        The step and what its `fit` returned.
    corpus
        The pool: its units, and how the documents of a unit are read.
    engine
        Where the work runs.
    scratch
        A folder for what is under way. It survives a kill, and the same call goes on from it;
        whoever called removes it.
    before
        Fitted steps; documents that they drop take no part.
    memory
        Bytes that a worker may take for documents that meet, about.
    progress
        What is shown meanwhile.

    Yields
    ------
    pyarrow.Table
        A row for each document of the unit, in order: `uid`; `at`, which finds it again in its
        file; and the step's columns. All are null where a step before dropped it.
    """
    if not (scratch / "state" / FILE).is_file():
        with atomic_folder(scratch / "state") as temporary:
            state.save(temporary)
    keys = _Keys(corpus, tuple(before), step, scratch / "state")
    verifies = isinstance(step, Verifies)
    first = found = regroup(
        corpus.units,
        keys,
        _Decide(step, scratch / "state"),
        scratch / "keys",
        engine,
        singles=step.answers == "columns",
        mirrored=verifies,
        memory=memory,
        progress=progress,
        name=step.name,
    )
    if verifies:
        found = regroup(
            corpus.units,
            _Candidates(corpus, step, first),
            _Decide(step, scratch / "state", candidates=True),
            scratch / "pairs",
            engine,
            known=first,
            memory=memory,
            progress=progress,
            name=step.name,
        )
    best = found.components() if step.answers == "pairs" else None
    for unit in corpus.units:
        yield _columns(step, first, found, best, unit.index)


def _columns(
    step: CrossDocument, first: Regrouped, found: Regrouped, best: Any, unit: int
) -> pa.Table:
    facts = first.facts(unit)
    columns = step.columns(())
    out = np.isnan(facts["rank"])
    if best is not None:
        rows = np.arange(first.firsts[unit], first.firsts[unit + 1])
        roots = best[rows[0] : rows[-1] + 1] if len(rows) else rows
        found_columns = {
            column.name: pa.array(
                (roots != rows).astype(np.uint8) if column.name == DROP else first.rows.uid[roots]
            )
            for column in columns
        }
    else:
        found_columns = found.columns(unit)
    table = {name: pa.array(np.ascontiguousarray(facts[name]), mask=out) for name in (UID, AT)}
    for column in columns:
        values = found_columns.get(column.name, pa.nulls(len(facts)))
        if column.name == DROP:
            # Code 0 is no reason.
            codes = values.cast(pa.int32()).fill_null(0)
            values = pa.array([None, *step.reasons], pa.string()).take(codes)
        masked = pc.if_else(pa.array(~out), values, None)
        table[column.name] = masked.cast(column.type)
    return pa.table(table)


class Resolved(Fitted):
    """A step that compared the documents of a pool: its decisions, looked up by place and uid.

    Its folder holds a Parquet file for each unit, by place. A document that is not of the pool is
    kept, and its columns are null.
    """

    @classmethod
    def load(cls, step: Any, folder: Path) -> Resolved:
        """Return the decisions in a folder. RunError names the file if it is damaged."""
        with damaged(folder, _REMEDY):
            units = np.array(read_object(folder / FILE, _REMEDY)["units"], np.uint64).reshape(-1, 3)
            units = units[np.lexsort((units[:, 1], units[:, 0]))]
        return cls(step, State({"units": units}, folder=folder))

    @property
    def _units(self) -> NDArray[np.uint64]:
        units: NDArray[np.uint64] = self.state["units"]
        return units

    @property
    def decisions(self) -> Path:
        """The folder of the decisions."""
        assert self.state.folder is not None
        return self.state.folder

    def compute(self, documents: Documents) -> pa.RecordBatch:
        """Return the decisions about these documents."""
        at = _at(documents)
        units = np.full(len(documents), -1, np.int64)
        for file in np.unique(documents.file).tolist():
            own, mine = self._units[self._units[:, 0] == file], documents.file == file
            place = np.searchsorted(own[:, 1], at[mine], side="right") - 1
            numbers = np.append(own[:, 2].astype(np.int64), -1)  # -1, the last: before the first
            units[mine] = numbers[place]
        order, parts = [], [pa.schema([(c.name, c.type) for c in self.raw]).empty_table()]
        for unit in np.unique(units[units >= 0]).tolist():
            rows = np.flatnonzero(units == unit)
            table = _decisions(self.decisions / f"{unit:05d}.parquet")
            known = table[AT].to_numpy()
            place = np.minimum(np.searchsorted(known, at[rows]), len(known) - 1)
            same = (known[place] == at[rows]) & (
                table[UID].to_numpy()[place] == documents.uid[rows]
            )
            order.append(rows[same])
            parts.append(table.select([c.name for c in self.raw]).take(pa.array(place[same])))
        place = np.full(len(documents), -1, np.int64)
        if order:
            place[np.concatenate(order)] = np.arange(sum(map(len, order)))
        found = pa.concat_tables(parts).take(pa.array(place, mask=place < 0)).combine_chunks()
        batches = found.to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], found.schema)

    def save(self, folder: Path) -> None:
        """Copy the decisions."""
        shutil.copytree(self.decisions, folder, dirs_exist_ok=True)


def _decisions(path: Path) -> pa.Table:
    with damaged(path, _REMEDY):
        written = path.stat().st_mtime_ns
    return _read_decisions(path, written)


@lru_cache(maxsize=8)
def _read_decisions(path: Path, written: int) -> pa.Table:
    return read_parquet(path, remedy=_REMEDY).combine_chunks()


def fit_cross_document(
    step: CrossDocument,
    pool: Pool,
    targets: Targets,
    before: Sequence[Fitted],
    folder: Path,
    scratch: Path,
) -> None:
    """Run a step that compares documents and keep its decisions in `folder`, whole."""
    corpus, progress = pool.corpus, pool.progress
    state = State(step.fit(pool, targets))
    found = run_cross_document(
        step, state, corpus, pool.engine, scratch, before=before, progress=progress
    )
    with atomic_folder(folder) as temporary:
        units = []
        for unit, table in zip(corpus.units, found, strict=True):
            covered = table.filter(table[UID].is_valid())
            if len(covered):
                units.append((unit.file_index, covered[AT][0].as_py(), unit.index))
                write_parquet(temporary / f"{unit.index:05d}.parquet", covered)
        used = sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file())
        (temporary / _SCRATCH).write_text(f"{used}\n", "utf-8")
        (temporary / FILE).write_text(json.dumps({"units": units}) + "\n", "utf-8")
    shutil.rmtree(scratch, ignore_errors=True)
    with suppress(OSError):  # not there, or not empty: there is other work under way
        scratch.parent.rmdir()


def scratch_of(fitted: Fitted) -> int:
    """Return the bytes of disk that a step took while documents were compared."""
    path = fitted.decisions / _SCRATCH if isinstance(fitted, Resolved) else None
    return int(path.read_text("utf-8")) if path is not None and path.is_file() else 0


def load_learned(step: Step, folder: Path) -> Fitted:
    """Return what a step learned, of any kind. RunError names the folder if it is damaged."""
    return (Resolved if isinstance(step, CrossDocument) else Fitted).load(step, folder)
