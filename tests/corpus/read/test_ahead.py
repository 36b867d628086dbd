from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dataworth.corpus.read.ahead import ahead


def test_the_same_items_made_in_another_thread() -> None:
    threads = set()

    def items() -> Iterator[int | None]:
        for number in range(5):
            threads.add(threading.get_ident())
            yield number or None

    assert list(ahead(items())) == [None, 1, 2, 3, 4]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_one_item_ahead_and_no_more() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    reader = ahead(items())
    assert next(reader) == 0
    reader.close()  # type: ignore[attr-defined]
    assert made == [0, 1]


def test_an_error_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("full")

    reader = ahead(items())
    assert next(reader) == 1
    with pytest.raises(OSError, match="full"):
        next(reader)
