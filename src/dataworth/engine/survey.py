"""The first look at a pool: how much there is, what is bad, and a random sample of its documents.

The sample is the documents whose seeded hash of uid is smallest, as many as fit a number of bytes.
So it is the same for any number of workers, any order, names, shards and formats of the files, and
every later step that needs "some of the pool" (the raw model, tokens a byte, KL reduction, the
temperature) takes it from here instead of reading the pool again.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid, uids
from dataworth.corpus.units import Unit
from dataworth.engine.files import read_json, write_json, write_parquet
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress

SAMPLE = 0x73616D706C65  # the stream of `hash_uid` for sampling
SAMPLE_BYTES = 64 * 2**20
# A document longer than this share of the sample stays out of it: one giant would fill it.
_LONGEST = 16


@dataclass
class Survey:
    """Counts of a pool and its sample.

    `lines` int64 [units]: lines of each unit, blank and bad ones too, from which the line numbers
    of later units follow. `sample`: documents by growing hash; `hashes` uint64 [n].
    """

    documents: int = 0
    text_bytes: int = 0
    raw_bytes: int = 0
    blank: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    lines: list[int] = field(default_factory=list)
    sample: Documents = field(default_factory=lambda: Documents.from_texts([]))
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    @property
    def complete(self) -> bool:
        """Whether the sample is the whole pool."""
        return len(self.sample) == self.documents


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
    """The work on one unit."""

    corpus: Corpus
    seed: int
    capacity: int
    hint: _Hint

    def __call__(self, unit: Unit, tick: Tick) -> Survey:
        found = Survey(lines=[0])
        kept: list[Documents] = []
        hashes: list[NDArray[np.uint64]] = []
        held = 0
        for block in self.corpus.blocks(unit):
            documents = block.documents
            found.documents += len(documents)
            found.text_bytes += int(documents.text_bytes.sum())
            found.raw_bytes += block.raw_bytes
            found.blank += block.blank
            found.bad.update(bad.reason for bad in block.bad)
            found.lines[0] += block.lines
            hashed = hash_uid(self.seed, documents.uid, SAMPLE)
            wanted = hashed <= np.uint64(self.hint.bound)
            wanted &= documents.text_bytes <= self.capacity // _LONGEST
            if wanted.any():
                kept.append(documents.take(wanted).compact())
                hashes.append(hashed[wanted])
                held += len(kept[-1].data)
            if held > 2 * self.capacity:
                one, hashed = _smallest(kept, hashes, self.capacity)
                kept, hashes, held = [one], [hashed], len(one.data)
                self._tell(one, hashed)
            tick(len(documents), block.raw_bytes)
        found.sample, found.hashes = _smallest(kept, hashes, self.capacity)
        self._tell(found.sample, found.hashes)
        return found

    def merge(self, left: Survey, right: Survey) -> Survey:
        """Both units' counts, and the sample of both."""
        sample, hashes = _smallest(
            [left.sample, right.sample], [left.hashes, right.hashes], self.capacity
        )
        self._tell(sample, hashes)
        return Survey(
            left.documents + right.documents,
            left.text_bytes + right.text_bytes,
            left.raw_bytes + right.raw_bytes,
            left.blank + right.blank,
            left.bad + right.bad,
            left.lines + right.lines,
            sample,
            hashes,
        )

    def _tell(self, sample: Documents, hashes: NDArray[np.uint64]) -> None:
        if len(sample) and len(sample.data) > self.capacity - self.capacity // _LONGEST:
            self.hint.lower(int(hashes[-1]))


def _smallest(
    parts: list[Documents], hashes: list[NDArray[np.uint64]], capacity: int
) -> tuple[Documents, NDArray[np.uint64]]:
    """The documents of smallest hash whose texts fit `capacity` bytes, by growing hash."""
    if not parts:
        return Documents.from_texts([]), np.empty(0, np.uint64)
    documents = Documents.concatenate(parts)
    hashed = np.concatenate(hashes)
    order = np.lexsort((documents.offset, documents.file, hashed))
    fits = np.cumsum(documents.text_bytes[order]) <= capacity
    order = order[: len(fits) if fits.all() else int(np.argmin(fits))]
    return documents.take(order).compact(), hashed[order]


def survey(
    corpus: Corpus,
    engine: Engine,
    *,
    seed: int = 0,
    sample_bytes: int = SAMPLE_BYTES,
    progress: Progress | None = None,
) -> Survey:
    """Read the pool once: its counts and its sample of about `sample_bytes` of text."""
    look = _Look(corpus, seed, sample_bytes, _Hint())
    found = engine.fold(look, look.merge, corpus.units, progress=progress, name="survey")
    return found or Survey()


def save(found: Survey, folder: Path) -> None:
    """Write a survey: `sample.parquet`, then `pool.json`, whose presence says it is whole."""
    sample = found.sample
    columns = {
        "text": sample.arrow(),
        "file": pa.array(sample.file),
        "offset": pa.array(sample.offset),
        "bytes": pa.array(sample.bytes),
        "hash": pa.array(found.hashes),
        **{f"column:{name}": values for name, values in sample.columns.items()},
    }
    write_parquet(folder / "sample.parquet", pa.table(columns))
    counts = {
        "documents": found.documents,
        "text_bytes": found.text_bytes,
        "raw_bytes": found.raw_bytes,
        "blank": found.blank,
        "bad": dict(found.bad),
        "lines": found.lines,
    }
    write_json(folder / "pool.json", counts)


def load(folder: Path) -> Survey | None:
    """A survey that was written before, or None."""
    if not (folder / "pool.json").is_file():
        return None
    counts = read_json(folder / "pool.json")
    table = pq.read_table(folder / "sample.parquet").combine_chunks()
    text = table["text"].combine_chunks().cast(pa.large_string()) if len(table) else None
    if text is None:
        sample = Documents.from_texts([])
    else:
        sample = _from_arrow(text, table)
    return Survey(
        counts["documents"],
        counts["text_bytes"],
        counts["raw_bytes"],
        counts["blank"],
        Counter(counts["bad"]),
        counts["lines"],
        sample,
        np.asarray(table["hash"].to_numpy(), np.uint64),
    )


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
    return Documents(
        data=buffer,
        starts=starts,
        ends=ends,
        uid=uids(buffer, starts, ends),
        file=table["file"].to_numpy(),
        offset=table["offset"].to_numpy(),
        bytes=table["bytes"].to_numpy(),
        columns=columns,
    )
