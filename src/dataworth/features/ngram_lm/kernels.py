"""Kernels of n-gram language models: lines, words and n-grams numbered by hash tables, scores.

A model is an automaton. A state is an n-gram that some longer n-gram begins with; the next word
leads to a longer n-gram, which has the probability, or to the state without its oldest word, at the
cost of a backoff. Keys are pairs (state, word), so that no two n-grams are taken for one another.

A table is uint64 [slots, 2] of (key, value), with a power of two of slots, and key 0 for none.
"""

from __future__ import annotations

import numpy as np

from dataworth.corpus.kernels.simd import BYTES, INTS, eager, kernel, multiply_fold

UNKNOWN, BEGIN, END = 0, 1, 2
"""The words that every model has: <unk>, <s> and </s>."""
SPECIALS = 3

_K1 = np.uint64(0x9E3779B97F4A7C15)
_K2 = np.uint64(0xE7037ED1A0B428DB)
_0 = np.uint64(0)
_1 = np.uint64(1)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_IDS = "Array(int32, 1, 'C', readonly=True)"
_HASHES = "Array(uint64, 1, 'C', readonly=True)"
_TABLE = "Array(uint64, 2, 'C', readonly=True)"
_FLOATS = "Array(float32, 1, 'C', readonly=True)"


@kernel
def _slot(table, key):  # type: ignore[no-untyped-def]
    """Find the slot of a key, or the empty one where it would stand."""
    mask = np.uint64(len(table) - 1)
    slot = multiply_fold(key ^ _K1, _K2) & mask
    while table[slot, _0] != key and table[slot, _0] != _0:
        slot = (slot + _1) & mask
    return slot


@kernel
def _pair(state, word):  # type: ignore[no-untyped-def]
    return ((np.uint64(state) << _32) | np.uint64(word)) + _1


@eager(f"int64({BYTES}, {INTS}, {INTS}, int64[::1], int64[::1], int64[::1])")
def find_lines(data, from_, to, owner, starts, ends):  # type: ignore[no-untyped-def]
    """Write the lines of all texts: the row of the text, start and end; return their number."""
    count = 0
    for row in range(len(from_)):
        start = from_[row]
        for at in range(from_[row], to[row] + 1):
            if at == to[row] or data[np.uint64(at)] == 10:
                owner[count] = row
                starts[count] = start
                ends[count] = at
                count += 1
                start = at + 1
    return count


@eager(f"int64({_HASHES}, {_TABLE}, int32[::1])")
def number_words(hashes, table, ids):  # type: ignore[no-untyped-def]
    """Write the id of each word, UNKNOWN for one that is not in the table; return the known."""
    known = 0
    for i in range(len(hashes)):
        slot = _slot(table, hashes[i] | _1)
        ids[i] = np.int32(table[slot, _1]) if table[slot, _0] else np.int32(UNKNOWN)
        known += ids[i] != UNKNOWN
    return known


@eager(f"int64({_HASHES}, uint64[:, ::1], int64[::1])")
def collect_words(hashes, table, firsts):  # type: ignore[no-untyped-def]
    """Add every new word to the table, numbered from SPECIALS on, with its first occurrence.

    Returns the number of words. The table needs more slots than there are words.
    """
    count = 0
    for i in range(len(hashes)):
        key = hashes[i] | _1
        slot = _slot(table, key)
        if table[slot, _0] == _0:
            table[slot, _0] = key
            table[slot, _1] = np.uint64(count + SPECIALS)
            firsts[count] = i
            count += 1
    return count


@eager(f"int64({_IDS}, {_IDS}, int32[::1], uint64[:, ::1], int32[::1], int32[::1], int64[::1])")
def count_ngrams(ids, below, at, table, prefix, suffix, counts):  # type: ignore[no-untyped-def]
    """Number the n-grams of one order in the order in which they come; return how many.

    `ids`: words of all lines, each line within BEGIN and END. `below`: the number of the n-gram of
    one word less that ends at each word, -1 for none; `at` receives that of this order. `prefix`,
    `suffix` and `counts`, of each n-gram: its first words, its last words (both numbered as
    `below`), and its occurrences.
    """
    total = 0
    for i in range(len(ids)):
        at[i] = -1
        if i == 0 or ids[i] == BEGIN or below[i - 1] < 0:
            continue
        key = _pair(below[i - 1], ids[i])
        slot = _slot(table, key)
        if table[slot, _0] == _0:
            table[slot, _0] = key
            table[slot, _1] = np.uint64(total)
            prefix[total] = below[i - 1]
            suffix[total] = below[i]
            counts[total] = 0
            total += 1
        number = np.int32(table[slot, _1])
        counts[number] += 1
        at[i] = number
    return total


@eager(f"void({_IDS}, {_IDS}, {_IDS}, {_FLOATS}, uint64[:, ::1], float32[:, ::1])")
def fill_ngrams(prefix, word, state, log_prob, table, floats):  # type: ignore[no-untyped-def]
    """Add n-grams to a table: the state that each leads to, and its probability.

    `floats` is the table seen as float32 [slots, 4]: its last column is the upper half of values.
    """
    for i in range(len(prefix)):
        key = _pair(prefix[i], word[i])
        slot = _slot(table, key)
        table[slot, _0] = key
        table[slot, _1] = np.uint64(np.uint32(state[i]))
        floats[slot, np.uint64(3)] = log_prob[i]


@kernel
def _score_word(word, state, table, floats, unigram, entered, backoff, fallback):  # type: ignore[no-untyped-def]
    """Return log10 of the word's probability after a state (-1: empty), and the next state."""
    total = 0.0
    while state >= 0:
        slot = _slot(table, _pair(state, word))
        if table[slot, _0] != _0:
            total += floats[slot, np.uint64(3)]
            return total, np.int32(np.uint32(table[slot, _1] & _LOW))
        total += backoff[state]
        state = fallback[state]
    return total + unigram[word], entered[word]


@eager(
    f"void({_HASHES}, {INTS}, {INTS}, {_TABLE}, {_TABLE}, Array(float32, 2, 'C', readonly=True),"
    f" {_FLOATS}, {_IDS}, {_FLOATS}, {_IDS}, float64[::1], int64[::1], int64[::1], float64[::1])"
)
def score(  # type: ignore[no-untyped-def]
    hashes,
    spans,
    owner,
    vocabulary,
    table,
    floats,
    unigram,
    entered,
    backoff,
    fallback,
    sums,
    words,
    unknown,
    each,
):
    """Add up log10 probabilities of lines, each from BEGIN to END.

    `hashes`: words of all lines, those of line i in `spans[i]:spans[i + 1]`, of text `owner[i]`.
    `unigram` float32 [V], `entered` int32 [V]: log10 probability of a word alone, and the state
    behind it. `backoff` float32, `fallback` int32 [states]. `sums`, `words`, `unknown` [texts] are
    added to: log10 probabilities, predicted words with one END a line, and unknown words. Lines
    without a word do not count. `each`, unless it is empty: of every word, [spans[-1] + lines].
    """
    for line in range(len(owner)):
        start = spans[line]
        end = spans[line + 1]
        if start == end:
            continue
        row = owner[line]
        state = entered[BEGIN]
        total = 0.0
        for i in range(start, end + 1):
            word = np.int32(END)
            if i < end:
                slot = _slot(vocabulary, hashes[i] | _1)
                word = np.int32(vocabulary[slot, _1]) if vocabulary[slot, _0] else np.int32(UNKNOWN)
                unknown[row] += word == UNKNOWN
            log, state = _score_word(
                word, state, table, floats, unigram, entered, backoff, fallback
            )
            total += log
            if len(each):
                each[i + line] = log
        sums[row] += total
        words[row] += end - start + 1
