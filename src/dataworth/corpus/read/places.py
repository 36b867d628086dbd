"""The chosen rows of plain and compressed files, byte for byte, by their places."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.kernels.utf8 import PADDING, gather_rows
from dataworth.corpus.read.rows import empty_bytes
from dataworth.corpus.read.streams import Stream, damage, open_raw, open_stream
from dataworth.corpus.units import Unit
from dataworth.errors import InputError

_LONG_BYTES = 2**26
_GAP_BYTES = 2**17
"""Rows nearer than this to each other are read in one go: a seek costs about as much."""


def read_places(
    unit: Unit,
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    *,
    options: Mapping[str, Any] | None = None,
    block_bytes: int,
) -> Iterator[pa.LargeBinaryArray]:
    """Yield the bytes [offset, offset + size) of the uncompressed file, for each row, ascending.

    Raises InputError if the file ends before, or if the places cannot be those of rows.
    """
    _check(unit, offsets, sizes)
    if unit.file.compression is not None:
        with open_stream(unit.file, 0, options) as stream:
            yield from _read(_Forward(stream), unit, offsets, sizes, block_bytes)
        return
    with open_raw(unit.file, options) as raw:
        if isinstance(raw, io.BufferedReader) and hasattr(os, "pread"):
            yield from _read_each(raw.fileno(), unit, offsets, sizes, block_bytes)
        else:
            yield from _read(_Seeking(raw, unit.file.path), unit, offsets, sizes, block_bytes)


def _check(unit: Unit, offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
    """Refuse places that no reader could have written: compiled code trusts them afterwards."""
    sound = offsets.dtype == sizes.dtype == np.int64 and offsets.shape == sizes.shape
    if sound and len(offsets):
        sound = bool((offsets >= 0).all() and (sizes >= 0).all())
        sound = sound and bool((sizes <= np.iinfo(np.int64).max - offsets).all())
        sound = sound and bool(
            (offsets[1:] >= offsets[:-1] + sizes[:-1]).all()  # they never overlap
        )
    if not sound:
        raise InputError(
            f"{unit.file.path}: the run's table gives places of rows that cannot be; "
            "the table is damaged: run again with --overwrite"
        )


def _read_each(
    descriptor: int,
    unit: Unit,
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    block_bytes: int,
) -> Iterator[pa.LargeBinaryArray]:
    """Rows of a local file, each read straight to where it goes.

    The system is told beforehand which stretches are wanted: a disk then reads them in one go.
    """
    from dataworth.corpus.read.positioned import read_rows

    offsets, sizes = np.ascontiguousarray(offsets), np.ascontiguousarray(sizes)
    length = os.fstat(descriptor).st_size
    if len(offsets) and int(offsets[-1] + sizes[-1]) > length:
        raise _ended(unit, int(offsets[-1] + sizes[-1]))
    ends = np.cumsum(sizes)
    low = 0
    while low < len(offsets):
        before = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + block_bytes, side="right")))
        for first, after in _runs(offsets[low:high], sizes[low:high], block_bytes):
            _announce(descriptor, offsets[low + first], offsets[low + after - 1])
        places = np.zeros(high - low + 1, np.int64)
        np.cumsum(sizes[low:high], out=places[1:])
        out = empty_bytes(int(places[-1]) + PADDING)
        wanted = (offsets[low:high], sizes[low:high], places[:-1], out)
        row = 0
        while (row := read_rows(descriptor, *wanted, row)) < high - low:
            start, size, place = (int(values[row]) for values in wanted[:3])
            out[place : place + size] = _read_slowly(descriptor, unit, start, size)
            row += 1
        buffers = [None, pa.py_buffer(places), pa.py_buffer(out)]
        yield pa.Array.from_buffers(pa.large_binary(), high - low, buffers)
        low = high


def _announce(descriptor: int, start: np.int64, last: np.int64) -> None:
    if hasattr(os, "posix_fadvise"):
        length = int(last) + 1 - int(start)
        os.posix_fadvise(descriptor, int(start), length, os.POSIX_FADV_WILLNEED)


def _read_slowly(descriptor: int, unit: Unit, offset: int, size: int) -> NDArray[np.uint8]:
    """A row that could not be read at once; raises InputError if it cannot be read at all."""
    read = b""
    while len(read) < size:
        with damage(unit.file.path, f"at byte {offset:,}"):
            more = os.pread(descriptor, size - len(read), offset + len(read))
        if not more:
            raise _ended(unit, offset + size)
        read += more
    return np.frombuffer(read, np.uint8)


def _ended(unit: Unit, end: int) -> InputError:
    return InputError(
        f"{unit.file.path}: ends before byte {end:,}, where a chosen row was; it has changed since "
        "it was read: run again from the start"
    )


class _Forward:
    """A stream that is read, and skipped, in one direction."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waste = np.empty(2**20, np.uint8)

    def read_at(self, offset: int, buffer: NDArray[np.uint8]) -> int:
        if offset < self._stream.offset:
            raise ValueError("rows must be asked for in ascending order, each once")
        while self._stream.offset < offset:
            skip = min(offset - self._stream.offset, len(self._waste))
            if self._stream.readinto(self._waste[:skip]) < skip:
                return 0
        return self._stream.readinto(buffer)


class _Seeking:
    """A file read at any place."""

    def __init__(self, raw: BinaryIO, path: str) -> None:
        self._raw = raw
        self._path = path

    def read_at(self, offset: int, buffer: NDArray[np.uint8]) -> int:
        view = memoryview(buffer.data)
        filled = 0
        with damage(self._path, f"at byte {offset:,}"):
            self._raw.seek(offset)
            while filled < len(view):
                count = self._raw.readinto(view[filled:])  # type: ignore[attr-defined]
                if not count:
                    break
                filled += count
        return filled


def _runs(
    offsets: NDArray[np.int64], sizes: NDArray[np.int64], most: int
) -> Iterator[tuple[int, int]]:
    """Ranges of rows that lie close together, of at most about `most` bytes each."""
    ends = offsets + sizes
    breaks = (np.flatnonzero(offsets[1:] - ends[:-1] > _GAP_BYTES) + 1).tolist()
    for low, high in zip([0, *breaks], [*breaks, len(offsets)], strict=True):
        at = low
        while at < high:
            after = at + int(np.searchsorted(ends[at:high], offsets[at] + most, side="right"))
            after = max(after, at + 1)
            yield at, after
            at = after


def _read(
    source: _Forward | _Seeking,
    unit: Unit,
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    block_bytes: int,
) -> Iterator[pa.LargeBinaryArray]:
    """Runs of rows are read one after another into a buffer; a full buffer is handed on."""
    room = block_bytes
    buffer = np.empty(room + PADDING, np.uint8)
    starts = np.empty(len(offsets), np.int64)
    first = used = 0
    for low, high in _runs(offsets, sizes, block_bytes):
        span = int(offsets[high - 1] + sizes[high - 1] - offsets[low])
        if used + span > room:
            if low > first:
                yield _gathered(buffer, starts[first:low], sizes[first:low])
            first, used = low, 0
            if span > room:
                long = _read_long(source, unit, int(offsets[low]), span)
                yield _gathered(long, offsets[low:high] - offsets[low], sizes[low:high])
                first = high
                continue
        if source.read_at(int(offsets[low]), buffer[used : used + span]) < span:
            raise _ended(unit, int(offsets[low]) + span)
        starts[low:high] = offsets[low:high] - offsets[low] + used
        used += span
    if first < len(offsets):
        yield _gathered(buffer, starts[first:], sizes[first:])


def _read_long(
    source: _Forward | _Seeking, unit: Unit, offset: int, size: int
) -> NDArray[np.uint8]:
    """A long row, into memory that grows with what is there: its size may be recorded wrongly."""
    buffer = np.empty(0, np.uint8)
    filled = 0
    while filled < size:
        grown = np.empty(min(size, max(2 * filled, _LONG_BYTES)) + PADDING, np.uint8)
        grown[:filled] = buffer[:filled]
        buffer, wanted = grown, len(grown) - PADDING
        read = source.read_at(offset + filled, buffer[filled:wanted])
        if filled + read < wanted:
            raise _ended(unit, offset + size)
        filled = wanted
    return buffer


def _gathered(
    data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> pa.LargeBinaryArray:
    places = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=places[1:])
    out = empty_bytes(int(places[-1]) + PADDING)
    gather_rows(data, starts, np.ascontiguousarray(sizes), out)
    buffers = [None, pa.py_buffer(places), pa.py_buffer(out)]
    return pa.Array.from_buffers(pa.large_binary(), len(sizes), buffers)
