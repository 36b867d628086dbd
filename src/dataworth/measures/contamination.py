"""Does a selection hold the validation set that it will be judged by? By word n-grams.

The rule (as GPT-3's, Brown et al. 2020, appendix C; remembered): words are case-folded, signs of
any script are left out, and 13 words in a row are one n-gram. A validation document is *hit* if one
of its n-grams is in the selection, and *held* if at least half of its different n-grams are. Of a
text of 8 to 12 words all of them together are its one n-gram, found where they stand in a row.
Shorter texts cannot be looked for. n-grams that more than 10 documents of the pool's sample hold,
and more than one of the validation set, are common phrases (licences, templates) and do not count.

n-grams are 64-bit hashes; a filter in front of the lookup makes a hit of the cheap case.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.features.grams import Words, ngrams_of, words_of

WORDS = 13
LEAST = 8
HELD = 0.5
COMMON = 10
MEASURED = (
    f"{WORDS} words in a row (lower case, signs left out; of texts of {LEAST} to {WORDS - 1} words "
    f"all of them); n-grams that more than {COMMON} documents of the pool's sample and several "
    "validation documents hold do not count"
)
_FILTER_BITS = 22


@dataclass
class Index:
    """A validation set's n-grams, ready to be looked for.

    `grams` uint64 [G], sorted, each once, with `sizes` uint8 [G] their words. `pairs_gram`,
    `pairs_document` int64 [P]: which n-gram (row of `grams`) is in which document. `counts` int64
    [n]: different n-grams of each document that count; `searchable` bool [n]. `found` bool [G]:
    n-grams that were seen.
    """

    documents: Documents
    grams: NDArray[np.uint64]
    sizes: NDArray[np.uint8]
    pairs_gram: NDArray[np.int64]
    pairs_document: NDArray[np.int64]
    searchable: NDArray[np.bool_]
    uid: NDArray[np.uint64]
    counted: NDArray[np.bool_]
    _filter: NDArray[np.bool_] = field(repr=False)

    def look(self, documents: Documents) -> Seen:
        """Find the index's n-grams that the documents hold, and the documents that hold any."""
        return self.look_words(words_of(documents, punctuation=False), documents.uid)

    def look_words(self, words: Words, uid: NDArray[np.uint64]) -> Seen:
        """`look` for documents whose words were cut before (without signs)."""
        grams, hits = self._matches(words)
        found = np.zeros(len(self.grams), np.bool_)
        found[grams[self.counted[grams]]] = True
        holds = np.zeros(len(words), np.bool_)
        holds[hits[self.counted[grams]]] = True
        return Seen(found, int(holds.sum()), len(words), np.intersect1d(uid, self.uid))

    def holders_words(self, words: Words) -> NDArray[np.bool_]:
        """Tell which documents, given as words without signs, hold any n-gram; bool [n]."""
        grams, hits = self._matches(words)
        holds = np.zeros(len(words), np.bool_)
        holds[hits[self.counted[grams]]] = True
        return holds

    def leave_out_common(self, sample: Documents) -> int:
        """Let n-grams that are common in a sample of the pool no longer count; how many."""
        grams, rows = self._matches(words_of(sample, punctuation=False))
        held, _ = _different(grams, rows, len(sample))
        holders = np.bincount(held, minlength=len(self.grams))
        inside = np.bincount(self.pairs_gram, minlength=len(self.grams))
        self.counted = ~((holders > COMMON) & (inside > 1))
        return int(np.count_nonzero(~self.counted))

    def _matches(self, words: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n-gram, document) of every occurrence of an n-gram of the index."""
        all_grams, all_rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for size in np.unique(self.sizes).tolist():
            here = ngrams_of(words, size)
            bits = here.hashes >> np.uint64(64 - _FILTER_BITS)
            likely = np.flatnonzero(self._filter[bits.astype(np.int64)])
            hashes = here.hashes[likely]
            place = np.minimum(np.searchsorted(self.grams, hashes), len(self.grams) - 1)
            same = (self.grams[place] == hashes) & (self.sizes[place] == size)
            all_grams.append(place[same])
            at = np.searchsorted(here.spans, likely[same], side="right") - 1
            all_rows.append(at)
        return np.concatenate(all_grams), np.concatenate(all_rows)


@dataclass(frozen=True)
class Seen:
    """The n-grams of an index that documents hold. `found` bool [G]; `holding` documents hold any.

    `equal` uint64: uids of validation documents that are among them, sorted.
    """

    found: NDArray[np.bool_]
    holding: int
    documents: int
    equal: NDArray[np.uint64]

    def merge(self, other: Seen) -> Seen:
        """Both parts together."""
        return Seen(
            self.found | other.found,
            self.holding + other.holding,
            self.documents + other.documents,
            np.union1d(self.equal, other.equal),
        )


@dataclass(frozen=True)
class Found:
    """The answer. `documents`: of the validation set, long enough to be looked for; `short`: not.

    `shares` float64 [n]: of the different n-grams of each validation document, those that the
    selection holds; NaN for short ones. `hit`, `held`, `equal` count validation documents,
    `holding` documents of the selection, of `selected`.
    """

    documents: int
    short: int
    hit: int
    held: int
    equal: int
    holding: int
    selected: int
    shares: NDArray[np.float64]


def index(validation: Documents) -> Index:
    """Return a validation set's n-grams."""
    words = words_of(validation, punctuation=False)
    sizes = np.where(words.counts >= WORDS, WORDS, words.counts)
    searchable = words.counts >= LEAST
    hashes, documents, lengths = [], [], []
    for size in np.unique(sizes[searchable]).tolist():
        here = ngrams_of(words, size)
        owner = np.repeat(np.arange(len(words)), here.counts)
        wanted = sizes[owner] == size
        hashes.append(here.hashes[wanted])
        documents.append(owner[wanted])
        lengths.append(np.full(int(wanted.sum()), size, np.uint8))
    if not hashes:
        hashes, documents = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        lengths = [np.empty(0, np.uint8)]
    grams, first, place = np.unique(np.concatenate(hashes), return_index=True, return_inverse=True)
    pairs_gram, pairs_document = _different(place, np.concatenate(documents), len(words))
    filled = np.zeros(1 << _FILTER_BITS, np.bool_)
    filled[(grams >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)] = True
    return Index(
        documents=validation,
        grams=grams,
        sizes=np.concatenate(lengths)[first],
        pairs_gram=pairs_gram,
        pairs_document=pairs_document,
        searchable=searchable,
        uid=np.unique(validation.uid),
        counted=np.ones(len(grams), np.bool_),
        _filter=filled,
    )


def _different(
    grams: NDArray[np.int64], documents: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the different pairs of n-gram and document (below `count`), sorted."""
    keys = np.unique(grams * max(count, 1) + documents)
    return keys // max(count, 1), keys % max(count, 1)


def answer(looked: Index, seen: Seen) -> Found:
    """Return the shares of a validation set's n-grams that were found, and totals."""
    n = len(looked.documents)
    counts = looked.counted[looked.pairs_gram]
    document = looked.pairs_document[counts]
    many = np.bincount(document, minlength=n)
    there = np.bincount(document, seen.found[looked.pairs_gram[counts]], minlength=n)
    with np.errstate(invalid="ignore"):
        shares = np.where(many > 0, there / np.maximum(many, 1), 0.0)
    shares = np.where(looked.searchable, shares, np.nan)
    return Found(
        documents=int(looked.searchable.sum()),
        short=int(n - looked.searchable.sum()),
        hit=int(np.count_nonzero(shares > 0)),
        held=int(np.count_nonzero(shares >= HELD)),
        equal=int(np.isin(looked.documents.uid, seen.equal).sum()),
        holding=seen.holding,
        selected=seen.documents,
        shares=shares,
    )


def contamination(
    selection: Documents, validation: Documents, sample: Documents | None = None
) -> Found:
    """Measure how much of a validation set a selection holds; `sample`: random pool documents."""
    looked = index(validation)
    if sample is not None:
        looked.leave_out_common(sample)
    return answer(looked, looked.look(selection))
