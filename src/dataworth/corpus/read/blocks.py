"""Whole lines from a stream, block after block, in one buffer that is used again."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.kernels.utf8 import PADDING
from dataworth.corpus.read.rows import SAMPLE_BYTES
from dataworth.corpus.read.streams import Stream

_LAST_LINE_STEP = 2**16
_RETURN, _LINE_FEED = 13, 10
_MARK = b"\xef\xbb\xbf"
"""Byte order mark."""


@dataclass(frozen=True)
class LineBlock:
    """Whole lines: `data[start:end]`, valid until the next block is asked for.

    `offset` is the place of `data[start]` in the uncompressed file. `data[end]` may be written and
    `PADDING` bytes after it exist. Only the file's last line can lack its line feed; then
    `data[end]` is one.
    """

    data: NDArray[np.uint8]
    start: int
    end: int
    offset: int


@dataclass(frozen=True)
class LongLine:
    """A line of more bytes than are allowed: only its place, size and first bytes are known."""

    offset: int
    bytes: int
    sample: builtins.bytes


def line_blocks(
    stream: Stream, start: int, end: int | None, block_bytes: int, max_line_bytes: int
) -> Iterator[LineBlock | LongLine]:
    """Yield the lines whose first byte lies in [start, end) of the uncompressed file, in order.

    The stream must be at `max(start - 1, 0)`. `end` None means the end of the file. A byte order
    mark at the start of the file is left out. A line longer than a block lets the buffer grow, up
    to `max_line_bytes`; past that it is skipped without being held.
    """
    return _LineReader(stream, end, block_bytes, max_line_bytes).blocks(start)


class _LineReader:
    """The buffer and what is in it: `have` bytes, the first at `base` of the uncompressed file."""

    def __init__(self, stream: Stream, end: int | None, block: int, max_line: int) -> None:
        self.stream = stream
        self.end = end
        self.block = max(block, len(_MARK))
        # A longest line, or the sample of one, its line end, and a byte order mark before it.
        self.longest = max(max_line, SAMPLE_BYTES) + 2 + len(_MARK)
        self.base = stream.offset
        self.have = 0
        self.done = False
        # Bytes at the start of the buffer known to hold no line feed.
        self.searched = 0
        self._allocate(self.block)

    def _allocate(self, size: int) -> None:
        self.size = size
        self.held = bytearray(size + 1 + PADDING)
        self.data: NDArray[np.uint8] = np.frombuffer(self.held, np.uint8)

    def _fill(self) -> None:
        """Read as much as there is room for, but little past the end of the range."""
        want = self.size - self.have
        if self.end is not None:
            ahead = self.end - self.stream.offset
            want = min(want, ahead if ahead > 0 else _LAST_LINE_STEP)
        count = self.stream.readinto(self.data[self.have : self.have + want])
        self.have += count
        self.done = count < want

    def _drop(self, count: int) -> None:
        """Forget the first bytes; a buffer that had grown for a long line shrinks again."""
        rest = self.held[count : self.have]
        if self.size > self.block and len(rest) <= self.block:
            self._allocate(self.block)
        self.data[: len(rest)] = np.frombuffer(rest, np.uint8)
        self.have = len(rest)
        self.base += count
        self.searched = max(self.searched - count, 0)

    def _grow(self) -> None:
        old = self.data[: self.have]
        self._allocate(min(2 * self.size, max(self.longest, self.size + 1)))
        self.data[: self.have] = old

    def blocks(self, start: int) -> Iterator[LineBlock | LongLine]:
        first = 0
        if start > 0:
            self._skip_first()
        else:
            while self.have < len(_MARK) and not self.done:
                self._fill()
            first = len(_MARK) * self.held.startswith(_MARK)
        while self.end is None or self.base < self.end:
            self._fill()
            cut, last = self._cut()
            if cut > first:
                yield LineBlock(self.data, first, cut, self.base + first)
            if last:
                return
            if cut:
                self._drop(cut)
                first = 0
            elif self.have == self.size < self.longest:
                self._grow()
            elif self.have == self.size:
                yield self._long_line(first)
                first = 0

    def _skip_first(self) -> None:
        """Drop the end of a line that began before the range."""
        while not self.done and (self.end is None or self.base < self.end):
            self._fill()
            found = self.held.find(b"\n", 0, self.have)
            self._drop(found + 1 if found >= 0 else self.have)
            if found >= 0:
                return

    def _cut(self) -> tuple[int, bool]:
        """Up to where the buffer holds whole lines of the range, and whether that is all."""
        if self.end is not None and self.base + self.have >= self.end:
            low = max(self.end - 1 - self.base, self.searched)
            line_feed = self.held.find(b"\n", low, self.have)
            if line_feed >= 0:
                return line_feed + 1, True
        if self.done:
            self.held[self.have] = _LINE_FEED
            return self.have, True
        line_feed = self.held.rfind(b"\n", self.searched, self.have)
        self.searched = self.have
        return line_feed + 1, False

    def _long_line(self, first: int) -> LongLine:
        """Read to the end of a line that is too long, and leave what comes after it."""
        sample = bytes(self.held[first : min(first + SAMPLE_BYTES, self.have)])
        offset = self.base + first
        line_feed = -1
        while True:
            close = line_feed if line_feed >= 0 else self.have
            if close:
                returned = self.held[close - 1] == _RETURN
            if line_feed >= 0 or self.done:
                size = self.base + close - offset - returned
                self._drop(min(close + 1, self.have))
                return LongLine(offset, size, sample)
            self._drop(self.have)
            self._fill()
            line_feed = self.held.find(b"\n", 0, self.have)
