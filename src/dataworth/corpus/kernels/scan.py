"""From raw JSON lines straight to text, in one pass of compiled code.

Every line is checked against the whole JSON grammar and UTF-8, while one top-level string field is
unescaped into a text buffer and the places of a few further fields are noted. A line is finished
here only if it is plainly good. Anything unusual is marked and left to the line-by-line reader
(`lines`), which decides: so both readers agree on every input.

Strings, the bulk of the bytes, go 64 bytes at a time: copy them all, then jump to the first byte
that needs a look. A line feed ends a line and is allowed in no token, so it serves as the sentinel
of every loop; the buffer must hold one at `data[end]` and `PADDING` readable bytes after it.
"""

from __future__ import annotations

import numpy as np

from dataworth.corpus.kernels.simd import (
    BYTES,
    INTS,
    copy64,
    eager,
    json_stops64,
    kernel,
    load_u64,
    trailing_zeros,
)
from dataworth.corpus.kernels.utf8 import after_blank, line_end

NAME_BYTES = 64
"""Field names of this length and more are left to the line-by-line reader."""
GOOD, LOOK = np.uint8(0), np.uint8(1)

_0, _1, _2, _3, _4, _6, _8, _12, _64 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 6, 8, 12, 64))
_FAIL = np.uint64(0)
"""No token ends at position 0."""
_QUOTE, _ESCAPE, _U = np.uint8(0x22), np.uint8(0x5C), np.uint8(0x75)
_NUMBER_BYTES = np.uint64(200)
"""With at most two digits of exponent, a number this long is finite as a double."""

_PLAIN = np.zeros(256, np.uint8)
for _from, _to in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
    _PLAIN[_from] = _to
_HEX = np.full(256, 0x10000, np.uint64)
for _digit in b"0123456789abcdefABCDEF":
    _HEX[_digit] = int(chr(_digit), 16)


@kernel
def _hex4(data, at):  # type: ignore[no-untyped-def]
    """Four hexadecimal digits as a number; above 0xFFFF if one of them is not."""
    return (
        (_HEX[data[at]] << _12)
        | (_HEX[data[at + _1]] << _8)
        | (_HEX[data[at + _2]] << _4)
        | _HEX[data[at + _3]]
    )


@kernel
def _put(out, to, point):  # type: ignore[no-untyped-def]
    """Write a code point as UTF-8."""
    if point < np.uint64(0x80):
        out[to] = point
        return to + _1
    if point < np.uint64(0x800):
        out[to] = np.uint64(0xC0) | (point >> _6)
        out[to + _1] = np.uint64(0x80) | (point & np.uint64(0x3F))
        return to + _2
    if point < np.uint64(0x10000):
        out[to] = np.uint64(0xE0) | (point >> _12)
        out[to + _1] = np.uint64(0x80) | ((point >> _6) & np.uint64(0x3F))
        out[to + _2] = np.uint64(0x80) | (point & np.uint64(0x3F))
        return to + _3
    out[to] = np.uint64(0xF0) | (point >> np.uint64(18))
    out[to + _1] = np.uint64(0x80) | ((point >> _12) & np.uint64(0x3F))
    out[to + _2] = np.uint64(0x80) | ((point >> _6) & np.uint64(0x3F))
    out[to + _3] = np.uint64(0x80) | (point & np.uint64(0x3F))
    return to + _4


@kernel
def _string(data, at, out, to):  # type: ignore[no-untyped-def]
    """Unescape the string whose first byte is at `at`: the places after it in `data` and `out`.

    Writes up to 64 bytes past the text's end. A lone surrogate fails, as in the line reader.
    """
    while True:
        copy64(data, at, out, to)
        stops = json_stops64(data, at)
        if stops == _0:
            at += _64
            to += _64
            continue
        step = trailing_zeros(stops)
        at += step
        to += step
        if data[at] != _ESCAPE:
            if data[at] == _QUOTE:
                return at + _1, to
            return _FAIL, to
        kind = data[at + _1]
        if kind != _U:
            plain = _PLAIN[kind]
            if plain == 0:
                return _FAIL, to
            out[to] = plain
            at += _2
            to += _1
            continue
        while data[at] == _ESCAPE and data[at + _1] == _U:
            point = _hex4(data, at + _2)
            at += _6
            if point > np.uint64(0xFFFF):
                return _FAIL, to
            if (point & np.uint64(0xF800)) == np.uint64(0xD800):
                if point >= np.uint64(0xDC00) or data[at] != _ESCAPE or data[at + _1] != _U:
                    return _FAIL, to
                low = _hex4(data, at + _2) - np.uint64(0xDC00)
                at += _6
                if low >= np.uint64(0x400):
                    return _FAIL, to
                point = np.uint64(0x10000) + ((point - np.uint64(0xD800)) << np.uint64(10)) + low
            to = _put(out, to, point)


@kernel
def _digits(data, at):  # type: ignore[no-untyped-def]
    while np.uint64(data[at]) - np.uint64(48) < np.uint64(10):
        at += _1
    return at


@kernel
def _number(data, at):  # type: ignore[no-untyped-def]
    """Return the place after a number; fails also for one that might not be finite as a double."""
    start = at
    if data[at] == 45:
        at += _1
    if data[at] == 48:
        at += _1
    else:
        whole = at
        at = _digits(data, at)
        if at == whole:
            return _FAIL
    if data[at] == 46:
        fraction = at + _1
        at = _digits(data, fraction)
        if at == fraction:
            return _FAIL
    if data[at] == 101 or data[at] == 69:
        at += _1
        if data[at] == 43 or data[at] == 45:
            at += _1
        power = at
        at = _digits(data, power)
        if at == power or at - power > _2:
            return _FAIL
    return at if at - start <= _NUMBER_BYTES else _FAIL


@kernel
def _literal(data, at):  # type: ignore[no-untyped-def]
    """Return the place after `true`, `false`, `null`."""
    word = load_u64(data, at)
    four = word & np.uint64(0xFFFFFFFF)
    if four == np.uint64(0x65757274) or four == np.uint64(0x6C6C756E):
        return at + _4
    if (word & np.uint64(0xFFFFFFFFFF)) == np.uint64(0x65736C6166):
        return at + np.uint64(5)
    return _FAIL


@kernel
def _value(data, at, out, to):  # type: ignore[no-untyped-def]
    """Return the place after any value; strings are unescaped into `out[to:]` and forgotten.

    `kinds` is a stack of bits, the lowest on top: 1 for an object, 0 for an array.
    """
    depth = kinds = _0
    key = False
    while True:
        first = data[at]
        if first == _QUOTE:
            at = _string(data, at + _1, out, to)[0]
            if at == _FAIL:
                return _FAIL
            if key:
                at = after_blank(data, at)
                if data[at] != 58:
                    return _FAIL
                at = after_blank(data, at + _1)
                key = False
                continue
        elif key:
            return _FAIL
        elif first == 123 or first == 91:
            at = after_blank(data, at + _1)
            if data[at] == first + 2:
                at += _1
            else:
                if depth == _64:
                    return _FAIL
                depth += _1
                key = first == 123
                kinds = (kinds << _1) | np.uint64(key)
                continue
        else:
            number = first == 45 or np.uint64(first) - np.uint64(48) < np.uint64(10)
            at = _number(data, at) if number else _literal(data, at)
            if at == _FAIL:
                return _FAIL
        while True:
            if depth == _0:
                return at
            at = after_blank(data, at)
            inside = kinds & _1
            if data[at] == 44:
                at = after_blank(data, at + _1)
                key = inside == _1
                break
            if data[at] != (125 if inside == _1 else 93):
                return _FAIL
            depth -= _1
            kinds >>= _1
            at += _1


@kernel
def _wanted(data, at, size, names, sizes):  # type: ignore[no-untyped-def]
    """Return the index of the wanted field that a key is, or -1; names lie `NAME_BYTES` apart."""
    for which in range(len(sizes)):
        if np.uint64(sizes[which]) != size:
            continue
        base = np.uint64(which) * _64
        differ = _0
        done = _0
        while done < size:
            word = load_u64(data, at + done) ^ load_u64(names, base + done)
            left = size - done
            if left < _8:
                word &= (_1 << (left * _8)) - _1
            differ |= word
            done += _8
        if differ == _0:
            return which
    return -1


@kernel
def _row(data, at, names, sizes, out, to, spans, base):  # type: ignore[no-untyped-def]
    """Read one line's object: the text's end in `out`, or `_FAIL` if the line needs a look.

    `spans[base + 2 k]` and the next are set to where the value of wanted field k lies.
    """
    has_text = False
    scratch = to
    if data[at] != 123:
        return _FAIL
    while True:
        at = after_blank(data, at + _1)
        if data[at] != _QUOTE:
            return _FAIL
        at += _1
        size = trailing_zeros(json_stops64(data, at))
        if size == _64 or data[at + size] != _QUOTE:
            return _FAIL
        which = _wanted(data, at, size, names, sizes)
        at = after_blank(data, at + size + _1)
        if data[at] != 58:
            return _FAIL
        at = after_blank(data, at + _1)
        if which == 0:
            if has_text or data[at] != _QUOTE:
                return _FAIL
            has_text = True
            at, scratch = _string(data, at + _1, out, to)
        else:
            start = at
            at = _value(data, at, out, scratch)
            if which > 0:
                place = base + np.uint64(2 * which)
                if spans[place] >= 0:
                    return _FAIL
                spans[place] = start
                spans[place + _1] = at
        if at == _FAIL:
            return _FAIL
        at = after_blank(data, at)
        if data[at] != 44:
            break
    if data[at] != 125 or not has_text or scratch == to:
        return _FAIL
    at = after_blank(data, at + _1)
    return scratch if data[at] == 10 else _FAIL


@eager(
    f"int64({BYTES}, uint64, uint64, {BYTES}, {INTS}, uint8[::1],"
    " int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], uint8[::1])"
)
def scan_lines(  # type: ignore[no-untyped-def]
    data, at, end, names, sizes, out, line, offset, size, starts, ends, spans, states
):
    """Read the lines of `data[at:end]`; returns the number of rows (lines that are not blank).

    `data[end]` must be a line feed and be followed by `PADDING` bytes. `names` has the wanted
    fields, the text first, each in `NAME_BYTES` bytes; `sizes` their lengths. Of each row: `line`
    its number (from 0), `offset`, `size` its bytes in `data` without line end, `starts`, `ends`
    its text in `out`, `spans` [2 * fields] the places of the wanted values in `data` (-1: not
    there), `states` `GOOD`, or `LOOK` for the line-by-line reader; then the row has room for
    `size` bytes of text at `starts`. `out` has room for `end - at + 64` bytes.
    """
    rows = number = to = _0
    while at < end:
        close, valid = line_end(data, at)
        first = after_blank(data, at)
        if first != close:
            length = close - at - np.uint64(data[close - _1] == 13)
            base = rows * np.uint64(2 * len(sizes))
            for i in range(2 * len(sizes)):
                spans[base + np.uint64(i)] = -1
            finish = _FAIL
            if valid:
                finish = _row(data, first, names, sizes, out, to, spans, base)
            states[rows] = LOOK if finish == _FAIL else GOOD
            if finish == _FAIL:
                finish = to + length
                for i in range(2 * len(sizes)):
                    spans[base + np.uint64(i)] = -1
            line[rows] = number
            offset[rows] = at
            size[rows] = length
            starts[rows] = to
            ends[rows] = finish
            to = finish
            rows += _1
        number += _1
        at = close + _1
    return rows
