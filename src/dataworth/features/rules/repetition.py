"""Repetition within a text, by lines, paragraphs and word n-grams, as a kernel.

Rae et al. 2021, arXiv 2112.11446, table A1, as datatrove counts: shares are of the characters of
the whole text; a line or paragraph counts as a duplicate when it was there before. The characters
of the most frequent n-gram are those of its words and the spaces between them, times its number.
Repeated n-grams are looked for from left to right; behind one that was there before, the search
goes on after its last word, and its characters are those of its words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.kernels.simd import kernel, multiply_fold
from dataworth.features.ngrams.tokens import decode
from dataworth.features.rules import characters as c
from dataworth.features.rules.characters import character_table
from dataworth.features.rules.hashing import BASE
from dataworth.features.rules.words import HASH, POWER, SIZE, cut, pieces

NAMES = ("paragraphs", "paragraph_characters", "lines", "line_characters")
_SPACE = np.uint32(c.SPACE)
_BASE = np.uint64(BASE)
_1 = np.uint64(1)
_MIX = np.uint64(0xE7037ED1A0B428DB)


@kernel
def find_slot(keys, stamps, stamp, key, mask):  # type: ignore[no-untyped-def]
    """Find a key's slot in an open hash table, in which only entries of this `stamp` count."""
    slot = (multiply_fold(key ^ _MIX, _BASE)) & mask
    while stamps[slot] == stamp and keys[slot] != key:
        slot = (slot + _1) & mask
    return slot


@kernel
def mask_for(size):  # type: ignore[no-untyped-def]
    """Return the slots less one of a table that is at most half full with `size` entries."""
    slots = 16
    while slots < 2 * size:
        slots *= 2
    return np.uint64(slots - 1)


@kernel
def _duplicates(data, start, end, least, memory):  # type: ignore[no-untyped-def]
    """(pieces, duplicates, characters of duplicates) of a text cut at `least` or more line feeds.

    `memory`: (keys uint64, stamps uint32, counts int64, the last stamp int64 [1]).
    """
    keys, stamps, _, last = memory
    last[0] += 1
    stamp = np.uint32(last[0])
    feeds = 0
    for place in range(start, end):
        feeds += data[place] == 10
    mask = mask_for(feeds + 1)
    pieces, duplicates, repeated = 0, 0, 0
    value, size = np.uint64(0), 0
    at, stop = np.uint64(start), np.uint64(end)
    while True:
        run = np.uint64(0)
        while at + run < stop and data[at + run] == 10:
            run += _1
        done = at >= stop
        if done or run >= np.uint64(least):
            pieces += 1
            key = value ^ np.uint64(size)
            slot = find_slot(keys, stamps, stamp, key, mask)
            if stamps[slot] == stamp:
                duplicates += 1
                repeated += size
            stamps[slot] = stamp
            keys[slot] = key
            value, size = np.uint64(0), 0
            at += run
            if done:
                return pieces, duplicates, repeated
            if at >= stop:
                continue
        elif run:
            for _step in range(run):
                value = value * _BASE + np.uint64(11)
                size += 1
            at += run
            continue
        code, width = decode(data, at)
        value = value * _BASE + np.uint64(code) + _1
        size += 1
        at += width


@kernel
def stripped(data, start, end, table):  # type: ignore[no-untyped-def]
    """Return the text's bounds without white space around it."""
    first, last = np.int64(-1), np.int64(start)
    at, stop = np.uint64(start), np.uint64(end)
    while at < stop:
        code, width = decode(data, at)
        if not table[code] & _SPACE:
            if first < 0:
                first = np.int64(at)
            last = np.int64(at + width)
        at += width
    return (first, last) if first >= 0 else (start, start)


@kernel
def _top(tokens, n, memory):  # type: ignore[no-untyped-def]
    """Return the characters in the most frequent n-gram's occurrences, the first among equals."""
    keys, stamps, counts, last = memory
    last[0] += 1
    stamp = np.uint32(last[0])
    count = len(tokens)
    mask = mask_for(count)
    most = 0
    for k in range(count - n + 1):
        key = tokens[k, HASH]
        for word in range(k + 1, k + n):
            key = multiply_fold(key ^ _MIX, tokens[word, HASH] ^ _BASE)
        slot = find_slot(keys, stamps, stamp, key, mask)
        if stamps[slot] != stamp:
            stamps[slot] = stamp
            keys[slot] = key
            counts[slot] = 0
        counts[slot] += 1
        most = max(most, counts[slot])
    for k in range(count - n + 1):
        key = tokens[k, HASH]
        size = np.int64(tokens[k, SIZE])
        for word in range(k + 1, k + n):
            key = multiply_fold(key ^ _MIX, tokens[word, HASH] ^ _BASE)
            size += np.int64(tokens[word, SIZE]) + 1
        if counts[find_slot(keys, stamps, stamp, key, mask)] == most:
            return most * size
    return 0


@kernel
def _repeated(tokens, n, memory):  # type: ignore[no-untyped-def]
    """Count the characters in n-grams that were there before."""
    keys, stamps, _, last = memory
    last[0] += 1
    stamp = np.uint32(last[0])
    count = len(tokens)
    mask = mask_for(count)
    repeated = np.int64(0)
    k = 0
    while k < count - n + 1:
        key, size = tokens[k, HASH], np.int64(tokens[k, SIZE])
        for word in range(k + 1, k + n):
            key = key * tokens[word, POWER] + tokens[word, HASH]
            size += np.int64(tokens[word, SIZE])
        slot = find_slot(keys, stamps, stamp, key, mask)
        if stamps[slot] == stamp:
            repeated += size
            k += n
        else:
            stamps[slot] = stamp
            keys[slot] = key
            k += 1
    return repeated


@kernel
def _repetition(  # type: ignore[no-untyped-def]
    data, starts, ends, table, tops, repeats, tokens, spans, characters, memory, out
):
    """Write a row of shares for each text: `NAMES`, then those of `tops`, then of `repeats`."""
    for row in range(len(starts)):
        start, end = starts[row], ends[row]
        words = tokens[spans[row] : spans[row + 1]]
        total = characters[row]
        if total == 0:
            out[row] = np.nan
            continue
        first, last = stripped(data, start, end, table)
        pieces, duplicates, repeated = _duplicates(data, first, last, 2, memory)
        out[row, 0] = duplicates / pieces
        out[row, 1] = repeated / total
        pieces, duplicates, repeated = _duplicates(data, start, end, 1, memory)
        out[row, 2] = duplicates / pieces
        out[row, 3] = repeated / total
        column = 4
        for n in tops:
            out[row, column] = _top(words, n, memory) / total
            column += 1
        for n in repeats:
            out[row, column] = _repeated(words, n, memory) / total
            column += 1


def table_memory(
    longest: int,
) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """Return the memory of a hash table for texts of up to `longest` bytes."""
    slots = 16 << (2 * longest).bit_length()
    return (
        np.empty(slots, np.uint64),
        np.zeros(slots, np.uint32),
        np.empty(slots, np.int64),
        np.zeros(1, np.int64),
    )


def repetition(
    documents: Documents, tops: Sequence[int], repeats: Sequence[int]
) -> NDArray[np.float64]:
    """Return shares float64 [n, 4 + tops + repeats] of each document; NaN for an empty text.

    Parameters
    ----------
    tops : lengths of n-grams of which the most frequent one counts.
    repeats : lengths of n-grams of which all repeated ones count.
    """
    out = np.empty((len(documents), len(NAMES) + len(tops) + len(repeats)))
    sizes = np.array(tops, np.int64), np.array(repeats, np.int64)
    table = character_table()
    for rows, piece in pieces(documents):
        data, starts, ends = piece.data, piece.starts, piece.ends
        words = cut(data, starts, ends)
        memory = table_memory(int(piece.text_bytes.max()))
        _repetition(
            *(data, starts, ends, table, *sizes),
            *(words.tokens, words.spans, words.characters, memory, out[rows]),
        )
    return out
