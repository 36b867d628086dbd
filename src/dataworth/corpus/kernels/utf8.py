"""Compiled loops over bytes: line ends, white space, and whether text is UTF-8."""

from __future__ import annotations

import numpy as np

from dataworth.corpus.kernels.simd import (
    BYTES,
    INTS,
    between64,
    copy64,
    eager,
    high64,
    kernel,
    newlines64,
    ones,
    trailing_zeros,
)

PADDING = 128
"""Bytes that must exist after the end of a buffer that is read 64 bytes at a time."""

_0, _1, _2, _3, _64 = (np.uint64(i) for i in (0, 1, 2, 3, 64))

_continuation64 = between64(0x80, 0xBF)
_two64, _three64, _four64 = between64(0xC2, 0xDF), between64(0xE0, 0xEF), between64(0xF0, 0xF4)
_e0_64, _ed_64 = between64(0xE0, 0xE0), between64(0xED, 0xED)
_f0_64, _f4_64 = between64(0xF0, 0xF0), between64(0xF4, 0xF4)
_below_90_64, _below_a0_64 = between64(0x80, 0x8F), between64(0x80, 0x9F)


@kernel
def _utf8_faults(data, at, carry, mask):  # type: ignore[no-untyped-def]
    """Return a bit mask of the bytes of 64 that are no UTF-8, and the continuations due after them.

    Table 3-7 of the Unicode standard. `carry` has the continuations due from the bytes before;
    bytes that are not in `mask` count as ASCII.
    """
    two, three, four = _two64(data, at), _three64(data, at) & mask, _four64(data, at) & mask
    continuation = _continuation64(data, at) & mask
    longer = three | four
    leads = (two & mask) | longer
    due = (leads << _1) | (longer << _2) | (four << _3) | carry
    faults = (due ^ continuation) | (high64(data, at) & mask & ~(continuation | leads))
    after = at + _1
    low, lower = _below_a0_64(data, after), _below_90_64(data, after)
    faults |= leads & ((_e0_64(data, at) & low) | (_ed_64(data, at) & ~low))
    faults |= leads & ((_f0_64(data, at) & lower) | (_f4_64(data, at) & ~lower))
    carry = (leads >> np.uint64(63)) | (longer >> np.uint64(62)) | (four >> np.uint64(61))
    return faults, carry


@kernel
def line_end(data, at):  # type: ignore[no-untyped-def]
    """Return the index of the line feed that ends the line at `at`, and if the line is UTF-8."""
    faults = carry = _0
    while True:
        ends = newlines64(data, at)
        if (high64(data, at) | carry) != _0:
            bad_bytes, carry = _utf8_faults(data, at, carry, ends ^ (ends - _1))
            faults |= bad_bytes
        if ends != _0:
            return at + trailing_zeros(ends), faults == _0
        at += _64


@kernel
def after_blank(data, at):  # type: ignore[no-untyped-def]
    """Return the first byte from `at` on that is not white space within a line."""
    while data[at] == 32 or data[at] == 9 or data[at] == 13:
        at += _1
    return at


@eager("int64(" + BYTES + ", uint64, uint64)")
def count_lines(data, at, end):  # type: ignore[no-untyped-def]
    """Number of line feeds in `data[at:end]`."""
    lines = _0
    while at + _64 <= end:
        lines += ones(newlines64(data, at))
        at += _64
    if at < end:
        lines += ones(newlines64(data, at) & ((_1 << (end - at)) - _1))
    return lines


@eager(f"int64({BYTES}, uint64, uint64, int64[::1], int64[::1], int64[::1], boolean[::1])")
def text_lines(data, at, end, line, offset, size, valid):  # type: ignore[no-untyped-def]
    """Lines of plain text that are not blank: their number; see `scan.scan_lines` for the arrays.

    `valid` tells whether a line is UTF-8.
    """
    rows = number = _0
    while at < end:
        close, utf8 = line_end(data, at)
        if after_blank(data, at) != close:
            line[rows] = number
            offset[rows] = at
            size[rows] = close - at - np.uint64(data[close - _1] == 13)
            valid[rows] = utf8
            rows += _1
        number += _1
        at = close + _1
    return rows


@eager(f"void({BYTES}, {INTS}, {INTS}, boolean[::1])")
def valid_utf8(data, starts, ends, valid):  # type: ignore[no-untyped-def]
    """Set `valid[i]` to True if `data[starts[i]:ends[i]]` is UTF-8; read no byte past `data`."""
    last = np.zeros(2 * 64, np.uint8)
    size = np.uint64(len(data))
    for row in range(len(starts)):
        at, end = np.uint64(starts[row]), np.uint64(ends[row])
        faults = carry = _0
        while at < end:
            mask = ~_0 if end - at >= _64 else (_1 << (end - at)) - _1
            if at + _64 < size:
                if ((high64(data, at) & mask) | carry) != _0:
                    bad_bytes, carry = _utf8_faults(data, at, carry, mask)
                    faults |= bad_bytes
            else:
                left = min(size - at, _64)
                for i in range(_64):
                    last[i] = data[at + i] if i < left else 0
                bad_bytes, carry = _utf8_faults(last, _0, carry, mask)
                faults |= bad_bytes
            at += _64
        valid[row] = (faults | carry) == _0


@eager(f"void({BYTES}, {INTS}, {INTS}, uint8[::1])")
def gather_rows(data, starts, sizes, out):  # type: ignore[no-untyped-def]
    """Copy pieces of `data` one after another; both buffers have 64 bytes more than are used."""
    to = _0
    for row in range(len(starts)):
        start, size = np.uint64(starts[row]), np.uint64(sizes[row])
        done = _0
        while done < size:
            copy64(data, start + done, out, to + done)
            done += _64
        to += size
