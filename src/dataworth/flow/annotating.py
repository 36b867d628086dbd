"""The pass over the pool that adds columns: each part's documents through the steps of lists."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Column, Documents
from dataworth.corpus.read.reader import BadLine
from dataworth.corpus.units import Part, Unit
from dataworth.engine.local import Tick
from dataworth.errors import InputError, RunError
from dataworth.flow.quarantine import Quarantine, unit_quarantine
from dataworth.methods.base import DROP
from dataworth.methods.fitted import Fitted
from dataworth.table.columns import ROW, ColumnFolder, Covered, PartWriter
from dataworth.table.keys import uids_digest
from dataworth.table.table import IDENTITY, PIECE, Tally, rows_of

AT_ONCE = 1 << 18
"""Bytes of text that are handed to slow steps at once, at most."""
_TOGETHER = 1 << 20  # bytes of text from which on a block is added alone
_SLICE = 60.0  # seconds after which what was computed slowly is kept


@dataclass
class Spent:
    """The documents of a part, and the seconds of a core that each step took on them, by folder."""

    documents: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Annotate:
    """The work on one part: read what is missing of it, annotate, write; bad lines apart.

    `table`: the folder of all columns; `documents`, `labels`: of where the documents lie and what
    they are called, in it. `lists`: steps, each list seeing its own survivors; what two lists have
    in common is computed once. `threads`: that compute slow steps on one part, at most; what they
    compute is written in its order.
    """

    corpus: Corpus
    lists: tuple[tuple[Fitted, ...], ...]
    table: Path
    documents: str
    labels: str | None
    quarantine: Path
    max_bad: float = 1.0
    threads: int = 1

    def __call__(self, part: Part, tick: Tick) -> Spent:
        """Write the files of a part that are missing; a file that is there is done."""
        work = _PartWork(self, part)
        if work.slow and work.rows is None:
            # Once it is known which documents there are, columns can be kept piece by piece.
            quiet = Tick(0, stop=getattr(tick, "stop", None))
            _PartWork(replace(self, lists=()), part).run(quiet)
            work = _PartWork(self, part)
        work.run(tick)
        return work.spent

    def is_done(self, part: Part) -> bool:
        """Tell if no file of a part is missing."""
        return _PartWork(self, part).is_done()


@dataclass(frozen=True)
class CheckPart:
    """The work of reading a part again: RunError if its documents are not those of the table."""

    corpus: Corpus
    documents: ColumnFolder

    def __call__(self, part: Part, tick: Tick) -> None:
        """Compare the part's documents with its file."""
        uids = [np.empty(0, np.uint64)]
        for unit in part.units:
            for block in self.corpus.blocks(unit):
                uids.append(block.documents.uid)
                tick(len(block.documents), block.raw_bytes)
        facts = self.documents.facts(self.documents.files(part.index)[0])
        if uids_digest(np.concatenate(uids)) != facts["uids"]:
            raise _changed(part)


def _changed(part: Part) -> RunError:
    names = ", ".join(dict.fromkeys(unit.file.path for unit in part.units[:3]))
    return RunError(
        f"{names}: changed since this run began, though as long as it was; choose another folder, "
        "or start afresh with --overwrite (overwrite=True)"
    )


class _PartWork:
    """One part under way: what is there of it, what was computed, and the files being written."""

    def __init__(self, plan: Annotate, part: Part) -> None:
        self.plan = plan
        self.part = part
        self.spent = Spent()
        key = plan.documents.rpartition("-")[2]
        self.documents = ColumnFolder(plan.table / plan.documents, None)
        self.labels = ColumnFolder(plan.table / plan.labels, key) if plan.labels else None
        self.steps = {step.folder: step for steps in plan.lists for step in steps}
        self.folders = {name: ColumnFolder(plan.table / name, key) for name in self.steps}
        self.key = key
        self.uids: list[NDArray[np.uint64]] = []
        self.rows: int | None = None  # of the part, where its documents are there
        self.slow = any(step.slow for step in self.steps.values())
        self.pool: ThreadPoolExecutor | None = None  # of threads that compute, where there are any
        self.waiting: deque[Future[_Block]] = deque()  # blocks under way, in their order
        self.known: NDArray[np.uint64] | None = None  # uids of the part, where they are compared
        self.begun: dict[str, float] = {}  # when the file of a step was opened
        self.there: dict[str, Covered] = {}
        self.writers: dict[str, PartWriter] = {}
        self.reasons: dict[str, Counter[str]] = {name: Counter() for name in self.steps}
        self.open = ExitStack()
        self.held: list[Documents] = []
        self.held_bytes = 0
        self.first = 0  # row of the first document that is held
        self._look()

    def _look(self) -> None:
        """Look at the files that are there. RunError for those of other documents."""
        index = self.part.index
        if not self.documents.has(index):
            for folder in self.folders.values():
                folder.forget(index)
            return
        facts = self.documents.facts(self.documents.files(index)[0])
        self.rows = int(facts["rows"])
        self.digest = str(facts["uids"])
        for name, folder in self.folders.items():
            if folder.has(index):
                folder.check(index, self.rows, self.digest)
                self.there[name] = folder.covered(index, self.rows)

    @cached_property
    def piece(self) -> int:
        """Bytes of text that are handed to slow steps at once."""
        return int(min([AT_ONCE, *(step.piece for step in self.steps.values() if step.slow)]))

    def is_done(self) -> bool:
        """Tell if nothing is missing, as far as the files say without a look at the text."""
        if self.rows is None or (self.labels and not self.labels.has(self.part.index)):
            return False
        for steps in self.plan.lists:
            alive = np.ones(self.rows, np.bool_)
            for step in steps:
                there = self.there.get(step.folder)
                if there is None or (there.rows is not None and (alive & ~there.rows).any()):
                    return False
                if there.dropped is not None:
                    alive &= ~there.dropped
        return True

    def run(self, tick: Tick) -> None:
        """Read the part and write what is missing."""
        plan, tally = self.plan, Tally()
        with self.open:
            if self.rows is None:
                self._begin(self.documents)
            if self.labels is not None and not self.labels.has(self.part.index):
                self._begin(self.labels)
            if self.slow and self.rows is not None:
                uid = self.documents.read(self.part.index, ["uid"], self.rows)["uid"]
                self.known = np.asarray(uid, np.uint64)
                if plan.threads > 1:
                    self.pool = ThreadPoolExecutor(plan.threads, thread_name_prefix="dataworth")
                    self.open.callback(self.pool.shutdown, cancel_futures=True)
            first = 0
            for unit in self.part.units:
                plan.corpus.check_unchanged([unit.file_index])
                with Quarantine(unit_quarantine(plan.quarantine, unit.index)) as quarantine:
                    first = self._read(unit, tick, tally, quarantine, first)
                    if self.rows is None:
                        quarantine.finish()
            self._flush()
            self._write(0)
            plan.corpus.check_unchanged([unit.file_index for unit in self.part.units])
            self._commit(tally, first)
        self.spent.documents = first

    def _begin(self, folder: ColumnFolder) -> PartWriter:
        """Open the next file of the part in a folder of columns."""
        writer = self.open.enter_context(PartWriter(folder.next_file(self.part.index)))
        self.writers[folder.folder.name] = writer
        self.begun[folder.folder.name] = time.monotonic()
        return writer

    def _read(
        self, unit: Unit, tick: Tick, tally: Tally, quarantine: Quarantine, start: int
    ) -> int:
        """Read one unit, whose first document is the row `start`; return the row after its last."""
        first, lines = start, 0
        for block in self.plan.corpus.blocks(unit):
            documents = block.documents
            for low, high in self._pieces(documents):
                whole = high - low == len(documents)
                self._hold(
                    documents if whole else documents.take(np.arange(low, high)), first + low
                )
            first += len(documents)
            if self.rows is None:
                quarantine.add(block.bad)
            tally.bad.update(line.reason for line in block.bad)
            tally.text_bytes += int(documents.text_bytes.sum())
            tally.raw_bytes += block.raw_bytes
            tally.blank += block.blank
            lines += block.lines
            tick(len(documents), block.raw_bytes)
        tally.documents += first - start
        tally.lines.append(lines)
        tally.rows.append(first - start)
        if unit.start == 0 and first == start and unit.file.format != "txt":
            self._check_some(tally, quarantine.odd)
        return first

    def _check_some(self, tally: Tally, odd: BadLine | None) -> None:
        """Raise InputError for a file that begins without any document: its kind is another.

        A broken file of few lines would be lost under a share of bad lines.
        """
        if odd is not None and self.plan.max_bad < 1:
            raise InputError(
                f"{odd.file}: gives no document, {tally.bad.total():,} bad lines were read; line "
                f"{odd.line}: {odd.reason} ({odd.detail}). Mend the file or leave it out, or "
                f"take whatever can be read (--max-bad 1)"
            )

    def _pieces(self, documents: Documents) -> list[tuple[int, int]]:
        """Return the rows [low, high) of a block that are handed on at once: few, to slow steps."""
        if not self.slow:
            return [(0, len(documents))]
        number = (np.cumsum(documents.text_bytes) - 1) // self.piece
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(documents)]
        return list(pairwise(cuts))

    def _hold(self, documents: Documents, first: int) -> None:
        """Add a block of documents; small blocks, of small files, are added together."""
        if not self.held:
            self.first = first
        self.held.append(documents)
        self.held_bytes += len(documents.data)
        if self.held_bytes >= (self.piece if self.slow else _TOGETHER):
            self._flush()

    def _flush(self) -> None:
        if self.held:
            self._add(Documents.concatenate(self.held), self.first)
        self.held, self.held_bytes = [], 0

    def _add(self, documents: Documents, first: int) -> None:
        """Add the columns of a block of documents, the rows from `first` on of the part."""
        plan = self.plan
        if self.known is not None:
            known = self.known[first : first + len(documents)]
            if not np.array_equal(known, documents.uid):
                raise _changed(self.part)
        self.uids.append(documents.uid)
        if plan.documents in self.writers:
            columns = rows_of(documents)
            if PIECE.name in documents.columns:
                columns[PIECE.name] = documents.columns[PIECE.name]
            self.writers[plan.documents].add(columns)
        if plan.labels in self.writers:
            self.writers[plan.labels].add(
                {name: documents.columns[name] for name in label_names(plan.corpus)}
            )
        block = _Block(self, documents, first)
        if self.pool is None:
            self._finish(block.compute())
        else:
            self.waiting.append(self.pool.submit(block.compute))
            self._write(plan.threads)

    def _write(self, left: int) -> None:
        """Write the blocks that were computed, until so many are `left` under way."""
        while len(self.waiting) > left:
            self._finish(self.waiting.popleft().result())

    def _finish(self, block: _Block) -> None:
        """Write a block, and keep what was computed slowly."""
        block.write()
        if self.known is not None:
            for name in [name for name in self.steps if name in self.writers]:
                if time.monotonic() - self.begun[name] >= _SLICE:
                    self._keep(name)

    def _keep(self, name: str) -> None:
        """Give a step's file its name: its rows are there, whatever becomes of the others."""
        writer, reasons = self.writers.pop(name), self.reasons[name]
        facts = {"documents": self.key, "rows": self.rows, "uids": self.digest}
        own = {**facts, "covered": writer.rows, "dropped": dict(reasons)}
        writer.commit(own, _schema([_ROW, *self.steps[name].raw]))
        self.reasons[name] = Counter()

    def add(self, folder: str, columns: dict[str, pa.Array]) -> None:
        """Add rows of a step's columns."""
        writer = self.writers.get(folder) or self._begin(self.folders[folder])
        writer.add(columns)

    def _commit(self, tally: Tally, rows: int) -> None:
        """Give the files their names, first that of the documents: it says that they are there."""
        digest = uids_digest(np.concatenate([np.empty(0, np.uint64), *self.uids]))
        if self.rows is not None and (rows, digest) != (self.rows, self.digest):
            raise _changed(self.part)
        plan = self.plan
        facts = {"documents": self.key, "rows": rows, "uids": digest}
        whole = {"covered": rows, "dropped": {}}
        if plan.documents in self.writers:
            own = {**facts, **whole, "documents": None, "tally": tally.as_dict()}
            schema = _schema(document_columns(plan.corpus))
            self.writers[plan.documents].commit(own, schema)
        if plan.labels in self.writers:
            schema = _schema(label_columns(plan.corpus))
            self.writers[plan.labels].commit({**facts, **whole}, schema)
        self.rows, self.digest = rows, digest
        for name in self.steps:
            if name not in self.writers:
                if self.folders[name].has(self.part.index):
                    continue
                self._begin(self.folders[name])
            self._keep(name)


class _Block:
    """A block of a part's documents on its way through the lists of steps."""

    def __init__(self, work: _PartWork, documents: Documents, first: int) -> None:
        self._work = work
        self._documents = documents
        self._first = first
        self._done: dict[str, NDArray[np.bool_]] = {}
        self._dropped: dict[str, NDArray[np.bool_]] = {}
        self._new: dict[str, list[pa.Table]] = {}
        self._seconds: dict[str, float] = {}
        self._reasons: dict[str, list[str]] = {}

    def compute(self) -> _Block:
        """Compute what is missing of all lists; the block itself, to be written."""
        for steps in self._work.plan.lists:
            alive = np.ones(len(self._documents), np.bool_)
            for step in steps:
                alive &= ~self._drops(step, alive)
        return self

    def _drops(self, step: Fitted, alive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which of the documents `alive` a step drops, bool [n]; it is asked if need be."""
        name, n = step.folder, len(self._documents)
        if name not in self._done:
            self._done[name], self._dropped[name] = self._known(name, n)
        wanted = alive & ~self._done[name]
        if wanted.any():
            start = time.thread_time()
            whole = bool(wanted.all())
            batch = step.compute(self._documents if whole else self._documents.take(wanted))
            seconds = time.thread_time() - start
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds
            rows = np.flatnonzero(wanted)
            self._done[name] |= wanted
            numbers = pa.array((rows + self._first).astype(np.int32))
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            self._new.setdefault(name, []).append(pa.table({ROW: numbers, **columns}))
            reasons = columns.get(DROP)
            if reasons is not None and reasons.null_count < len(reasons):
                self._dropped[name][rows[np.asarray(reasons.is_valid())]] = True
                self._reasons.setdefault(name, []).extend(reasons.drop_null().to_pylist())
        return self._dropped[name]

    def _known(self, name: str, n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return for `n` documents if a step has seen each before, and if it dropped it then."""
        there = self._work.there.get(name)
        rows = slice(self._first, self._first + n)
        if there is None:
            return np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        done = np.ones(n, np.bool_) if there.rows is None else there.rows[rows].copy()
        dropped = np.zeros(n, np.bool_) if there.dropped is None else there.dropped[rows].copy()
        return done, dropped

    def write(self) -> None:
        """Hand the new rows on, in their order."""
        work = self._work
        for name, seconds in self._seconds.items():
            work.spent.seconds[name] = work.spent.seconds.get(name, 0.0) + seconds
            work.reasons[name].update(self._reasons.get(name, ()))
        for name, tables in self._new.items():
            table = tables[0]
            if len(tables) > 1:
                table = pa.concat_tables(tables).sort_by(ROW)
            work.add(name, {c: table[c] for c in table.column_names})


def label_names(corpus: Corpus) -> list[str]:
    """Return the names of the columns of ids and groups."""
    own = [] if corpus.fields.id is None else ["id"]
    return [*own, *corpus.fields.groups]


def label_columns(corpus: Corpus) -> list[Column]:
    """Return the columns of ids and groups, as they are declared."""
    return [Column(name, pa.string(), "label", "corpus") for name in label_names(corpus)]


def document_columns(corpus: Corpus) -> list[Column]:
    """Return the columns that locate documents, as they are declared."""
    return [*IDENTITY, *([PIECE] if corpus.fields.split_words is not None else [])]


_ROW = Column(ROW, pa.int32(), "row of the part", "table")


def _schema(columns: Sequence[Column]) -> pa.Schema:
    return pa.schema([(column.name, column.type) for column in columns])
