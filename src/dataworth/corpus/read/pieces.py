"""Texts cut into pieces of so many words: the pieces become the documents."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dataworth.corpus.kernels.simd import BYTES, INTS, eager, kernel
from dataworth.corpus.read.rows import PIECE, Rows

_0, _1, _2, _3 = (np.uint64(i) for i in range(4))


@kernel
def _space(data, at, end):  # type: ignore[no-untyped-def]
    """Return the bytes of the white space at `at`, as `str.isspace` has it; 0 if there is none."""
    first = data[at]
    if first < 0x80:
        return _1 if first == 32 or 9 <= first <= 13 or 28 <= first <= 31 else _0
    if first == 0xC2 and at + _1 < end:
        return _2 if data[at + _1] == 0x85 or data[at + _1] == 0xA0 else _0
    if at + _2 >= end or (first != 0xE1 and first != 0xE2 and first != 0xE3):
        return _0
    second, third = data[at + _1], data[at + _2]
    if first == 0xE1:
        is_space = second == 0x9A and third == 0x80
    elif first == 0xE3:
        is_space = second == 0x80 and third == 0x80
    elif second == 0x80:
        is_space = 0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF
    else:
        is_space = second == 0x81 and third == 0x9F
    return _3 if is_space else _0


@eager(f"int64({BYTES}, {INTS}, {INTS}, int64, int64[::1], int64[::1], int64[::1], int32[::1])")
def _cut(data, starts, ends, words, row_of, begins, closes, number):  # type: ignore[no-untyped-def]
    """Fill the pieces' rows, byte ranges and numbers; returns how many there are."""
    count = 0
    for row in range(len(starts)):
        at, end = np.uint64(starts[row]), np.uint64(ends[row])
        first = count
        inside = 0
        while True:
            space = _space(data, at, end) if at < end else _0
            while space != _0:
                at += space
                space = _space(data, at, end) if at < end else _0
            if at >= end:
                break
            if inside == 0:
                row_of[count] = row
                begins[count] = at
                number[count] = count - first
                count += 1
            while at < end and _space(data, at, end) == _0:
                at += _1
            closes[count - 1] = at
            inside = (inside + 1) % words
        if count == first:
            row_of[count] = row
            begins[count], closes[count], number[count] = starts[row], ends[row], 0
            count += 1
    return count


def split_words(rows: Rows, words: int) -> Rows:
    """Pieces of `words` words each (the last of a text may have fewer) instead of texts.

    A piece goes from its first word to its last, its spacing untouched; the white space between
    pieces belongs to none. A text without a word is one piece. Offset and bytes stay those of the
    row; the column `piece` has the number within it, from 0.
    """
    sizes = rows.ends - rows.starts
    most = int(((sizes + 1) // (2 * words) + 1).sum())
    row_of, begins, closes = (np.empty(most, np.int64) for _ in range(3))
    number = np.empty(most, np.int32)
    count = _cut(rows.data, rows.starts, rows.ends, words, row_of, begins, closes, number)
    row_of = row_of[:count]
    columns = {name: column.take(pa.array(row_of)) for name, column in rows.columns.items()}
    return Rows(
        data=rows.data,
        starts=begins[:count],
        ends=closes[:count],
        offset=rows.offset[row_of],
        bytes=rows.bytes[row_of],
        columns={**columns, PIECE: pa.array(number[:count])},
        bad=rows.bad,
        lines=rows.lines,
        blank=rows.blank,
    )
