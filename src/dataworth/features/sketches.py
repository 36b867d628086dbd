"""Shingles of documents, and sketches that estimate how alike two sets of shingles are.

A sketch hashes by one permutation (Li, Owen and Zhang 2012): the shingles' hashes fall into bins,
and of each bin the least one is kept; empty bins are filled from others at random (Shrivastava
2017). The share of bins in which two sketches agree estimates the Jaccard similarity of the sets.
32 bits are kept of each bin: a short text has few shingles, which fill all its bins, so a byte
would make equals of different ones. (Papers remembered.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.kernels.simd import kernel
from dataworth.corpus.uid import hash_uid
from dataworth.features.grams import Words, ngrams_of, words_of

_STREAM = 0x6D696E68  # of `hash_uid`
_ATTEMPTS = 4096  # places that are tried for an empty bin, before the first full one is taken
_CHANCE = 2.0**-32  # that two bins are equal although their shingles are not


def shingles_of(words: Words, size: int) -> Words:
    """Return the shingles of `size` words; a text of fewer words, but some, is one shingle."""
    grams = ngrams_of(words, size)
    short = np.flatnonzero((words.counts > 0) & (words.counts < size))
    if not len(short):
        return grams
    whole = [_folded(words.hashes[words.spans[row] : words.spans[row + 1]]) for row in short]
    hashes = np.insert(grams.hashes, grams.spans[short], np.array(whole, np.uint64))
    counts = grams.counts.copy()
    counts[short] += 1
    return Words(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), hashes)


def _folded(hashes: NDArray[np.uint64]) -> int:
    value = len(hashes)
    for number in hashes.tolist():
        value = (value * 0x9E3779B97F4A7C15 + number) % 2**64
    return value


@cache
def _elsewhere(bins: int) -> NDArray[np.uint64]:
    """Return the bins that fill an empty one, [attempts, bins]; the first full one counts."""
    attempt = np.arange(1, _ATTEMPTS + 1, dtype=np.uint64)[:, None]
    keys = np.arange(bins, dtype=np.uint64) + np.uint64(bins) * attempt
    return hash_uid(1, keys, _STREAM) % np.uint64(bins)


@kernel
def _least(values, spans, elsewhere, least, out):  # type: ignore[no-untyped-def]
    bins = np.uint64(out.shape[1])
    nothing = np.uint64(0xFFFFFFFFFFFFFFFF)
    for row in range(len(spans) - 1):
        if spans[row] == spans[row + 1]:
            continue
        for i in range(bins):
            least[i] = nothing
        for at in range(spans[row], spans[row + 1]):
            bin_at = ((values[at] >> np.uint64(32)) * bins) >> np.uint64(32)
            least[bin_at] = min(least[bin_at], values[at])
        for i in range(bins):
            value = least[i]
            attempt = 0
            while value == nothing and attempt < len(elsewhere):
                value = least[elsewhere[attempt, i]]
                attempt += 1
            full = np.uint64(0)
            while value == nothing:
                value = least[full]
                full += np.uint64(1)
            # The lower half: which bin a value fell into says nothing of it.
            out[row, i] = np.uint32(value & np.uint64(0xFFFFFFFF))


def sketch_words(
    words: Words, size: int, bins: int
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return (sketches uint32 [n, bins] of shingles of `size` words, whether there is one [n])."""
    shingles = shingles_of(words, size)
    out = np.zeros((len(words), bins), np.uint32)
    values = hash_uid(0, shingles.hashes, _STREAM)
    _least(values, shingles.spans, _elsewhere(bins), np.empty(bins, np.uint64), out)
    return out, words.counts > 0


def band_keys(sketch: NDArray[np.uint32], bands: int) -> NDArray[np.uint64]:
    """Return a key for each band of equally many bins, uint64 [n, bands]."""
    rows = sketch.shape[1] // bands
    keys = np.zeros((len(sketch), bands), np.uint64)
    for band in range(bands):
        packed = np.full(len(sketch), band, np.uint64)
        for column in range(band * rows, (band + 1) * rows):
            packed = hash_uid(0, packed ^ sketch[:, column].astype(np.uint64), _STREAM)
        keys[:, band] = np.maximum(packed, 1)  # 0 is no key
    return keys


def estimated_jaccard(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return the Jaccard similarity that the sketches of each pair estimate, [p]."""
    return np.asarray(((first == second).mean(1) - _CHANCE) / (1 - _CHANCE))


@kernel
def _distinct(hashes, spans, out, counts):  # type: ignore[no-untyped-def]
    filled = 0
    for row in range(len(spans) - 1):
        own = np.sort(hashes[spans[row] : spans[row + 1]])
        before = filled
        for i in range(len(own)):
            if i == 0 or own[i] != own[i - 1]:
                out[filled] = own[i]
                filled += 1
        counts[row] = filled - before
    return filled


@kernel
def _jaccard(values, spans, out):  # type: ignore[no-untyped-def]
    for pair in range(len(out)):
        a, stop, b, end = (
            spans[2 * pair],
            spans[2 * pair + 1],
            spans[2 * pair + 1],
            spans[2 * pair + 2],
        )
        total, both = end - a, 0
        while a < stop and b < end:
            if values[a] == values[b]:
                both += 1
                a += 1
                b += 1
            elif values[a] < values[b]:
                a += 1
            else:
                b += 1
        out[pair] = both / (total - both) if total > both else 1.0


def exact_jaccard(sets: pa.Array) -> NDArray[np.float64]:
    """Return the Jaccard similarity of sets 2i and 2i + 1, [p], of sorted lists of hashes [2p]."""
    sets = sets.cast(pa.large_list(pa.uint64()))
    spans = np.concatenate([[0], np.cumsum(sets.value_lengths().to_numpy())]).astype(np.int64)
    out = np.empty(len(sets) // 2)
    _jaccard(sets.flatten().to_numpy(), spans, out)
    return out


@dataclass(frozen=True)
class Sketch:
    """A document's sketch of `bins` numbers of its shingles of `size` words."""

    size: int = 5
    bins: int = 112
    name = "sketch"

    def values(self, documents: Documents) -> NDArray[np.uint32]:
        """Sketch documents, uint32 [n, bins]; zeros for a text without a word."""
        return sketch_words(words_of(documents, punctuation=False), self.size, self.bins)[0]


@dataclass(frozen=True)
class ShingleSet:
    """A document's different shingles of `size` words, as sorted hashes."""

    size: int = 5
    name = "shingles"

    def values(self, documents: Documents) -> pa.Array:
        """Return lists of uint64, [n]; empty for a text without a word."""
        shingles = shingles_of(words_of(documents, punctuation=False), self.size)
        values = np.empty(len(shingles.hashes), np.uint64)
        counts = np.empty(len(shingles), np.int64)
        filled = _distinct(shingles.hashes, shingles.spans, values, counts)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values[:filled]))
