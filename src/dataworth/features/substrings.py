"""Substrings of a fixed size that documents share, found by anchors and settled by their hashes.

Winnowing (Schleimer, Wilkerson and Aiken, SIGMOD 2003; remembered): of all n-grams of bytes in a
window of `size` bytes the one of least hash is its anchor, the last one of several. Which one that
is depends on the window's bytes alone, so two equal windows have equal anchors at the same place:
windows whose anchor is nowhere else in the pool need not be looked at, and that is most of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.kernels.simd import kernel
from dataworth.corpus.uid import checks, uids

_BASE = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_GRAMS = 4  # an anchor is a quarter of a window


@dataclass(frozen=True)
class Anchors:
    """The anchors of documents, in their order, [a] each.

    `document`: row of the batch. `key`: hash of the n-gram, never 0. `first`: where the first of
    its windows begins in the document, in bytes; the other `count` - 1 begin right after it.
    """

    document: NDArray[np.int64]
    key: NDArray[np.uint64]
    first: NDArray[np.int64]
    count: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.key)

    def take(self, wanted: NDArray[np.int64]) -> Anchors:
        """Return some anchors."""
        return Anchors(
            self.document[wanted], self.key[wanted], self.first[wanted], self.count[wanted]
        )


@kernel
def _anchors(data, starts, ends, size, gram, ring, document, key, first, count):  # type: ignore[no-untyped-def]
    grams = len(ring)  # in a window
    power = np.uint64(1)
    for _ in range(gram):
        power *= _BASE
    total = 0
    for row in range(len(starts)):
        if ends[row] - starts[row] < size:
            continue
        rolling = np.uint64(0)
        least, at, last = np.uint64(0), -1, -1
        for i in range(ends[row] - starts[row]):
            rolling = rolling * _BASE + np.uint64(data[starts[row] + i]) + np.uint64(1)
            if i >= gram:
                rolling -= power * (np.uint64(data[starts[row] + i - gram]) + np.uint64(1))
            here = i - gram + 1  # where the n-gram begins that ends at this byte
            if here < 0:
                continue
            value = (rolling ^ (rolling >> np.uint64(30))) * _M1
            value = (value ^ (value >> np.uint64(27))) * _M2
            value = value ^ (value >> np.uint64(31))
            ring[here % grams] = value
            window = here - grams + 1
            if at < 0 or value <= least:
                least, at = value, here
            elif at < window:  # the anchor has left the window: the least of what is in it
                at = window
                least = ring[window % grams]
                for other in range(window + 1, here + 1):
                    if ring[other % grams] <= least:
                        least, at = ring[other % grams], other
            if window < 0:
                continue
            if at != last:
                last = at
                if total < len(key):
                    document[total], first[total], count[total] = row, window, 0
                    key[total] = max(least, np.uint64(1))
                total += 1
            if total <= len(key):
                count[total - 1] += 1
    return total


def anchors_of(documents: Documents, size: int) -> Anchors:
    """Return the anchors of all windows of `size` bytes; a shorter text has none."""
    gram = max(1, size // _GRAMS)
    ring = np.empty(size - gram + 1, np.uint64)
    room = 3 * len(documents.data) // len(ring) + len(documents)
    while True:
        made = Anchors(
            np.empty(room, np.int64),
            np.empty(room, np.uint64),
            np.empty(room, np.int64),
            np.empty(room, np.int64),
        )
        total = _anchors(
            documents.data,
            documents.starts,
            documents.ends,
            size,
            gram,
            ring,
            made.document,
            made.key,
            made.first,
            made.count,
        )
        if total <= room:
            return made.take(np.arange(total))
        room = total


def windows_of(
    documents: Documents, anchors: Anchors, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Return (anchor, where it begins in the document, hash, second hash) of all windows, [w]."""
    anchor = np.repeat(np.arange(len(anchors)), anchors.count)
    inside = np.arange(len(anchor)) - np.repeat(
        np.cumsum(anchors.count) - anchors.count, anchors.count
    )
    begin = anchors.first[anchor] + inside
    starts = documents.starts[anchors.document[anchor]] + begin
    ends = starts + size
    return anchor, begin, uids(documents.data, starts, ends), checks(documents.data, starts, ends)


def joined_spans(
    owner: NDArray[np.uint64], start: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the union of each owner's spans, (owner [s], (start, end) [s, 2]), sorted.

    Spans that touch are one. Of an owner's spans one that begins later may not end earlier.
    """
    order = np.lexsort((end, start, owner))
    owner, start, end = owner[order], start[order], end[order]
    new = np.ones(len(owner), np.bool_)
    new[1:] = (owner[1:] != owner[:-1]) | (start[1:] > end[:-1])
    begins = np.flatnonzero(new)
    last = np.append(begins[1:], len(owner)) - 1
    return owner[begins], np.stack([start[begins], end[last[: len(begins)]]], 1)


def whole_characters(
    documents: Documents, row: NDArray[np.int64], spans: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return spans of bytes (start, end) [s, 2] without the characters that they cut."""
    base, size = documents.starts[row], documents.text_bytes[row]
    padded = np.append(documents.data, np.uint8(0))
    start, end = spans[:, 0].copy(), spans[:, 1].copy()

    def cuts(at: NDArray[np.int64]) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = (at < size) & (padded[base + at] & 0xC0 == 0x80)
        return inside

    for _ in range(3):  # a character of UTF-8 has up to 4 bytes
        start += cuts(start)
        end -= cuts(end)
    return np.stack([start, np.maximum(start, end)], 1)
