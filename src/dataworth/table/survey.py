"""The first look at a pool: a random sample of its documents.

Every later step that needs "some of the pool" (the raw model, tokens a byte, KL reduction, the
temperature) takes it from here instead of reading the pool again. The sample is the documents of
smallest seeded hash of uid, as many as fit a number of bytes.

A small pool is read whole, and then the sample is the same for any order, names, shards and formats
of the files. In a large one, plain JSON lines are looked at through windows at hashed places of
every unit: a document is in if its first byte lies in a window, so each has the same chance. What
cannot be entered in the middle (compressed files, Parquet, text) is read whole and thinned by hash
to the same share. Either way the sample depends on the files' content alone, not on the number of
workers or the files' names.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.kept import identity_columns, with_identity
from dataworth.corpus.uid import hash_uid, uids, uniform
from dataworth.corpus.units import Part, Unit, parts_of
from dataworth.engine.files import (
    check_array,
    damaged,
    read_object,
    read_parquet,
    write_json,
    write_parquet,
)
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress

SAMPLE = 0x73616D706C65  # the stream of `hash_uid` for sampling
SAMPLE_BYTES = 32 * 2**20
# A document longer than this share of the sample stays out of it: one giant would fill it.
_LONGEST = 16
_NO_LIMIT = 2**62

# A pool this many times larger than its sample is looked at through windows.
_WHOLE = 8
_REMEDY = "delete the folder and run the same command again"
_WINDOW = 1 << 16
_MOST_WINDOWS = 64


@dataclass
class Survey:
    """A pool's random sample and what was seen on the way.

    `documents`, `lines`, `bad`: of what was read. `sample`: documents by growing hash; `hashes`
    uint64 [n]. `whole`: all of the pool was read. `unread`: of what was read, how many chats hold
    something of a kind that has no place in a text.
    """

    documents: int = 0
    lines: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    sample: Documents = field(default_factory=lambda: Documents.from_texts([]))
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    whole: bool = True
    unread: Counter[str] = field(default_factory=Counter)

    @property
    def complete(self) -> bool:
        """True if the sample is the whole pool."""
        return self.whole and len(self.sample) == self.documents


@dataclass
class _Part:
    """The survey of some units: counts, and candidates for the sample, not yet cut to size."""

    counts: Survey
    batches: list[Documents] = field(default_factory=list)
    hashes: list[NDArray[np.uint64]] = field(default_factory=list)
    held: int = 0

    def add(self, documents: Documents, hashes: NDArray[np.uint64]) -> None:
        self.batches.append(documents)
        self.hashes.append(hashes)
        self.held += len(documents.data)

    def cut(self, capacity: int, hint: _Hint) -> None:
        """Keep the documents of smallest hash; copying texts is put off until it is worth it."""
        if self.held <= 2 * capacity:
            return
        sample, hashes = smallest(self.batches, self.hashes, capacity, spare=True)
        hint.lower(int(hashes[-1]))
        self.batches, self.hashes, self.held = [sample], [hashes], len(sample.data)


class _Hint:
    """The largest hash that can still be in the sample, as far as the threads know by now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bound = 2**64 - 1

    def lower(self, bound: int) -> None:
        with self._lock:
            self.bound = min(self.bound, bound)

    # A process has a hint of its own: it spares work and changes no result.
    def __getstate__(self) -> dict[str, Any]:
        return {"bound": self.bound}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.bound = state["bound"]


@dataclass(frozen=True)
class _Look:
    """The work on one part."""

    corpus: Corpus
    seed: int
    capacity: int
    longest: int
    share: float
    hint: _Hint

    def __call__(self, item: Part, tick: Tick) -> _Part:
        partial = _Part(Survey())
        for unit in item.units:
            windows = _windows(unit, self.share, self.seed)
            for window in windows or [unit]:
                for block in self.corpus.blocks(window):
                    partial.counts.documents += len(block.documents)
                    partial.counts.lines += block.lines
                    partial.counts.bad.update(bad.reason for bad in block.bad)
                    partial.counts.unread.update(block.unread)
                    self._take(partial, block.documents, thinned=windows is None)
                    tick(len(block.documents), block.raw_bytes)
        return partial

    def _take(self, part: _Part, documents: Documents, *, thinned: bool) -> None:
        hashed = hash_uid(self.seed, documents.uid, SAMPLE)
        wanted = hashed <= np.uint64(self.hint.bound)
        wanted &= documents.text_bytes <= self.longest
        if thinned and self.share < 1:
            # Another hash than the one that orders: windows let every hash through.
            draw = hash_uid(self.seed, documents.uid, SAMPLE + 1)
            wanted &= draw < np.uint64(int(self.share * 2**63) * 2)
        if wanted.any():
            part.add(documents.take(wanted).compact(), hashed[wanted])
            part.cut(self.capacity, self.hint)

    def merge(self, left: _Part, right: _Part) -> _Part:
        """Both parts' counts and candidates."""
        a, b = left.counts, right.counts
        merged = _Part(
            Survey(
                a.documents + b.documents,
                a.lines + b.lines,
                a.bad + b.bad,
                unread=a.unread + b.unread,
            ),
            left.batches + right.batches,
            left.hashes + right.hashes,
            left.held + right.held,
        )
        merged.cut(self.capacity, self.hint)
        return merged


def _windows(unit: Unit, share: float, seed: int) -> list[Unit] | None:
    """Pieces of a unit of plain JSON lines that hold `share` of it; None to read it whole.

    The unit is cut into even stretches, with a window at a random place of each. A window that
    leaves its stretch at the end comes in again at the beginning: so every byte is seen with the
    same chance, those at the edges too.
    """
    file = unit.file
    if share >= 1 or file.format != "jsonl" or file.compression is not None:
        return None
    size = unit.end - unit.start
    count = min(max(int(share * size / _WINDOW), 1), _MOST_WINDOWS)
    width = max(int(share * size / count), 1)
    # Keyed by what the file is, not by what it is called.
    key = np.array([file.size, unit.start], np.uint64)
    draws = uniform(seed, np.arange(count, dtype=np.uint64) + hash_uid(seed, key, SAMPLE).sum())
    pieces = []
    for number, draw in enumerate(draws):
        low = unit.start + size * number // count
        high = unit.start + size * (number + 1) // count
        start = low + int(draw * (high - low))
        end = start + width
        if end > high:
            pieces.append(replace(unit, start=low, end=min(low + end - high, start)))
        pieces.append(replace(unit, start=start, end=min(end, high)))
    return pieces


def smallest(
    parts: list[Documents], hashes: list[NDArray[np.uint64]], capacity: int, *, spare: bool
) -> tuple[Documents, NDArray[np.uint64]]:
    """Return the documents of smallest hash whose texts fit `capacity` bytes, by growing hash.

    `spare`: with the first one that does not fit. As long as more documents may come it must stay:
    without it, a later one of larger hash could take the room that it could not, and the sample
    would depend on the order of the files.
    """
    if not parts:
        return Documents.from_texts([]), np.empty(0, np.uint64)
    hashed = np.concatenate(hashes)
    sizes = np.concatenate([part.text_bytes for part in parts])
    order = np.argsort(hashed, kind="stable")
    fits = np.cumsum(sizes[order]) <= capacity
    stop = len(fits) if fits.all() else int(np.argmin(fits)) + spare
    kept = np.zeros(len(order), np.bool_)
    kept[order[:stop]] = True
    # Only what is kept is copied.
    firsts = np.cumsum([0] + [len(part) for part in parts])
    documents = Documents.concatenate(
        [
            part.take(kept[first : first + len(part)])
            for part, first in zip(parts, firsts, strict=False)
        ]
    )
    hashed = hashed[kept]
    order = np.lexsort((documents.offset, documents.file, hashed))
    return documents.take(order), hashed[order]


def survey(
    corpus: Corpus,
    engine: Engine,
    *,
    seed: int = 0,
    sample_bytes: int = SAMPLE_BYTES,
    progress: Progress | None = None,
) -> Survey:
    """Return a random sample of about `sample_bytes` of the pool's text."""
    sampled = Survey()
    # If all documents are giants, they are the sample; the first by hash, if none would fit.
    for longest in (sample_bytes // _LONGEST, sample_bytes, _NO_LIMIT):
        sampled = _survey(corpus, engine, seed, sample_bytes, longest, progress)
        if len(sampled.sample) or not sampled.documents:
            break
    return sampled


def _survey(
    corpus: Corpus,
    engine: Engine,
    seed: int,
    sample_bytes: int,
    longest: int,
    progress: Progress | None,
) -> Survey:
    share = _share(corpus, sample_bytes)
    look = _Look(corpus, seed, sample_bytes, longest, share, _Hint())
    parts = parts_of(corpus.units)
    part = engine.fold(look, look.merge, parts, progress=progress, name="sample")
    if part is None:
        return Survey()
    spare = longest == _NO_LIMIT
    sample, hashes = smallest(part.batches, part.hashes, sample_bytes, spare=spare)
    return replace(part.counts, sample=sample, hashes=hashes, whole=share >= 1)


def _share(corpus: Corpus, sample_bytes: int) -> float:
    """Return the share of the pool that the sample is drawn from: 1 for small pools.

    A little more than needed, since bytes on disk are not bytes of text.
    """
    total = sum(file.size * (3 if file.compression else 1) for file in corpus.files)
    if total <= _WHOLE * sample_bytes:
        return 1.0
    return 1.5 * sample_bytes / total


def share_read(corpus: Corpus, sample_bytes: int) -> float:
    """Return the share of the pool's bytes that a survey reads."""
    share = _share(corpus, sample_bytes)
    windows = [f.size for f in corpus.files if f.format == "jsonl" and f.compression is None]
    return 1 - (1 - share) * sum(windows) / max(1, corpus.size)


def save(found: Survey, folder: Path) -> None:
    """Write a survey: `sample.parquet`, then `sample.json`, whose presence says it is whole."""
    sample = found.sample
    columns = {
        "text": sample.arrow(),
        "file": pa.array(sample.file),
        "offset": pa.array(sample.offset),
        "bytes": pa.array(sample.bytes),
        "hash": pa.array(found.hashes),
        **identity_columns(sample),
        **{f"column:{name}": values for name, values in sample.columns.items()},
    }
    write_parquet(folder / "sample.parquet", pa.table(columns))
    counts = {
        "documents": found.documents,
        "lines": found.lines,
        "bad": dict(found.bad),
        "whole": found.whole,
        "unread": dict(found.unread),
    }
    write_json(folder / "sample.json", counts)


def load(folder: Path) -> Survey | None:
    """Return a survey that was written before, or None."""
    if not (folder / "sample.json").is_file():
        return None
    counts = read_object(folder / "sample.json", _REMEDY)
    path = folder / "sample.parquet"
    table = read_parquet(path, remedy=_REMEDY).combine_chunks()
    sample = Documents.from_texts([])
    with damaged(path, _REMEDY):
        if len(table):
            sample = _from_arrow(table["text"].combine_chunks().cast(pa.large_string()), table)
        hashes = check_array(table["hash"].to_numpy(), np.uint64, (len(sample),))
    with damaged(folder / "sample.json", _REMEDY):
        return Survey(
            int(counts["documents"]),
            int(counts["lines"]),
            _counter(counts["bad"]),
            sample,
            hashes,
            bool(counts["whole"]),
            _counter(counts.get("unread", {})),
        )


def _counter(counts: dict[str, int]) -> Counter[str]:
    return Counter({str(name): int(count) for name, count in counts.items()})


def _from_arrow(text: pa.LargeStringArray, table: pa.Table) -> Documents:
    _, offsets, data = text.buffers()
    spans = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
    starts, ends = spans[:-1].copy(), spans[1:].copy()
    buffer = np.frombuffer(data, np.uint8)
    columns = {
        name.removeprefix("column:"): table[name].combine_chunks()
        for name in table.column_names
        if name.startswith("column:")
    }
    documents = Documents(
        data=buffer,
        starts=starts,
        ends=ends,
        uid=uids(buffer, starts, ends),
        file=check_array(table["file"].to_numpy(), np.int32, (len(text),)),
        offset=check_array(table["offset"].to_numpy(), np.int64, (len(text),)),
        bytes=check_array(table["bytes"].to_numpy(), np.int64, (len(text),)),
        columns=columns,
    )
    return with_identity(documents, table)
