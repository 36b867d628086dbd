"""The pass over the pool that writes the table: each unit's documents through all steps."""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Column, Documents
from dataworth.corpus.read.reader import BadLine
from dataworth.corpus.units import Unit
from dataworth.engine.files import atomic, damaged
from dataworth.engine.local import Tick
from dataworth.errors import InputError
from dataworth.methods.base import DROP, Explains, Fitted, Step, apply_steps
from dataworth.table.table import Tally, rows_of, unit_file

_ROW_GROUP = 1 << 16
_RIGHT_KIND = ("empty_text", "null_text", "line_too_long")


class Named:
    """A fitted step whose columns are called by a label: two steps of one name stay apart."""

    def __init__(self, fitted: Fitted, label: str) -> None:
        self.inner = fitted
        self.label = label
        name = fitted.step.name
        self._names = {
            column.name: f"{kind}:{label}{rest.removeprefix(name)}"
            if rest.split(":")[0] == name
            else column.name
            for column in fitted.columns
            for kind, _, rest in [column.name.partition(":")]
        }
        self.columns = tuple(
            replace(column, name=self._names[column.name], producer=label)
            for column in fitted.columns
        )

    @property
    def step(self) -> Step:
        """The settings."""
        return self.inner.step

    def annotate(self, documents: Documents) -> pa.RecordBatch:
        """The inner step's columns under their labels."""
        batch = self.inner.annotate(documents)
        return batch.rename_columns([self._names[name] for name in batch.schema.names])

    def explain(self, text: str, column: str) -> list[tuple[str, float]]:
        """What drove a utility, if the step can say so; else nothing."""
        if not isinstance(self.inner, Explains):
            return []
        back = {new: old for old, new in self._names.items()}
        return self.inner.explain(text, back[column])

    def save(self, folder: Path) -> None:
        """Save the inner step."""
        self.inner.save(folder)

    def __call__(self, batch: dict[str, list[Any]], text: str = "text") -> dict[str, list[Any]]:
        """The step's columns for a batch of rows: for `datasets.map(fitted, batched=True)`.

        Beside utilities, which are None for what is dropped, the reasons are left out: a batch
        without any would give `datasets` a column of no type.
        """
        columns = dict(self.annotate(Documents.from_texts(batch[text])).to_pydict())
        if len(columns) > 1:
            columns.pop(DROP, None)
        return columns


@dataclass
class Timed:
    """A step with the seconds of this thread's processor time that it took."""

    inner: Named
    seconds: float = 0.0

    @property
    def step(self) -> Step:
        """The settings."""
        return self.inner.step

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those of the step."""
        return self.inner.columns

    def annotate(self, documents: Documents) -> pa.RecordBatch:
        """The step's columns."""
        start = time.thread_time()
        found = self.inner.annotate(documents)
        self.seconds += time.thread_time() - start
        return found

    def save(self, folder: Path) -> None:
        """Save the step."""
        self.inner.save(folder)


@dataclass(frozen=True)
class Spent:
    """Documents of a unit, and the seconds of a core that each step took on them, by label."""

    documents: int
    seconds: dict[str, float]


@dataclass(frozen=True)
class Annotate:
    """The work on one unit: read, annotate, write; bad lines into the quarantine."""

    corpus: Corpus
    fitted: tuple[Named, ...]
    table: Path
    quarantine: Path
    tokens_per_byte: float
    max_bad: float = 1.0

    def __call__(self, unit: Unit, tick: Tick) -> Spent:
        """Write the unit's part of the table; its file is there if and only if it is done."""
        steps = [Timed(named) for named in self.fitted]
        path = unit_file(self.table, unit.index)
        quarantine = _Quarantine(unit_quarantine(self.quarantine, unit.index))
        tally = Tally(lines=[0])
        self.corpus.check_unchanged([unit.file_index])
        with quarantine, atomic(path) as temporary:
            writer = _Writer(temporary)
            try:
                for block in self.corpus.blocks(unit):
                    documents = block.documents
                    columns = rows_of(documents, self.tokens_per_byte)
                    columns |= apply_steps(steps, documents)
                    writer.add(columns)
                    quarantine.add(block.bad)
                    tally.bad.update(line.reason for line in block.bad)
                    drop = columns[DROP]
                    if drop.null_count < len(drop):
                        tally.dropped.update(drop.drop_null().to_pylist())
                    tally.documents += len(documents)
                    tally.text_bytes += int(documents.text_bytes.sum())
                    tally.raw_bytes += block.raw_bytes
                    tally.blank += block.blank
                    tally.lines[0] += block.lines
                    tick(len(documents), block.raw_bytes)
                self.corpus.check_unchanged([unit.file_index])
                if unit.start == 0 and not tally.documents and unit.file.format != "txt":
                    self._check_some(tally, quarantine.odd)
            finally:
                writer.close(self._empty, tally)
            # Before the table's file takes its name: that file says that the unit is done.
            quarantine.finish()
        return Spent(tally.documents, {timed.inner.label: timed.seconds for timed in steps})

    def _check_some(self, tally: Tally, odd: BadLine | None) -> None:
        """Raise InputError for a file that begins without any document: its kind is another.

        A broken file of few lines would be lost under a share of bad lines.
        """
        if odd is not None and self.max_bad < 1:
            raise InputError(
                f"{odd.file}: gives no document, {tally.bad.total():,} bad lines were read; line "
                f"{odd.line}: {odd.reason} ({odd.detail}). Mend the file or leave it out, or "
                f"take whatever can be read (--max-bad 1)"
            )

    def _empty(self) -> pa.Schema:
        """The schema of a unit without documents."""
        nothing = Documents.from_texts([])
        names = [*self.corpus.fields.groups]
        if self.corpus.fields.id is not None:
            names.insert(0, "id")
        columns = {name: pa.array([], pa.string()) for name in names}
        if self.corpus.fields.split_words is not None:
            columns["piece"] = pa.array([], pa.int32())
        everything = rows_of(nothing, self.tokens_per_byte) | columns
        everything |= apply_steps(self.fitted, nothing)
        return pa.table(everything).schema


class _Quarantine:
    """The bad lines of a unit, written as they come; without any there is no file."""

    def __init__(self, path: Path) -> None:
        self.odd: BadLine | None = None
        """The first line that is wrong in another way than by being empty or too long."""
        self._path = path
        self._open = ExitStack()
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def add(self, bad: list[BadLine]) -> None:
        if not bad:
            return
        if self._file is None:
            temporary = self._open.enter_context(atomic(self._path))
            self._file = self._open.enter_context(temporary.open("w", encoding="utf-8"))
        for line in bad:
            if self.odd is None and line.reason not in _RIGHT_KIND:
                self.odd = line
            record = {
                "file": line.file,
                "line": line.line,
                "offset": line.offset,
                "bytes": line.bytes,
                "reason": line.reason,
                "detail": line.detail,
                "sample": line.sample.decode("utf-8", "backslashreplace"),
            }
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def finish(self) -> None:
        """Close the file, which takes its name."""
        self._open.close()


class _Writer:
    """A Parquet file written in row groups, so that a large unit needs no more memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: pa.NativeFile | None = None
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def add(self, columns: dict[str, pa.Array]) -> None:
        table = pa.table(columns)
        self._waiting.append(table)
        self._rows += len(table)
        if self._rows >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        self._waiting, self._rows = [], 0
        self._open(table.schema).write_table(table, row_group_size=_ROW_GROUP * 2)

    def _open(self, schema: pa.Schema) -> pq.ParquetWriter:
        if self._writer is None:
            strings = [field.name for field in schema if pa.types.is_string(field.type)]
            # Opened here, since a writer that failed does not close its file, which takes room.
            self._file = pa.OSFile(str(self._path), "wb")
            self._writer = pq.ParquetWriter(
                self._file,
                schema,
                compression="lz4",
                use_dictionary=strings,
                write_statistics=False,
            )
        return self._writer

    def close(self, empty: Callable[[], pa.Schema], tally: Tally) -> None:
        """Write what waits and the tally; `empty` gives the schema of a file without rows."""
        try:
            self._flush()
            writer = self._writer or self._open(empty())
            writer.add_key_value_metadata(tally.as_metadata())
            writer.close()
        finally:
            if self._file is not None:
                self._file.close()


def unit_quarantine(folder: Path, unit: int) -> Path:
    """The bad lines of a unit, their numbers counted from the unit's first line."""
    return folder / f"{unit:05d}.jsonl"


def join_quarantine(pieces: Path, units: Sequence[Unit], lines: Sequence[int], path: Path) -> None:
    """All bad lines in one file, with their line numbers in the pool's files.

    `lines`: lines of each unit, which tell the number of a later unit's first line. What is there
    already of other units stays: a unit is done again if its part of the table was deleted.
    """
    found = {unit.index for unit in units if unit_quarantine(pieces, unit.index).is_file()}
    if not found:
        return
    before = lines_before(units, lines)
    old = _by_unit(path, units)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for unit in units:
            if unit.index not in found:
                file.writelines(old.get(unit.index, []))
                continue
            place = unit_quarantine(pieces, unit.index)
            with damaged(place), place.open(encoding="utf-8") as piece:
                for text in piece:
                    record = json.loads(text)
                    record["line"] += before[unit.index]
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _by_unit(path: Path, units: Sequence[Unit]) -> dict[int, list[str]]:
    """The lines of a quarantine that was written before, by the unit they are of."""
    if not path.is_file():
        return {}
    starts: dict[str, list[tuple[int, int]]] = {}
    for unit in units:
        starts.setdefault(unit.file.path, []).append((unit.start, unit.index))
    out: dict[int, list[str]] = {}
    with damaged(path), path.open(encoding="utf-8") as file:
        for text in file:
            record = json.loads(text)
            place = bisect_right(starts[record["file"]], (record["offset"], len(units))) - 1
            out.setdefault(starts[record["file"]][place][1], []).append(text)
    return out


def lines_before(units: Sequence[Unit], lines: Sequence[int]) -> list[int]:
    """For each unit, the lines of its file in earlier units."""
    seen: dict[int, int] = {}
    out = []
    for unit, count in zip(units, lines, strict=True):
        out.append(seen.get(unit.file_index, 0))
        seen[unit.file_index] = out[-1] + count
    return out
