"""Averages of a table's rows over a document's tokens: a kernel for all static embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.kernels.simd import eager

_FLOATS = "Array(float32, {}, 'C', readonly=True)"


@eager(
    "void(Array(int64, 1, 'C', readonly=True), Array(int32, 1, 'C', readonly=True),"
    f" {_FLOATS.format(2)}, {_FLOATS.format(1)}, float32[:, ::1])"
)
def _average(spans, ids, table, weights, out):  # type: ignore[no-untyped-def]
    width = np.uint64(table.shape[1])
    total = np.empty(table.shape[1], np.float64)
    for row in range(len(spans) - 1):
        for i in range(width):
            total[i] = 0.0
        known = 0
        for place in range(spans[row], spans[row + 1]):
            token = ids[place]
            if token < 0:
                continue
            known += 1
            at = np.uint64(token)
            weight = np.float64(weights[at])
            for i in range(width):
                total[i] += weight * np.float64(table[at, i])
        scale = 1.0 / known if known > 0 else 0.0
        for i in range(width):
            out[row, i] = total[i] * scale


def average_rows(
    spans: NDArray[np.int64],
    ids: NDArray[np.int32],
    table: NDArray[np.float32],
    weights: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Average `weights[id] * table[id]` over each document's ids, float32 [n, d].

    `spans` int64 [n+1]: document i has `ids[spans[i]:spans[i+1]]`. Ids below 0 are unknown and do
    not count; a document without a known one gets zeros. Sums are float64. Raises IndexError for
    ids beyond the table.
    """
    if len(ids) and int(ids.max()) >= len(table):
        raise IndexError(f"id {int(ids.max())} in a table of {len(table)} rows")
    if weights is None:
        weights = np.ones(len(table), np.float32)
    out = np.empty((len(spans) - 1, table.shape[1]), np.float32)
    _average(
        np.ascontiguousarray(spans, np.int64),
        np.ascontiguousarray(ids, np.int32),
        np.ascontiguousarray(table, np.float32),
        np.ascontiguousarray(weights, np.float32),
        out,
    )
    return out
