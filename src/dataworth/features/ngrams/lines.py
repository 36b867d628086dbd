"""fastText's linear classifiers as one table of a line's words and n-grams.

A line's hidden vector is the mean of the rows of its features, and the logits are products of it
(Joulin et al. 2016, section 2). So the products of every row with the output matrix can be made
once: the logit of a label is the mean of one number a feature, and the model shrinks from `dim`
columns to the number of labels. Words are cut at fastText's seven white bytes, are not lower-cased,
and hashed by 32-bit FNV-1a whose bytes are extended with their sign; the end of the line is a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.kernels.simd import BYTES, INTS, eager, kernel

END = "</s>"
_OFFSET, _PRIME = np.uint32(2166136261), np.uint32(16777619)
_OFFSET64, _PRIME64 = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_GRAM = np.uint64(116049371)
_SIGN, _EXTENDED = np.uint32(0x80), np.uint32(0xFFFFFF00)
_HIGH = np.uint64(0xFFFFFFFF00000000)
_1 = np.uint64(1)
_WHITE = np.zeros(256, np.bool_)
_WHITE[list(b" \n\r\t\v\f\0")] = True


@kernel
def _hash_byte(hashed, wide, byte):  # type: ignore[no-untyped-def]
    extended = np.uint32(byte)
    if extended & _SIGN:
        extended |= _EXTENDED
    # Products of 32 bits have 64 in Numba.
    return np.uint32((hashed ^ extended) * _PRIME), (wide ^ np.uint64(byte)) * _PRIME64


@kernel
def _find(keys, wide):  # type: ignore[no-untyped-def]
    """Find the slot of a word, or the empty one where it would be. Keys are never 0."""
    mask = np.uint64(len(keys) - 1)
    wide |= _1
    slot = (wide ^ (wide >> np.uint64(29))) & mask
    while keys[slot] != np.uint64(0) and keys[slot] != wide:
        slot = (slot + _1) & mask
    return slot


@eager(f"void({BYTES}, {INTS}, {INTS}, uint64[::1], int32[::1])")
def _index(data, starts, ends, keys, rows):  # type: ignore[no-untyped-def]
    """Enter each word under its 64-bit FNV-1a; of equal ones the first stays."""
    for row in range(len(starts)):
        hashed, wide = _OFFSET, _OFFSET64
        for at in range(starts[row], ends[row]):
            hashed, wide = _hash_byte(hashed, wide, data[at])
        slot = _find(keys, wide)
        if keys[slot] == np.uint64(0):
            keys[slot] = wide | _1
            rows[slot] = row


@kernel
def _add(table, row, out, number):  # type: ignore[no-untyped-def]
    for label in range(table.shape[1]):
        out[number, label] += table[row, label]


@kernel
def _add_word(  # type: ignore[no-untyped-def]
    hashed, wide, keys, rows, table, words, buckets, partial, have, out, number
):
    """Add a word's row and those of the n-grams that end with it; return how many."""
    total = 0
    slot = _find(keys, wide)
    if keys[slot] != np.uint64(0):
        _add(table, rows[slot], out, number)
        total = 1
    signed = np.uint64(hashed)
    if hashed >> np.uint32(31):
        signed |= _HIGH
    longest = len(partial)
    for size in range(min(have, longest), 0, -1):
        gram = partial[size - 1] * _GRAM + signed
        _add(table, words + np.int64(gram % buckets), out, number)
        total += 1
        if size < longest:
            partial[size] = gram
    if longest:
        partial[0] = signed
    return total


_TABLE = "Array(float32, 2, 'C', readonly=True)"
_KEYS = "Array(uint64, 1, 'C', readonly=True)"
_ROWS = "Array(int32, 1, 'C', readonly=True)"


@eager(
    f"void({BYTES}, {INTS}, {INTS}, {BYTES}, {_KEYS}, {_ROWS}, {_TABLE}, int64, uint64, "
    "uint64[::1], float64[:, ::1])"
)
def _score(data, starts, ends, prefix, keys, rows, table, words, buckets, partial, out):  # type: ignore[no-untyped-def]
    end_hash, end_wide = _OFFSET, _OFFSET64
    for byte in (60, 47, 115, 62):  # </s>
        end_hash, end_wide = _hash_byte(end_hash, end_wide, np.uint8(byte))
    for number in range(len(starts)):
        at, stop = starts[number], ends[number]
        have, total = 0, 0
        while at < stop:
            first = at
            same = True  # as the prefix of labels, so far
            hashed, wide = _OFFSET, _OFFSET64
            while at < stop and not _WHITE[data[at]]:
                if at - first < len(prefix):
                    same &= data[at] == prefix[at - first]
                hashed, wide = _hash_byte(hashed, wide, data[at])
                at += 1
            size = at - first
            at += 1
            if size == 0 or (same and size >= len(prefix)):
                continue
            if wide == end_wide and size == 4:
                break
            total += _add_word(
                hashed, wide, keys, rows, table, words, buckets, partial, have, out, number
            )
            have += 1
        total += _add_word(
            end_hash, end_wide, keys, rows, table, words, buckets, partial, have, out, number
        )
        for label in range(table.shape[1]):
            out[number, label] = out[number, label] / total if total else np.nan


@dataclass(frozen=True)
class LineTable:
    """A trained classifier of lines: a number for each feature and label.

    `table` float32 [words + buckets, labels]; `keys` uint64 and `rows` int32 [2^k]: where a word's
    row is. `ngrams`: the longest n-gram. `prefix`: what words begin with that are labels, and are
    left out.
    """

    table: NDArray[np.float32]
    keys: NDArray[np.uint64]
    rows: NDArray[np.int32]
    ngrams: int
    buckets: int
    prefix: str

    @staticmethod
    def of(
        words: Sequence[str],
        inputs: NDArray[np.float32],
        outputs: NDArray[np.float32],
        *,
        ngrams: int,
        prefix: str,
    ) -> LineTable:
        """Return the table of a model.

        Parameters
        ----------
        words : the vocabulary, in the order of the rows.
        inputs : float32 [words + buckets, dim].
        outputs : float32 [labels, dim].
        """
        table = np.empty((len(inputs), len(outputs)), np.float32)
        for start in range(0, len(inputs), 1 << 16):
            table[start : start + (1 << 16)] = inputs[start : start + (1 << 16)] @ outputs.T
        size = 1 << int(2 * max(len(words), 1) - 1).bit_length()
        keys, rows = np.zeros(size, np.uint64), np.zeros(size, np.int32)
        vocabulary = Documents.from_texts(words)
        _index(vocabulary.data, vocabulary.starts, vocabulary.ends, keys, rows)
        buckets = len(inputs) - len(words)
        return LineTable(table, keys, rows, ngrams if buckets else 1, buckets, prefix)

    def logits(self, documents: Documents) -> NDArray[np.float64]:
        """Return the logit of each label, float64 [n, labels]; NaN for a text without a feature.

        Line ends count as spaces.
        """
        out = np.zeros((len(documents), self.table.shape[1]))
        _score(
            documents.data,
            documents.starts,
            documents.ends,
            np.frombuffer(self.prefix.encode(), np.uint8),
            self.keys,
            self.rows,
            self.table,
            len(self.table) - self.buckets,
            np.uint64(max(self.buckets, 1)),
            np.zeros(self.ngrams - 1, np.uint64),
            out,
        )
        return out
