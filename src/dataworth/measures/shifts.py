"""The n-grams that a selection has more or less of than the pool: in words, not buckets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.features.ngrams import HashedNgrams

_TEXT_BYTES = 3_000_000
_LEAST_DOCUMENTS = 3
# So many buckets that two n-grams of a few megabytes hardly ever share one.
_WORDS = HashedNgrams(buckets=2**32 - 1)


@dataclass(frozen=True)
class Shift:
    """An n-gram with its rates per million n-grams, and the log of their ratio.

    To both rates one occurrence in all that was looked at is added, so that the ratio of an n-gram
    that one side lacks is finite, and its sign that of the difference of the rates.
    """

    ngram: str
    pool: float
    selection: float
    log_ratio: float


def ngram_shifts(
    pool: Documents, selection: Documents, *, most: int = 15
) -> tuple[list[Shift], list[Shift]]:
    """(gained, lost): those that tell the two apart best, by log ratio times square root of count.

    On at most 3 MB of text of each; an n-gram must be in three documents or more.
    """
    pool, selection = _few(pool), _few(selection)
    before, after = _Counts(pool), _Counts(selection)
    if not before.total or not after.total:
        return [], []
    grams = np.sort(np.concatenate([before.grams, after.grams]))
    grams = grams[_starts_of_runs(grams)]
    b, a = before.of(grams, before.counts), after.of(grams, after.counts)
    holders = before.of(grams, before.holders) + after.of(grams, after.holders)
    total = after.total + before.total
    ratio = np.log(a / after.total + 1 / total) - np.log(b / before.total + 1 / total)
    score = ratio * np.sqrt((a + b) / total)
    score[holders < _LEAST_DOCUMENTS] = 0.0
    order = np.lexsort((grams, -score))
    gained = [i for i in order[:most] if score[i] > 0]
    lost = [i for i in order[::-1][:most] if score[i] < 0]

    def shift(i: int) -> Shift:
        source = after if a[i] else before
        name = source.name(int(grams[i]))
        pool_rate, rate = 1e6 * b[i] / before.total, 1e6 * a[i] / after.total
        return Shift(name, float(pool_rate), float(rate), float(ratio[i]))

    return [shift(i) for i in gained], [shift(i) for i in lost]


def _few(documents: Documents) -> Documents:
    """Return the first documents, as many as are looked at."""
    enough = np.cumsum(documents.text_bytes) <= _TEXT_BYTES
    return documents.take(np.arange(max(int(np.count_nonzero(enough)), min(1, len(documents)))))


def _starts_of_runs(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    starts = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=starts[1:])
    return starts


def _first_of_runs(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.flatnonzero(_starts_of_runs(values))


class _Counts:
    """Distinct n-grams by hash: how often, in how many documents, and where one stands."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        spans, ids = _WORDS.rows(documents)
        owner = np.repeat(np.arange(len(documents)), np.diff(spans))
        self.total = len(ids)
        # Sorted by (n-gram, document), where runs are counted: faster than np.unique.
        pairs = np.sort(ids.astype(np.uint64) << np.uint64(32) | owner.astype(np.uint64))
        grams = pairs >> np.uint64(32)
        first = _first_of_runs(grams)
        self.grams = grams[first]
        self.counts = np.diff(np.append(first, len(grams)))
        holders = np.zeros(len(pairs) + 1, np.int64)
        np.cumsum(_starts_of_runs(pairs), out=holders[1:])
        self.holders = np.diff(holders[np.append(first, len(grams))])
        self._where = (pairs[first] & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def of(self, grams: NDArray[np.uint64], values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the values of some n-grams, 0 for those that are not here."""
        if not len(self.grams):
            return np.zeros(len(grams), np.int64)
        place = np.minimum(np.searchsorted(self.grams, grams), len(self.grams) - 1)
        return np.where(self.grams[place] == grams, values[place], 0)

    def name(self, gram: int) -> str:
        """Return the words of an n-gram that is here."""
        row = int(self._where[np.searchsorted(self.grams, np.uint64(gram))])
        return next(
            name for name, bucket in _WORDS.grams(self._documents.text(row)) if bucket == gram
        )
