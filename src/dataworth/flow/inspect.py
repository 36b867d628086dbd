"""Facts about a corpus: files, documents, fields, lengths, bad lines. Nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.fields import RowError
from dataworth.corpus.read.blocks import LineBlock, line_blocks
from dataworth.corpus.read.folders import folder_keys
from dataworth.corpus.read.lines import decode, is_blank
from dataworth.corpus.read.reader import BLOCK_BYTES, BadLine, read
from dataworth.corpus.read.streams import open_raw, open_stream
from dataworth.corpus.shapes import may_be_chat
from dataworth.corpus.units import Unit
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress

QUANTILES = (0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)
EXAMPLES = 3
_ROWS = 1000  # whose fields are looked at, of all files together at least one each
_FILES = 200
_NAMED = 12  # fields in a message
_DEPTH = 4
_VALUES = 200  # distinct values that are kept of a field
_VALUE_LENGTH = 200
_BLOCK = 2**20
_SAMPLED_BLOCK = 2**17
_LENGTH_BITS = 10


@dataclass
class FieldFacts:
    """A field of the rows looked at: how often it is there, with which types, and for texts their
    mean number of characters and, where they are few, the values."""

    name: str
    rows: int
    types: dict[str, int]
    mean_length: float | None = None
    distinct: int | None = None


@dataclass
class BadExample:
    """A bad line: its place and the reason why it cannot be read.

    `line` counts from 1 in its file; None where only a part of the file before it was read.
    `offset`: of its first byte in the uncompressed file; of Parquet, its row.
    """

    file: str
    line: int | None
    offset: int
    detail: str


@dataclass
class Inspection:
    """Facts about a corpus. Bytes of `files` are as stored, `lengths` are bytes of text.

    `lengths` maps quantiles to lengths, exact to 0.1 %. `complete` is False where only a part was
    read (`sample`); then the counts are those of the part, `read_bytes` of `raw_bytes`.
    """

    files: list[dict[str, Any]]
    units: int
    bytes: int
    documents: int = 0
    text_bytes: int = 0
    raw_bytes: int = 0
    lines: int = 0
    blank: int = 0
    complete: bool = True
    text_field: tuple[str, ...] = ()
    template: str | None = None
    suggestion: str | None = None
    rows_looked_at: int = 0
    fields: list[FieldFacts] = field(default_factory=list)
    lengths: dict[float, int] = field(default_factory=dict)
    bad: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[BadExample]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as JSON."""
        return {**asdict(self), "lengths": {f"{q:g}": n for q, n in self.lengths.items()}}


def inspect_corpus(
    corpus: Corpus,
    *,
    text_given: bool,
    sample: int | None,
    engine: Engine,
    progress: Progress,
) -> Inspection:
    """Look at a corpus. `sample`: about so many documents, spread over it; None reads all.

    Where the text field was not named (`text_given`) and no row has it, the likeliest one is
    suggested and used. Raises InputError for damaged files.
    """
    found = Inspection(_by_format(corpus), len(corpus.units), corpus.size)
    found.rows_looked_at, found.fields = look_at_fields(corpus)
    corpus = _with_text(corpus, found, text_given)
    units, most = _part(corpus.units, sample)
    found.complete = sample is None
    look = _Look(corpus, most)
    part = engine.fold(look, _Seen.merge, units, progress=progress, name="inspect")
    if part is not None:
        _fill(found, part, corpus)
    return found


def look_at_fields(corpus: Corpus) -> tuple[int, list[FieldFacts]]:
    """Return (rows looked at, fields in the order they were met in, keys of folders last)."""
    firsts = {unit.file_index: unit for unit in reversed(corpus.units)}
    chosen = [firsts[index] for index in sorted(firsts)]
    if len(chosen) > _FILES:
        chosen = [chosen[place] for place in np.linspace(0, len(chosen) - 1, _FILES).astype(int)]
    each = max(20, _ROWS // max(1, len(chosen)))
    rows = 0
    seen: dict[str, _FieldSeen] = {}
    for unit in chosen:
        keys = folder_keys(unit.file.path)
        for row in islice(_rows(unit, corpus), each):
            rows += 1
            for name, value in _flat({**row, **{key: keys[key] for key in keys if key not in row}}):
                seen.setdefault(name, _FieldSeen()).add(value)
    return rows, [field.facts(name) for name, field in seen.items()]


def fields_there(corpus: Corpus) -> str:
    """Return a part of a message that names the fields of the first rows and of the folders."""
    names = [fact.name for fact in look_at_fields(corpus)[1]]
    names += [key for file in corpus.files for key in folder_keys(file.path)]
    known = list(dict.fromkeys(names))[:_NAMED]
    return f"; there are {', '.join(known)}" if known else ""


@dataclass
class _FieldSeen:
    """The values of a field, as far as they were looked at."""

    types: Counter[str] = field(default_factory=Counter)
    characters: int = 0
    values: set[str] = field(default_factory=set)

    def add(self, value: Any) -> None:
        self.types[_type(value)] += 1
        if isinstance(value, str):
            self.characters += len(value)
            if len(self.values) < _VALUES:
                self.values.add(value[:_VALUE_LENGTH])

    def facts(self, name: str) -> FieldFacts:
        texts = self.types["text"]
        length = self.characters / texts if texts else None
        distinct = len(self.values) if texts and len(self.values) < _VALUES else None
        return FieldFacts(name, self.types.total(), dict(+self.types), length, distinct)


def _rows(unit: Unit, corpus: Corpus) -> Iterator[Mapping[str, Any]]:
    """Yield the first rows of a unit that can be decoded."""
    options = corpus.storage_options
    if unit.file.format == "parquet":
        with open_raw(unit.file, options) as raw:
            for batch in pq.ParquetFile(raw).iter_batches(batch_size=256):
                yield from batch.to_pylist()
    elif unit.file.format == "jsonl":
        longest = corpus.fields.max_line_bytes
        with open_stream(unit.file, 0, options) as stream:
            for block in line_blocks(stream, 0, None, _BLOCK, longest):
                if not isinstance(block, LineBlock):
                    continue
                for line in block.data[block.start : block.end].tobytes().split(b"\n"):
                    if is_blank(line):
                        continue
                    try:
                        yield decode(line.rstrip(b"\r"))
                    except RowError:
                        continue


def _flat(row: Mapping[str, Any], before: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a row; those within objects by their dotted paths."""
    for key, value in row.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value and depth < _DEPTH:
            yield from _flat(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "text", type(None): "null"}
    names |= {list: "list", dict: "object"}
    return names.get(type(value), type(value).__name__)


def _by_format(corpus: Corpus) -> list[dict[str, Any]]:
    """Return number and bytes of the files of each format and compression."""
    kinds: dict[tuple[str, str | None], dict[str, Any]] = {}
    for file in corpus.files:
        kind = kinds.setdefault(
            (file.format, file.compression),
            {"format": file.format, "compression": file.compression, "files": 0, "bytes": 0},
        )
        kind["files"] += 1
        kind["bytes"] += file.size
    return list(kinds.values())


def _with_text(corpus: Corpus, found: Inspection, given: bool) -> Corpus:
    """Return the corpus with the text field that it has, unless one was named."""
    fields = corpus.fields
    names = {fact.name for fact in found.fields}
    if not given and found.rows_looked_at and fields.template is None and "text" not in names:
        found.suggestion, changes = suggest(found.fields)
        if changes:
            fields = replace(fields, **changes)
    found.text_field, found.template = fields.text, fields.template
    return replace(corpus, fields=fields)


def suggest(facts: Sequence[FieldFacts]) -> tuple[str | None, dict[str, Any]]:
    """Return (options to read the text with, the same for `Fields`): chat, pair or longest text."""
    names = {fact.name for fact in facts}
    if may_be_chat(names):
        return "--template plain", {"template": "plain"}
    rows = max((fact.rows for fact in facts), default=0)
    texts = [fact for fact in facts if fact.mean_length and 2 * fact.types["text"] > rows]
    if not texts:
        return None, {}
    longest = max(texts, key=lambda fact: (fact.mean_length or 0) * fact.types["text"])
    return f"--text-field {longest.name}", {"text": (longest.name,)}


def _part(units: Sequence[Unit], sample: int | None) -> tuple[Sequence[Unit], int | None]:
    """Return (units to read, documents of each at most)."""
    if sample is None:
        return units, None
    count = min(len(units), max(1, sample // 100), 256)
    chosen = [units[place] for place in np.linspace(0, len(units) - 1, count).astype(int)]
    return chosen, max(1, -(-sample // max(1, count)))


@dataclass
class _Seen:
    """Counts over some units. `lines`: of each unit; `bad`: (unit's place, line)."""

    documents: int = 0
    text_bytes: int = 0
    raw_bytes: int = 0
    blank: int = 0
    lines: list[tuple[Unit, int]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[int, BadLine]] = field(default_factory=list)
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def merge(self, other: _Seen) -> _Seen:
        """Add the counts of both, and keep the first examples of each reason."""
        shift = len(self.lines)
        return _Seen(
            self.documents + other.documents,
            self.text_bytes + other.text_bytes,
            self.raw_bytes + other.raw_bytes,
            self.blank + other.blank,
            self.lines + other.lines,
            self.reasons + other.reasons,
            _few([*self.bad, *((place + shift, line) for place, line in other.bad)]),
            _add(self.lengths, other.lengths),
        )


@dataclass(frozen=True)
class _Look:
    """The work on one unit."""

    corpus: Corpus
    most: int | None

    def __call__(self, unit: Unit, tick: Tick) -> _Seen:
        seen = _Seen()
        lines = 0
        corpus = self.corpus
        size = BLOCK_BYTES if self.most is None else _SAMPLED_BLOCK
        for block in read(
            unit, corpus.fields, storage_options=corpus.storage_options, block_bytes=size
        ):
            documents = block.documents
            seen.documents += len(documents)
            seen.text_bytes += int(documents.text_bytes.sum())
            seen.raw_bytes += block.raw_bytes
            seen.blank += block.blank
            lines += block.lines
            seen.reasons.update(bad.reason for bad in block.bad)
            seen.bad = _few([*seen.bad, *((0, bad) for bad in block.bad)])
            seen.lengths = _add(seen.lengths, np.bincount(_bins(documents.text_bytes)))
            tick(len(documents), block.raw_bytes)
            if self.most is not None and seen.documents >= self.most:
                unit = replace(unit, end=-1)  # the lines after it have no number
                break
        seen.lines = [(unit, lines)]
        return seen


def _few(bad: list[tuple[int, BadLine]]) -> list[tuple[int, BadLine]]:
    """Return the first `EXAMPLES` bad lines of each reason."""
    count: Counter[str] = Counter()
    kept = []
    for item in bad:
        count[item[1].reason] += 1
        if count[item[1].reason] <= EXAMPLES:
            kept.append(item)
    return kept


def _add(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    out = np.zeros(max(len(left), len(right)), np.int64)
    out[: len(left)] += left
    out[: len(right)] += right
    return out


def _bins(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a bin for each length: its own below 2,048, then 1,024 for each doubling."""
    exponent = np.maximum(np.frexp(lengths.astype(np.float64))[1] - 1 - _LENGTH_BITS, 0)
    bins: NDArray[np.int64] = (exponent << _LENGTH_BITS) + (lengths >> exponent)
    return bins


def _length_of(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the least length of each bin."""
    exponent = np.maximum((bins >> _LENGTH_BITS) - 1, 0)
    lengths: NDArray[np.int64] = (bins - (exponent << _LENGTH_BITS)) << exponent
    return lengths


def _fill(found: Inspection, seen: _Seen, corpus: Corpus) -> None:
    found.documents, found.text_bytes = seen.documents, seen.text_bytes
    found.raw_bytes, found.blank = seen.raw_bytes, seen.blank
    found.lines = sum(count for _, count in seen.lines)
    found.bad = dict(seen.reasons.most_common())
    before = _lines_before(seen.lines)
    for place, line in seen.bad:
        number = None if before[place] is None else line.line + (before[place] or 0)
        example = BadExample(line.file, number, line.offset, line.detail)
        found.examples.setdefault(line.reason, []).append(example)
    if seen.documents:
        reached = np.cumsum(seen.lengths)
        # The smallest length that so many documents do not exceed.
        ranks = np.maximum(np.ceil(np.array(QUANTILES) * seen.documents), 1)
        lengths = _length_of(np.searchsorted(reached, ranks))
        found.lengths = dict(zip(QUANTILES, lengths.tolist(), strict=True))


def _lines_before(lines: Sequence[tuple[Unit, int]]) -> list[int | None]:
    """Return for each unit the lines of its file before it; None if not all of them were read."""
    total: dict[int, int | None] = {}
    end: dict[int, int] = {}
    out = []
    for unit, count in lines:
        file = unit.file_index
        known = total.get(file, 0) if unit.start == end.get(file, 0) else None
        out.append(known)
        total[file] = None if known is None else known + count
        end[file] = unit.end
    return out
