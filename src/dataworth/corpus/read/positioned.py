"""Rows of a local file read at their places, by one system call each and without Python between.

POSIX alone has the call (`pread`); what imports this checks for it.
"""

from __future__ import annotations

from numba import types

from dataworth.corpus.kernels.simd import INTS, eager

_pread = types.ExternalFunction(
    "pread", types.intp(types.intc, types.voidptr, types.uintp, types.int64)
)


@eager(f"int64(int32, {INTS}, {INTS}, {INTS}, uint8[::1], int64)")
def read_rows(descriptor, offsets, sizes, places, out, first):  # type: ignore[no-untyped-def]
    """Read `sizes[r]` bytes at `offsets[r]` to `out[places[r]:]` for the rows from `first` on.

    Returns the row that could not be read, or the number of rows.
    """
    for row in range(first, len(offsets)):
        done = 0
        while done < sizes[row]:
            count = _pread(
                descriptor, out[places[row] + done :].ctypes, sizes[row] - done, offsets[row] + done
            )
            if count <= 0:
                return row
            done += count
    return len(offsets)
