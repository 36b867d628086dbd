"""Files as streams of uncompressed bytes, local or behind a URL, with damage named as such."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from gzip import BadGzipFile
from typing import Any, BinaryIO

import numpy as np
import zstandard
from isal import igzip, isal_zlib
from numpy.typing import NDArray

from dataworth.corpus.read.find import open_bytes, reading_from
from dataworth.corpus.read.formats import SourceFile
from dataworth.errors import InputError

_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A50
_READ_BYTES = 2**20
_DAMAGE: tuple[Any, ...] = (EOFError, zlib.error, isal_zlib.error, BadGzipFile, zstandard.ZstdError)


class ZstdFrames:
    """Compressed bytes passed through, following the frames, to know whether the last is whole.

    The decoder is silent about a file that ends within a frame. The layout is that of RFC 8878,
    section 3.1: a frame is a header and blocks of up to 128 KB, each with its size before it.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._step = self._magic
        self._head = b""
        self._need = 4
        self._skip = 0
        self._checksum = 0

    @property
    def whole(self) -> bool:
        """True if the bytes so far end where a frame ends."""
        return self._step == self._magic and not self._head and not self._skip

    def read(self, size: int = -1) -> bytes:
        """Bytes of the source, as they are."""
        data = self._source.read(size)
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            piece = data[at : at + self._need - len(self._head)]
            self._head += piece
            at += len(piece)
            if len(self._head) == self._need:
                head, self._head = int.from_bytes(self._head, "little"), b""
                self._step(head)
        return data

    def _magic(self, head: int) -> None:
        if head == _MAGIC:
            self._step, self._need = self._descriptor, 1
        elif head & ~0xF == _SKIPPABLE:
            self._step, self._need = self._skippable, 4
        # Anything else the decoder refuses.

    def _skippable(self, head: int) -> None:
        self._skip, self._step = head, self._magic

    def _descriptor(self, head: int) -> None:
        single = head >> 5 & 1
        window, dictionary = 1 - single, (0, 1, 2, 4)[head & 3]
        content = (single, 2, 4, 8)[head >> 6]
        self._checksum = 4 * (head >> 2 & 1)
        self._skip, self._step, self._need = window + dictionary + content, self._block, 3

    def _block(self, head: int) -> None:
        last, repeated, size = head & 1, head >> 1 & 3 == 1, head >> 3
        self._skip = 1 if repeated else size
        if last:
            self._skip += self._checksum
            self._step, self._need = self._magic, 4


class Stream:
    """Uncompressed bytes of a file from a place on.

    `offset` is how far they were read. Reading raises InputError, naming file, place and remedy.
    """

    def __init__(self, raw: Any, file: SourceFile, offset: int, frames: ZstdFrames | None) -> None:
        self.file = file
        self.offset = offset
        self._raw = raw
        self._frames = frames

    def readinto(self, buffer: NDArray[np.uint8]) -> int:
        """Fill a buffer as far as the file goes; returns the bytes read, 0 at the end."""
        view = memoryview(buffer.data)
        filled = 0
        with damage(self.file.path, f"after byte {self.offset:,} of its content"):
            while filled < len(view):
                count = self._raw.readinto(view[filled:])
                if not count:
                    break
                filled += count
                self.offset += count
            if filled < len(view) and self._frames is not None and not self._frames.whole:
                raise EOFError("it ends within a zstd frame")
        return filled


@contextmanager
def damage(path: str, place: str) -> Iterator[None]:
    """Turn what goes wrong while a file is read into an InputError: file, place, remedy."""
    with reading_from(path):
        try:
            yield
        except _DAMAGE as error:
            raise InputError(
                f"{path}: the file is cut or damaged {place} ({_said(error)}); fetch it again, or "
                f"leave it out"
            ) from error


def _said(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


@contextmanager
def open_raw(file: SourceFile, options: Mapping[str, Any] | None = None) -> Iterator[BinaryIO]:
    """Yield a file's bytes as stored, seekable. Raises InputError if it cannot be opened."""
    with reading_from(file.path):
        raw = open_bytes(file.path, options or {})
    with raw:
        yield raw


@contextmanager
def open_stream(
    file: SourceFile, start: int = 0, options: Mapping[str, Any] | None = None
) -> Iterator[Stream]:
    """Yield a file's uncompressed bytes, from byte `start` on if it is not compressed.

    Several gzip members or zstd frames in one file are read as one content.
    """
    with open_raw(file, options) as raw:
        if file.compression == "gz":
            with igzip.IGzipFile(fileobj=raw, mode="rb") as members:  # type: ignore[no-untyped-call]
                yield Stream(members, file, 0, None)
        elif file.compression == "zst":
            frames = ZstdFrames(raw)
            decoder = zstandard.ZstdDecompressor(max_window_size=2**31)
            with decoder.stream_reader(
                frames,  # type: ignore[arg-type]
                read_size=_READ_BYTES,
                read_across_frames=True,
                closefd=False,
            ) as content:
                yield Stream(content, file, 0, frames)
        else:
            with reading_from(file.path):
                raw.seek(start)
            yield Stream(raw, file, start, None)
