"""The working memory of the n-gram kernels: made once for a thread, and used again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Cache = tuple[NDArray[np.uint64], NDArray[np.uint32]]


def cache_for(entries: int) -> Cache:
    """Make an empty cache of SHA-256 buckets; `entries` is a power of two, 1 if it has no use."""
    return np.zeros(entries, np.uint64), np.empty(entries, np.uint32)


def cache_of(scratch: tuple[Any, ...]) -> Cache:
    """Return the cache in a working memory."""
    return scratch[7], scratch[8]


def scratch_for(longest: int, ngrams: int, cache: Cache) -> tuple[Any, ...]:
    """Make working memory for texts of up to `longest` bytes; not shared between threads."""
    # A segment without white space is as long as its text; lower case can be half as long again.
    # Most texts touch little of it, and what is not touched takes no memory.
    room = longest * 3 // 2 + 160
    return (
        np.empty(room, np.uint8),
        np.empty(room, np.uint32),
        np.empty(room, np.uint32),
        np.empty(64, np.uint8),
        np.zeros(8, np.uint64),
        np.zeros(ngrams, np.uint64),
        np.empty(room * ngrams, np.uint32),
        *cache,
        np.empty(room + ngrams if len(cache[0]) > 1 else 1, np.uint8),
        np.empty(64, np.uint32),
        np.empty(room, np.uint64),
        np.empty(room, np.uint32),
    )
