"""Similarity of each vector to those before it in its group, by blocked matrix products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataworth.features.embeddings.base import Vectors

_BLOCK = 1024


def nearest_before(
    vectors: Vectors, starts: NDArray[np.int64], block: int = _BLOCK
) -> NDArray[np.float32]:
    """Return the greatest inner product of each vector with one before it in its group.

    Parameters
    ----------
    vectors
        Rows of length 1, [n, d].
    starts
        Where groups begin, [g + 1].
    block
        Rows that are compared with as many others at once; memory is its square.

    Returns
    -------
    NDArray
        Cosines, [n]; 0 for the first of a group, and where all are below.
    """
    nearest = np.zeros(len(vectors), np.float32)
    for first, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        for low in range(first, end, block):
            rows = np.arange(low, min(low + block, end))
            for left in range(first, rows[-1] + 1, block):
                others = np.arange(left, min(left + block, rows[-1] + 1))
                cosine = vectors[rows] @ vectors[others].T
                cosine[others >= rows[:, None]] = -1  # itself and those behind it
                nearest[rows] = np.maximum(nearest[rows], cosine.max(1))
    return nearest
