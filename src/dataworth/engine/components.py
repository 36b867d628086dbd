"""Pairs of rows closed to connected components: a union-find that lies in a file.

Each row has one number, 4 bytes where there are fewer than 2^32 rows and 8 elsewhere. A component
is named by its best row, the one of least (rank, uid, row): links go from the worse of two roots to
the better, so neither the order of the pairs nor what was linked before changes the outcome.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.files import writing_to
from dataworth.corpus.kernels.simd import kernel

_BLOCK = 1 << 20


def row_type(rows: int) -> type[np.uint32 | np.uint64]:
    """Return the narrowest type that numbers so many rows."""
    return np.uint32 if rows < 1 << 32 else np.uint64


@kernel
def _root(parent, row):  # type: ignore[no-untyped-def]
    while parent[row] != row:
        above = parent[row]
        parent[row] = parent[above]  # halves the path for whoever comes next
        row = np.uint64(above)
    return row


@kernel
def _join(parent, first, second, rank, uid):  # type: ignore[no-untyped-def]
    for i in range(len(first)):
        a = _root(parent, np.uint64(first[i]))
        b = _root(parent, np.uint64(second[i]))
        if a == b:
            continue
        if rank[a] != rank[b]:
            better = rank[a] < rank[b]
        elif uid[a] != uid[b]:
            better = uid[a] < uid[b]
        else:
            better = a < b
        if better:
            parent[b] = a
        else:
            parent[a] = b


@kernel
def _flatten(parent, start, stop):  # type: ignore[no-untyped-def]
    for row in range(np.uint64(start), np.uint64(stop)):
        parent[row] = _root(parent, row)


def close_pairs(
    pairs: Iterable[tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]]],
    rank: NDArray[np.float64],
    uid: NDArray[np.uint64],
    path: Path,
) -> NDArray[np.unsignedinteger]:
    """Return the best row of each row's component, [rows], in a memory-mapped file.

    Parameters
    ----------
    pairs
        Blocks of rows that belong together: (first [p], second [p]), in any order.
    rank, uid
        Of all rows, [rows]: the row of least (rank, uid) names its component.
    path
        The file; what it held before is lost.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "parent"
    >>> pairs = [(np.array([0, 3], np.uint32), np.array([3, 1], np.uint32))]
    >>> close_pairs(pairs, np.zeros(4), np.array([9, 8, 7, 6], np.uint64), file).tolist()
    [3, 3, 2, 3]
    """
    rows = len(uid)
    kind = np.dtype(row_type(rows))
    with writing_to(path, float(rows * kind.itemsize)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, rows, _BLOCK):
                np.arange(start, min(start + _BLOCK, rows), dtype=kind).tofile(file)
    if not rows:
        return np.empty(0, kind)
    mapped = np.memmap(path, kind, "r+", shape=(rows,))
    parent = np.asarray(mapped)
    for first, second in pairs:
        _join(parent, first, second, rank, uid)
    for start in range(0, rows, _BLOCK):
        _flatten(parent, start, min(start + _BLOCK, rows))
    mapped.flush()
    return parent
