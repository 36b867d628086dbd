"""Texts that a selection holds more than once: to the byte, and nearly.

Near: MinHash by one permutation with 48 bins (Li, Owen and Zhang 2012) of 5-word shingles, empty
bins filled from others at random (Shrivastava 2017), 32 bits kept of each bin: a short text has few
shingles, which fill all its bins, so a byte would make equals of different ones; 192 bytes a
document. Documents that share one of 8 bands of 6 bins are compared; they are near duplicates if
the Jaccard similarity that the bins estimate is at least 0.7. Of pairs with similarity s, a share
of 1 - (1 - s^6)^8 is compared: 0.998 at 0.9, 0.91 at 0.8, 0.63 at 0.7, 0.12 at 0.5. (All papers
remembered.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.measures.grams import Words, ngrams_of, words_of

SHINGLE = 5
BINS = 48
BANDS = 8
ALIKE = 0.7
MEASURED = (
    f"MinHash of {SHINGLE}-word shingles, {BINS} bins; estimated Jaccard similarity of {ALIKE} or "
    "more"
)
_ROWS = BINS // BANDS
_STREAM = 0x6D696E68  # of `hash_uid`
_CHANCE = 2.0**-32  # that two bins are equal although their shingles are not


@dataclass(frozen=True)
class Exact:
    """`repeated`: documents whose text came before; `largest`: copies of the most frequent text."""

    documents: int
    distinct: int
    repeated: int
    largest: int


def exact(uid: NDArray[np.uint64], copies: NDArray[np.integer] | None = None) -> Exact:
    """Exact duplicates by uid. `copies` [n]: how often each document is there; None: once."""
    if not len(uid):
        return Exact(0, 0, 0, 0)
    many = np.ones(len(uid), np.int64) if copies is None else copies.astype(np.int64)
    distinct, place = np.unique(uid, return_inverse=True)
    counts = np.bincount(place, many).astype(np.int64)
    total = int(counts.sum())
    return Exact(total, len(distinct), total - len(distinct), int(counts.max()))


def sketches(documents: Documents) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """(a sketch of each document uint32 [n, 48], whether it has one bool [n]).

    A text without a word has none. One of fewer than five words is one shingle.
    """
    return sketches_of(words_of(documents, punctuation=False))


def sketches_of(words: Words) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """`sketches` of words that were cut before."""
    shingles = ngrams_of(words, SHINGLE)
    counts = words.counts
    n = len(words)
    least = np.full(n * BINS, np.iinfo(np.uint64).max, np.uint64)
    owner = np.repeat(np.arange(n), shingles.counts)
    values = hash_uid(0, shingles.hashes, _STREAM)
    short = np.flatnonzero((counts > 0) & (counts < SHINGLE))
    if len(short):
        # All its words together, in order.
        whole = [_folded(words.hashes[words.spans[row] : words.spans[row + 1]]) for row in short]
        values = np.concatenate([values, hash_uid(0, np.array(whole, np.uint64), _STREAM)])
        owner = np.concatenate([owner, short])
    bins = ((values >> np.uint64(32)) * np.uint64(BINS)) >> np.uint64(32)
    np.minimum.at(least, owner * BINS + bins.astype(np.int64), values)
    table = least.reshape(n, BINS)
    known = counts > 0
    _fill(table, known)
    # The lower half: which bin a value fell into says nothing of it.
    return table.astype(np.uint32), known


def _folded(hashes: NDArray[np.uint64]) -> int:
    value = len(hashes)
    for number in hashes.tolist():
        value = (value * 0x9E3779B97F4A7C15 + number) % 2**64
    return value


def _fill(table: NDArray[np.uint64], known: NDArray[np.bool_]) -> None:
    """Each empty bin gets the value of a full one, at a place that hangs on bin and attempt."""
    nothing = np.iinfo(np.uint64).max
    rows, bins = np.nonzero((table == nothing) & known[:, None])
    source = table.copy()
    attempt = 0
    while len(rows):
        attempt += 1
        key = bins.astype(np.uint64) + np.uint64(BINS * attempt)
        place = (hash_uid(1, key, _STREAM) % np.uint64(BINS)).astype(np.int64)
        found = source[rows, place]
        full = found != nothing
        table[rows[full], bins[full]] = found[full]
        rows, bins = rows[~full], bins[~full]


def near(sketch: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The group of near duplicates of each document, int64 [n]: its first member's row.

    `sketch` uint32 [n, 48], of different texts. Groups are chains: a member is near to one other.
    """
    n = len(sketch)
    parent = np.arange(n)
    for band in range(BANDS):
        packed = np.zeros(n, np.uint64)
        for column in range(band * _ROWS, (band + 1) * _ROWS):
            packed = hash_uid(0, packed ^ sketch[:, column].astype(np.uint64), _STREAM)
        order = np.argsort(packed, kind="stable")
        same = packed[order[1:]] == packed[order[:-1]]
        # To the first of those with one key, and to the one before.
        starts = np.flatnonzero(np.concatenate([[True], ~same])) if n else np.empty(0, np.int64)
        sizes = np.diff(np.append(starts, n))
        leader = order[np.repeat(starts, sizes)]
        later = np.flatnonzero(np.concatenate([[False], same])) if n else starts
        pairs = {(int(a), int(b)) for a, b in zip(leader[later], order[later], strict=True)}
        pairs |= {(int(a), int(b)) for a, b in zip(order[later - 1], order[later], strict=True)}
        if not pairs:
            continue
        both = np.array(sorted(pairs))
        equal = (sketch[both[:, 0]] == sketch[both[:, 1]]).mean(1)
        alike = (equal - _CHANCE) / (1 - _CHANCE) >= ALIKE
        for a, b in both[alike].tolist():
            _join(parent, a, b)
    return np.array([_root(parent, row) for row in range(n)], np.int64)


def _root(parent: NDArray[np.int64], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = int(parent[row])
    return row


def _join(parent: NDArray[np.int64], a: int, b: int) -> None:
    first, second = sorted((_root(parent, a), _root(parent, b)))
    parent[second] = first
