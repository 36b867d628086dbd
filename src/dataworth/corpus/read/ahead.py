"""An iterator that works one step ahead of who reads it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

_END: Final = object()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items; the next one is made in a thread while the caller works with the last.

    What the iterator raises is raised here, in its place. A caller that leaves early waits for the
    item under way.
    """
    with ThreadPoolExecutor(1, "ahead") as thread:
        waiting = thread.submit(next, items, _END)
        while (item := waiting.result()) is not _END:
            waiting = thread.submit(next, items, _END)
            yield item  # type: ignore[misc]
