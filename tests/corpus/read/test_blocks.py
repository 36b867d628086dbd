"""Lines in blocks of any size, and units that cover every line once."""

from __future__ import annotations

import io
import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dataworth.corpus.fields import Fields
from dataworth.corpus.read.blocks import LineBlock, LongLine, line_blocks
from dataworth.corpus.read.jsonl import _long, read_jsonl
from dataworth.corpus.units import Unit
from readers import json_rows, unit_of

LINES = [b'{"text":"a"}', b'{"text":"' + b"long " * 30 + b'"}', b"", b" \r", b"{", b'{"text":""}']
LINES += [b'{"text":"\xc3\xa9"}', b'{"text":"\\u00e9\\n"}\r', b"\xef\xbb\xbf", b'{"text":"x"}{}']
LINE = st.sampled_from([*LINES, b"\xff"])
MARK = b"\xef\xbb\xbf"
SIZES = st.one_of(st.integers(0, 90), st.integers(1015, 1040), st.integers(1490, 3100))


class Bytes:
    """A stream of bytes in memory, with the place it is at."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = io.BytesIO(data)
        self._data.seek(start)

    @property
    def offset(self) -> int:
        return self._data.tell()

    def readinto(self, buffer: NDArray[np.uint8]) -> int:
        return self._data.readinto(buffer.data)


def lines_of(
    data: bytes, start: int, end: int | None, block: int, most: int
) -> list[tuple[int, bytes]]:
    """Offset and bytes of all lines of a range; of a long one, its start and size."""
    found = []
    stream = Bytes(data, max(start - 1, 0))
    for part in line_blocks(stream, start, end, block, most):  # type: ignore[arg-type]
        if isinstance(part, LongLine):
            assert part.bytes > most
            found.append((part.offset, b"long %d " % part.bytes + part.sample))
            continue
        assert isinstance(part, LineBlock)
        assert part.end > part.start
        at = part.offset
        content = part.data[part.start : part.end].tobytes()
        for line in _split(content):
            found.append((at, line))
            at += len(line)
    return found


def _split(content: bytes) -> list[bytes]:
    pieces = content.split(b"\n")
    return [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def expected(data: bytes, most: int) -> list[tuple[int, bytes]]:
    at = 3 if data.startswith(MARK) else 0
    found = []
    for line in _split(data[at:]):
        size = len(line.removesuffix(b"\n").removesuffix(b"\r"))
        found.append((at, line if size <= most else b"long %d " % size + line[: min(size, 1024)]))
        at += len(line)
    return found


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"\r")), max_size=12),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 150), max_size=4),
    st.integers(1, 40),
)
def test_any_units_and_any_blocks_give_every_line_once(
    lines: list[bytes], mark: bool, feed: bool, cuts: list[int], block: int
) -> None:
    data = MARK * mark + b"\n".join(lines) + b"\n" * feed
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    found = []
    for start, end in itertools.pairwise(edges):
        if start < end:
            found += lines_of(data, start, end, block, 1000)
    assert found == expected(data, 1000)
    assert lines_of(data, 0, None, block, 1000) == expected(data, 1000)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(SIZES, st.sampled_from([b"\n", b"\r\n"])), max_size=6),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 5000), max_size=4),
    st.one_of(st.integers(1, 60), st.integers(1020, 1035), st.just(1500)),
    st.one_of(st.integers(1, 60), st.integers(1020, 1035), st.just(1500)),
)
def test_long_lines_are_skipped_and_told(
    sizes: list[tuple[int, bytes]], mark: bool, cut: bool, cuts: list[int], block: int, most: int
) -> None:
    data = MARK * mark + b"".join(b"x" * size + feed for size, feed in sizes)
    data = data[: len(data) - cut]
    edges = [0, *sorted(at for at in cuts if at < len(data)), len(data)]
    found = []
    for start, end in itertools.pairwise(edges):
        if start < end:
            found += lines_of(data, start, end, block, most)
    # Long lines that fit in a block are left to the block's reader.
    told = [
        (at, line if line.startswith(b"long ") or len(_end(line)) <= most else _told(line))
        for at, line in found
    ]
    assert told == expected(data, most)


def _end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _told(line: bytes) -> bytes:
    return b"long %d " % len(_end(line)) + _end(line)[:1024]


@settings(max_examples=100, deadline=None)
@given(st.lists(LINE, max_size=12), st.lists(st.integers(0, 900), max_size=4), st.integers(1, 300))
def test_blocks_and_units_do_not_change_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int], block: int
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "a.jsonl"
    data = b"\n".join(lines)
    path.write_bytes(data)
    if not data:
        return
    fields = Fields(max_line_bytes=150)
    whole = json_rows(unit_of(path), fields, 2**20, fast=False)
    for fast in (True, False):
        assert json_rows(unit_of(path), fields, block, fast) == whole
        edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
        parts = [
            json_rows(unit_of(path, *edge), fields, block, fast)
            for edge in itertools.pairwise(edges)
        ]
        for at in (0, 1, 2):
            assert [value for part in parts for value in part[at]] == whole[at]
        assert [sum(part[at] for part in parts) for at in (5, 6)] == whole[5:]
        places = [[(bad.offset, bad.bytes, bad.reason) for bad in p[4]] for p in (*parts, whole)]
        assert list(itertools.chain(*places[:-1])) == places[-1]


class Endless:
    """A line of 200 MB and a short one, made while they are read."""

    def __init__(self, size: int) -> None:
        self.offset = 0
        self._end = size
        self._tail = b'"}\n{"text": "after"}\n'

    def readinto(self, buffer: NDArray[np.uint8]) -> int:
        count = min(len(buffer), self._end + len(self._tail) - self.offset)
        inside = min(count, max(self._end - self.offset, 0))
        buffer[:inside] = ord("a")
        at = self.offset + inside - self._end
        rest = self._tail[at : at + count - inside]
        buffer[inside:count] = np.frombuffer(rest, np.uint8)
        if self.offset == 0:
            buffer[:10] = np.frombuffer(b'{"text": "', np.uint8)
        self.offset += count
        return count


def test_line_of_200_mb_takes_bounded_memory() -> None:
    size = 200_000_000
    tracemalloc.start()
    try:
        stream = Endless(size)
        long, after = line_blocks(stream, 0, None, 2**20, 8 * 2**20)  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()
    assert isinstance(long, LongLine)
    assert (long.offset, long.bytes, len(long.sample)) == (0, size + 2, 1024)
    assert isinstance(after, LineBlock)
    assert after.data[after.start : after.end].tobytes() == b'{"text": "after"}\n'


def test_long_lines_within_the_limit_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "before"}\n{"text": "')
        for _ in range(20):
            file.write(b"words " * 2**18)
        file.write(b'"}\n{"text": "after"}\n')
    unit = unit_of(path)
    sizes = [
        (int(rows.ends[i] - rows.starts[i]))
        for rows, _ in read_jsonl(unit, Fields(), block_bytes=2**16)
        for i in range(len(rows.starts))
    ]
    assert sizes == [6, 20 * 6 * 2**18, 5]
    middle = Unit(0, unit.file, 0, 5_000_000, 6_000_000)
    assert list(read_jsonl(middle, Fields(), block_bytes=2**16)) == []
    last = Unit(0, unit.file, 0, 6_000_000, unit.end)
    assert json_rows(last, Fields(), 2**16)[0] == [b"after"]


def test_long_line_keeps_the_columns(tmp_path: Path) -> None:
    rows = _long(LongLine(5, 100, b"x"), Fields(id="id", groups=("a",)), "f", 3)
    assert list(rows.columns) == ["id", "a"]
    assert (rows.lines, rows.bad[0].line, rows.bad[0].reason) == (1, 3, "line_too_long")
