"""The words of English text as a kernel, cut as spaCy's tokenizer cuts them.

The published rules of Gopher and FineWeb count these words (in their reference implementation,
datatrove). White space ends a chunk. From a chunk, signs are split at the beginning and the end
while there are any; what is left is a word if it is a known exception or an address; else it is
split at hyphens, dots and the like within it.

Characters are worked on as code points: `codes` and `flags` uint32 hold those of one chunk, `at`
int64 the bytes they begin at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.kernels.simd import kernel
from dataworth.features.ngrams.tokens import decode
from dataworth.features.rules import characters as c
from dataworth.features.rules.addresses import is_address, is_digit
from dataworth.features.rules.characters import character_table
from dataworth.features.rules.exceptions import LONGEST, SLOTS, exception_table
from dataworth.features.rules.hashing import BASE, text_hash

# What `tokens` uint64 [words, 6] says of a word.
START, END, SIZE, HASH, POWER, KIND = range(6)
SYMBOLS, HAS_LETTER, IS_STOP, IS_MARK = (np.uint64(1 << bit) for bit in range(4))

PIECE_BYTES = 1 << 20
_CHUNK = (np.uint32, np.uint32, np.int64, np.int64, np.int64)
_BASE = np.uint64(BASE)
_1 = np.uint64(1)
_UNIT_WORDS = """km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t
lb oz m/s km/h kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K %"""
_UNITS = np.sort(np.array([text_hash(unit) for unit in _UNIT_WORDS.split()], np.uint64))
_UNIT_CHARACTERS = 4
_SPACE, _LETTER, _LOWER, _UPPER = (np.uint32(x) for x in (c.SPACE, c.LETTER, c.LOWER, c.UPPER))
_PREFIX, _SUFFIX, _QUOTE, _POINT = (np.uint32(x) for x in (c.PREFIX, c.SUFFIX, c.QUOTE, c.POINT))
_ICON, _CURRENCY, _SYMBOL, _MARK = (np.uint32(x) for x in (c.ICON, c.CURRENCY, c.SYMBOL, c.MARK))
_STOP, _DECIMAL = np.uint32(c.STOP), np.uint32(c.DECIMAL)
_DOT, _PLUS, _DASH, _ELLIPSIS = ord("."), ord("+"), ord("-"), ord("…")
_HYPHENS = (0x2D, 0x2013, 0x2014, 0x7E)


@kernel
def _hash(codes, i, j):  # type: ignore[no-untyped-def]
    value = np.uint64(0)
    for k in range(i, j):
        value = value * _BASE + np.uint64(codes[k]) + _1
    return value


@kernel
def _looked_up(key, keys, values):  # type: ignore[no-untyped-def]
    """Return the packed lengths of an exception's parts; 0 for none."""
    slot = key & np.uint64(SLOTS - 1)
    while keys[slot] != 0:
        if keys[slot] == key:
            return values[slot]
        slot = (slot + _1) & np.uint64(SLOTS - 1)
    return np.uint32(0)


@kernel
def _special(codes, i, j, keys, values):  # type: ignore[no-untyped-def]
    if j <= i or j - i > LONGEST:
        return np.uint32(0)
    return _looked_up(_hash(codes, i, j), keys, values)


@kernel
def _prefix(codes, flags, i, j):  # type: ignore[no-untyped-def]
    code = codes[i]
    if flags[i] & _PREFIX:
        return 1
    if code == _PLUS:
        return 0 if i + 1 < j and is_digit(codes[i + 1]) else 1
    if code == _DOT:
        stop = i
        while stop < j and codes[stop] == _DOT:
            stop += 1
        return stop - i if stop - i > 1 else 0
    # C$, A$ and US$.
    if (code == 67 or code == 65) and i + 1 < j and codes[i + 1] == 36:
        return 2
    if code == 85 and i + 2 < j and codes[i + 1] == 83 and codes[i + 2] == 36:
        return 3
    return 0


@kernel
def _suffix(codes, flags, i, j):  # type: ignore[no-untyped-def]
    if i >= j:
        return 0
    last = codes[j - 1]
    if last == _DOT:
        start = j
        while start > i and codes[start - 1] == _DOT:
            start -= 1
        if j - start > 1:
            return j - start
        if start == i:
            return 0
        before = codes[start - 1]
        if is_digit(before) or before == 0x25 or before == 0xB2 or before == 0x2D or before == 0x2B:
            return 1
        if flags[start - 1] & (_LOWER | _POINT | _QUOTE):
            return 1
        two = start - 1 > i and (flags[start - 1] & flags[start - 2] & _UPPER)
        return 1 if two else 0
    if (last == 115 or last == 83) and j - i > 1 and (codes[j - 2] == 39 or codes[j - 2] == 0x2019):
        return 2
    if last == _ELLIPSIS and j - i > 1 and codes[j - 2] == _ELLIPSIS:
        return 2
    if flags[j - 1] & _SUFFIX:
        return 1
    if last == _PLUS:
        return 1 if j - i > 1 and is_digit(codes[j - 2]) else 0
    start = j - 1
    while start > i and j - start <= _UNIT_CHARACTERS and not is_digit(codes[start - 1]):
        start -= 1
    if start > i and is_digit(codes[start - 1]) and start < j:
        if flags[j - 1] & _CURRENCY and j - start == 1:
            return 1
        key = _hash(codes, start, j)
        place = np.searchsorted(_UNITS, key)
        if place < len(_UNITS) and _UNITS[place] == key:
            return j - start
    return 0


@kernel
def _infix(codes, flags, i, p, j):  # type: ignore[no-untyped-def]
    """Return the length of what splits characters i to j at p; 0 for nothing."""
    code = codes[p]
    if flags[p] & _LETTER:
        return 0
    if code == _DOT and p + 1 < j and codes[p + 1] == _DOT:
        stop = p
        while stop < j and codes[stop] == _DOT:
            stop += 1
        return stop - p
    if code == _ELLIPSIS or flags[p] & _ICON:
        return 1
    if p == i or p + 1 >= j:
        return 0
    before, after = flags[p - 1], flags[p + 1]
    digit = is_digit(codes[p - 1])
    number = digit and (is_digit(codes[p + 1]) or codes[p + 1] == 45)
    if number and (code == 43 or code == 45 or code == 42 or code == 94):
        return 1
    if code == _DOT:
        return 1 if before & (_LOWER | _QUOTE) and after & (_UPPER | _QUOTE) else 0
    if code == 44:
        return 1 if before & after & _LETTER else 0
    if not digit and not before & _LETTER:
        return 0
    if code == 58 or code == 60 or code == 61 or code == 62 or code == 47:
        return 1 if after & _LETTER else 0
    if code not in _HYPHENS:
        return 0
    if after & _LETTER:
        return 1
    most = 3 if code == 45 else 2 if code == 0x2014 else 1
    for size in range(2, most + 1):
        if p + size >= j or codes[p + size - 1] != code:
            return 0
        if flags[p + size] & _LETTER:
            return size
    return 0


@kernel
def _write(tokens, count, start, end, size, value, power, kind):  # type: ignore[no-untyped-def]
    tokens[count, START] = start
    tokens[count, END] = end
    tokens[count, SIZE] = size
    tokens[count, HASH] = value
    tokens[count, POWER] = power
    tokens[count, KIND] = kind


@kernel
def _emit(codes, flags, at, i, j, tokens, count):  # type: ignore[no-untyped-def]
    """Write characters i to j as a word."""
    value, power = np.uint64(0), _1
    common, some = ~np.uint32(0), np.uint32(0)
    for k in range(i, j):
        value = value * _BASE + np.uint64(codes[k]) + _1
        power *= _BASE
        common &= flags[k]
        some |= flags[k]
    kind = np.uint64(0)
    if common & _SYMBOL:
        kind |= SYMBOLS
    if some & _LETTER:
        kind |= HAS_LETTER
    if common & _STOP and j - i == 1:
        kind |= IS_STOP
    if common & _MARK:
        kind |= IS_MARK
    _write(tokens, count, at[i], at[j], j - i, value, power, kind)


@kernel
def _inside(codes, flags, i, j, packed, bounds, words):  # type: ignore[no-untyped-def]
    """Append to `bounds` where words end in what is left of a chunk; return their number.

    `packed`: the lengths of an exception's parts, 0 for none.
    """
    while packed:
        i += np.int64(packed & np.uint32(255))
        bounds[words] = i
        words += 1
        packed >>= np.uint32(8)
        if packed == 0:
            return words
    if not is_address(codes, flags, i, j):
        start = i
        p = i
        while p < j:
            size = _infix(codes, flags, i, p, j)
            if size and p > i:
                if p > start:
                    bounds[words] = p
                    words += 1
                start = p + size
                bounds[words] = start
                words += 1
            p += max(size, 1)
        if start == j:
            return words
    bounds[words] = j
    return words + 1


@kernel
def _join(first, count, keys, values, tokens):  # type: ignore[no-untyped-def]
    """Make one word of neighbours that together are an exception, such as the two signs of a face.

    Of the words from `first` on, which are those of one chunk; returns the new count.
    """
    kept = first
    k = first
    while k < count:
        value, size = tokens[k, HASH], np.int64(tokens[k, SIZE])
        whole = value
        best = 0
        last = k + 1
        while last < count and size + np.int64(tokens[last, SIZE]) <= LONGEST:
            value = value * tokens[last, POWER] + tokens[last, HASH]
            size += np.int64(tokens[last, SIZE])
            last += 1
            if _looked_up(value, keys, values) == np.uint32(size):
                best = last
                whole = value
        for column in range(6):
            tokens[kept, column] = tokens[k, column]
        k += 1
        if best:
            kind, common, marks = tokens[kept, KIND], SYMBOLS | IS_MARK, HAS_LETTER
            while k < best:
                tokens[kept, END] = tokens[k, END]
                tokens[kept, SIZE] += tokens[k, SIZE]
                tokens[kept, POWER] *= tokens[k, POWER]
                kind = (kind & tokens[k, KIND] & common) | ((kind | tokens[k, KIND]) & marks)
                k += 1
            tokens[kept, HASH] = whole
            tokens[kept, KIND] = kind
        kept += 1
    return kept


@kernel
def _chunk(codes, flags, size, keys, values, split, bounds):  # type: ignore[no-untyped-def]
    """Write to `bounds` int64 where the words of a chunk of `size` characters end; their number.

    `split` int64 receives the lengths of what is split from the end, last first.
    """
    i, j = 0, size
    words, behind = 0, 0
    last = -1
    packed = np.uint32(0)
    while i < j and j - i != last:
        packed = _special(codes, i, j, keys, values)
        if packed:
            break
        last = j - i
        before = _prefix(codes, flags, i, j)
        if before:
            packed = _special(codes, i + before, j, keys, values)
        after = 0 if packed else _suffix(codes, flags, i + before, j)
        alone = False
        if after and before:
            # Without the end alone it may be an exception that begins with a sign.
            packed = _special(codes, i, j - after, keys, values)
            alone = packed != 0
        if before and not alone:
            i += before
            bounds[words] = i
            words += 1
        if after:
            split[behind] = after
            behind += 1
            j -= after
        if packed:
            break
    if i < j:
        words = _inside(codes, flags, i, j, packed, bounds, words)
    while behind:
        behind -= 1
        j += split[behind]
        bounds[words] = j
        words += 1
    return words


@kernel
def _cut(data, start, end, table, keys, values, chunk, tokens, count):  # type: ignore[no-untyped-def]
    """Write the words of `data[start:end]` to `tokens`; return (the new count, characters)."""
    codes, flags, at, split, bounds = chunk
    characters, size = 0, 0
    common = ~np.uint32(0)
    value, power = np.uint64(0), _1
    place = np.uint64(start)
    stop = np.uint64(end)
    while place <= stop:
        width = _1
        flag = _SPACE
        code = np.uint64(32)
        if place < stop:
            code, width = decode(data, place)
            flag = table[code]
            characters += 1
        if flag & _SPACE:
            if size:
                at[size] = np.int64(place)
                if common & _LETTER and _looked_up(value, keys, values) == 0:
                    # Letters alone: no sign to split, and no address.
                    _write(tokens, count, at[0], at[size], size, value, power, HAS_LETTER)
                    count += 1
                else:
                    first, begin = count, 0
                    for k in range(_chunk(codes, flags, size, keys, values, split, bounds)):
                        _emit(codes, flags, at, begin, bounds[k], tokens, count)
                        begin = bounds[k]
                        count += 1
                    if count - first > 1:
                        count = _join(first, count, keys, values, tokens)
                size = 0
                common = ~np.uint32(0)
                value, power = np.uint64(0), _1
        else:
            codes[size] = code
            flags[size] = flag
            at[size] = np.int64(place)
            common &= flag
            value = value * _BASE + code + _1
            power *= _BASE
            size += 1
        place += width
    return count, characters


@kernel
def _cut_all(data, starts, ends, table, keys, values, chunk, tokens, spans, characters):  # type: ignore[no-untyped-def]
    count = 0
    for row in range(len(starts)):
        spans[row] = count
        start, end = starts[row], ends[row]
        count, characters[row] = _cut(data, start, end, table, keys, values, chunk, tokens, count)
    spans[len(starts)] = count


@dataclass(frozen=True)
class Cut:
    """The words of `n` texts: those of text i are `tokens[spans[i] : spans[i + 1]]`.

    `tokens` uint64 [words, 6], with the columns `START` to `KIND`. `spans` int64 [n + 1].
    `characters` int64 [n]: code points of the texts.
    """

    tokens: NDArray[np.uint64]
    spans: NDArray[np.int64]
    characters: NDArray[np.int64]


def cut(data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Cut:
    """Return the words of the texts `data[starts[i]:ends[i]]`; 48 bytes of memory a word."""
    sizes = ends - starts
    longest = int(sizes.max(initial=0)) + 1
    chunk = tuple(np.empty(longest, kind) for kind in _CHUNK)
    tokens = np.empty((int(sizes.sum()), 6), np.uint64)  # what is not touched takes no memory
    spans, characters = np.empty(len(starts) + 1, np.int64), np.empty(len(starts), np.int64)
    keys, values = exception_table()
    table = character_table()
    _cut_all(data, starts, ends, table, keys, values, chunk, tokens, spans, characters)
    return Cut(tokens[: spans[-1]], spans, characters)


def pieces(documents: Documents) -> Iterator[tuple[slice, Documents]]:
    """Yield rows, and documents, of about 1 MB: what is worked on at a time."""
    first = 0
    ends = np.cumsum(documents.text_bytes)
    while first < len(documents):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + PIECE_BYTES, "right")))
        rows = slice(first, last)
        yield rows, documents.take(np.arange(first, last))
        first = last


def words(text: str) -> list[str]:
    """Return the words of a text: for tests and explanations."""
    data = np.frombuffer(text.encode(), np.uint8)
    tokens = cut(data, np.zeros(1, np.int64), np.array([len(data)])).tokens
    starts, ends = tokens[:, START].tolist(), tokens[:, END].tolist()
    return [bytes(data[a:b]).decode() for a, b in zip(starts, ends, strict=True)]
