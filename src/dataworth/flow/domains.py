"""The groups of a pool, each with a random part of its documents: what a swarm is trained on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.corpus.units import Part, parts_of
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError
from dataworth.flow.inspect import fields_there
from dataworth.flow.scoring import check_pool
from dataworth.mixture.base import NO_GROUP
from dataworth.table.survey import smallest

_STREAM = 0x646F6D61696E  # of `hash_uid`


@dataclass
class Domain:
    """One group: `documents` and `bytes` of the pool that it has, and a `sample` of its texts.

    The sample holds the documents of smallest hash, in its order.
    """

    documents: int = 0
    bytes: int = 0
    sample: Documents = field(default_factory=lambda: Documents.from_texts([]))

    def split(self, held_out: int) -> tuple[list[str], list[str]]:
        """Return (texts to train on, held-out texts): equal texts are in one part.

        Held out are the first `held_out` bytes, or half of the documents where they are fewer; a
        longer document is cut. Either part is empty where there are fewer than two texts.
        """
        rows = len(self.sample)
        stop = int(np.searchsorted(np.cumsum(self.sample.text_bytes), held_out)) + 1
        stop = min(stop, rows // 2)
        uid = self.sample.uid
        while 0 < stop < rows and uid[stop] == uid[stop - 1]:
            stop += 1
        texts = self.sample.texts()
        return texts[stop:], cut(texts[:stop], held_out)


def cut(texts: list[str], size: int) -> list[str]:
    """Return the first texts that together have about `size` bytes, the last of them cut."""
    kept = []
    for text in texts:
        if size <= 0:
            break
        kept.append(text if len(text) <= size else text[:size])
        size -= len(text.encode())
    return kept


@dataclass
class _Seen:
    """The domains of some units, with candidates for their samples."""

    bad: Counter[str]
    counts: dict[str, NDArray[np.int64]]
    batches: dict[str, list[Documents]]
    hashes: dict[str, list[NDArray[np.uint64]]]


@dataclass(frozen=True)
class _Look:
    """The work on one part of the pool; `capacity`: bytes of each domain's sample."""

    corpus: Corpus
    field: str
    seed: int
    capacity: int

    def __call__(self, item: Part, tick: Tick) -> _Seen:
        seen = _Seen(Counter(), {}, {}, {})
        for unit in item.units:
            for block in self.corpus.blocks(unit):
                seen.bad.update(bad.reason for bad in block.bad)
                self._take(seen, block.documents)
                tick(len(block.documents), block.raw_bytes)
        return seen

    def _take(self, seen: _Seen, documents: Documents) -> None:
        documents = documents.take(documents.text_bytes > 0)
        column = documents.columns[self.field].cast(pa.string()).fill_null(NO_GROUP)
        encoded = column.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        for code, name in enumerate(encoded.dictionary.to_pylist()):
            own = documents.take(codes == code)
            hashes = hash_uid(self.seed, own.uid, _STREAM)
            sample, kept = smallest([own], [hashes], self.capacity, spare=True)
            counts = np.array([len(own), int(own.text_bytes.sum())])
            self._add(seen, name, counts, [sample.compact()], [kept])

    def _add(
        self,
        seen: _Seen,
        name: str,
        counts: NDArray[np.int64],
        batches: list[Documents],
        hashes: list[NDArray[np.uint64]],
    ) -> None:
        seen.counts[name] = seen.counts.get(name, 0) + counts
        batches, hashes = seen.batches.get(name, []) + batches, seen.hashes.get(name, []) + hashes
        if sum(len(batch.data) for batch in batches) > 2 * self.capacity:
            one, kept = smallest(batches, hashes, self.capacity, spare=True)
            batches, hashes = [one.compact()], [kept]
        seen.batches[name], seen.hashes[name] = batches, hashes

    def merge(self, left: _Seen, right: _Seen) -> _Seen:
        """Return both parts' counts and candidates."""
        for name, counts in right.counts.items():
            self._add(left, name, counts, right.batches[name], right.hashes[name])
        left.bad.update(right.bad)
        return left


def read_domains(
    corpus: Corpus,
    field: str,
    *,
    capacity: int,
    seed: int,
    max_bad: float,
    engine: Engine,
    progress: Progress,
) -> dict[str, Domain]:
    """Return the groups of a field by name, in its order, with about `capacity` bytes of text each.

    Empty documents do not count. Raises ConfigError for a field that no document has, and
    InputError for an empty pool or too many bad lines.
    """
    look = _Look(corpus, field, seed, capacity)
    parts = parts_of(corpus.units)
    seen = engine.fold(look, look.merge, parts, progress=progress, name="domains")
    seen = seen or _Seen(Counter(), {}, {}, {})
    total = sum(int(counts[0]) for counts in seen.counts.values())
    check_pool(seen.bad, total, corpus, max_bad, whole=True)
    if set(seen.counts) <= {NO_GROUP}:
        raise ConfigError(
            f"no document of the pool has the field {field!r}{fields_there(corpus)}: name one with "
            "--group-by"
        )
    domains = {}
    for name in sorted(seen.counts):
        documents, text_bytes = (int(count) for count in seen.counts[name])
        sample, _ = smallest(seen.batches[name], seen.hashes[name], capacity, spare=True)
        domains[name] = Domain(documents, text_bytes, sample)
    return domains
