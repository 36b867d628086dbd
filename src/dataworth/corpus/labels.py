"""Id and group columns out of the places where the compiled scan saw their values."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataworth.corpus.fields import label_of
from dataworth.corpus.kernels.simd import BYTES, INTS, eager, kernel

_NONE, _OTHER = np.int64(-1), np.int64(-2)
"""There is no value, or null; a value that has to be decoded."""
_1 = np.uint64(1)


@kernel
def _own_label(data, start, end):  # type: ignore[no-untyped-def]
    """Return the size of a value that is its own label, else `_NONE` or `_OTHER`.

    A string without escapes is its own label, and so is a whole number of up to 18 digits.
    """
    first = data[start]
    if first == 110:
        return _NONE
    if first == 0x22:
        for at in range(start + _1, end):
            if data[at] == 0x5C:
                return _OTHER
        return np.int64(end - start - np.uint64(2))
    if first == 45:
        start += _1
    if end - start > np.uint64(18) or (first == 45 and data[start] == 48):
        return _OTHER
    for at in range(start, end):
        if np.uint64(data[at]) - np.uint64(48) >= np.uint64(10):
            return _OTHER
    return np.int64(end - start + np.uint64(first == 45))


@eager(f"int64({BYTES}, int64[:, :], int64[::1])")
def _label_sizes(data, spans, sizes):  # type: ignore[no-untyped-def]
    """Return the size of each row's label (see `_own_label`) and their sum. `spans` [rows, 2]."""
    total = np.int64(0)
    for row in range(len(sizes)):
        size = _NONE
        if spans[row, 0] >= 0:
            size = _own_label(data, np.uint64(spans[row, 0]), np.uint64(spans[row, 1]))
        sizes[row] = size
        if size > 0:
            total += size
    return total


@eager(f"void({BYTES}, int64[:, :], {INTS}, uint8[::1], int32[::1])")
def _gather(data, spans, sizes, values, offsets):  # type: ignore[no-untyped-def]
    """Copy the labels one after another; `offsets` [rows + 1] as Arrow has them."""
    to = np.uint64(0)
    for row in range(len(sizes)):
        if sizes[row] > 0:
            start = np.uint64(spans[row, 0])
            start += np.uint64(data[start] == 0x22)
            for i in range(np.uint64(sizes[row])):
                values[to] = data[start + i]
                to += _1
        offsets[row + 1] = to


def first_keys(path: str) -> list[str]:
    """All keys of a row that a path may begin with (see `fields.lookup`), the longest first."""
    keys = [path]
    while "." in keys[-1]:
        keys.append(keys[-1].rpartition(".")[0])
    return [key for key in keys if key]


def label_column(
    data: NDArray[np.uint8], path: str, names: list[str], spans: NDArray[np.int64]
) -> pa.StringArray:
    """Return the labels at `path` of all rows.

    `spans` [rows, names, 2] has the place in `data` of the value of each named key, -1 for none.
    Plain strings and whole numbers are copied; what is left is decoded.
    """
    keys = [(key, names.index(key)) for key in first_keys(path)]
    own = spans[:, keys[0][1]]
    sizes = np.empty(len(own), np.int64)
    values = np.empty(_label_sizes(data, own, sizes), np.uint8)
    offsets = np.zeros(len(own) + 1, np.int32)
    _gather(data, own, sizes, values, offsets)
    there = sizes >= 0
    column = pa.StringArray.from_buffers(
        len(own),
        pa.py_buffer(offsets),
        pa.py_buffer(values),
        None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little")),
    )
    missing = own[:, 0] < 0
    nested = (spans[:, [at for _, at in keys[1:]], 0] >= 0).any(axis=1)
    decode = (sizes == _OTHER) | (missing & nested)
    if not decode.any():
        return column
    rows = np.flatnonzero(decode).tolist()
    labels = pa.array([_decoded(data, path, keys, spans[row]) for row in rows], pa.string())
    return pc.replace_with_mask(column, pa.array(decode), labels)


def _decoded(
    data: NDArray[np.uint8], path: str, keys: list[tuple[str, int]], spans: NDArray[np.int64]
) -> str | None:
    """Return a label from the JSON of the keys that its path may begin with."""
    row = {}
    for key, at in keys:
        start, end = spans[at]
        if start >= 0:
            row[key] = orjson.loads(data[start:end].tobytes())
    return label_of(row, path)
