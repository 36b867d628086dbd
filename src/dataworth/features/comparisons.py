"""Pairs of documents to compare, and excerpts of equal length from both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import uniform

_SIZE, _START = 0x71754C656E, 0x7175507573  # streams of random numbers


def pair(documents: int, pairs: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of rows, (left [m], right [m]), m ≤ `pairs`: no row twice while there are more.

    Rows in a row are paired, as in the paper, then rows further apart; no pair occurs twice.
    """
    rows = np.r_[0:documents:2, 1:documents:2]
    left, right = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for apart in range(1, documents):
        if len(left) >= pairs:
            break
        some = rows[rows + apart < documents]
        left, right = np.r_[left, some], np.r_[right, some + apart]
    return left[:pairs], right[:pairs]


def excerpts(
    documents: Documents,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    longest: int,
    seed: int,
) -> Iterator[tuple[str, str]]:
    """Yield two excerpts of each pair: of equal length, but for texts that are shorter.

    Half of the pairs have the longest, the others a length between half of it and it; where an
    excerpt begins is random too.
    """
    mixed = documents.uid[left] ^ (documents.uid[right] << np.uint64(1))
    draws = uniform(seed, mixed, _SIZE)
    sizes = np.where(draws < 0.5, longest, (longest * (1.5 - draws)).astype(np.int64))
    starts = [uniform(seed, documents.uid[rows] ^ mixed, _START) for rows in (left, right)]
    for place, size in enumerate(sizes.tolist()):
        both = []
        for rows, start in zip((left, right), starts, strict=True):
            text = documents.text(int(rows[place]))
            begin = int(start[place] * (max(len(text) - size, 0) + 1))
            both.append(text[begin : begin + size])
        yield both[0], both[1]
