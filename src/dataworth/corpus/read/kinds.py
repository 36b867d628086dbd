"""Files told by their first bytes, to find those that are of another kind than their name says."""

from __future__ import annotations

import io
import re
from pathlib import PurePosixPath
from typing import Any, Final

import zstandard
from isal import igzip

from dataworth.corpus.read.formats import Compression, Format
from dataworth.errors import InputError

HEAD_BYTES: Final = 65536
RAW_BYTES: Final = 4 * HEAD_BYTES
"""Enough for a block of zstd, whose content has up to 128 KB."""
_PIECE: Final = 4096
_GZIP, _ZSTD, _SKIPPABLE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"

_BINARY: Final = (
    (_GZIP, "gzip data", "name it .gz (.jsonl.gz), or unpack it"),
    (_ZSTD, "zstandard data", "name it .zst (.jsonl.zst), or unpack it"),
    (b"PAR1", "a Parquet file", "name it .parquet"),
    (b"BZh", "bzip2 data", "unpack it (bunzip2)"),
    (b"\xfd7zXZ\0", "xz data", "unpack it (unxz)"),
    (b"PK\x03\x04", "a zip archive", "unpack it (unzip)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"\x04\x22\x4d\x18", "lz4 data", "unpack it (unlz4)"),
    (b"ARROW1", "an Arrow file", "convert it to Parquet"),
    (b"Obj\x01", "an Avro file", "convert it to Parquet"),
    (b"ORC", "an ORC file", "convert it to Parquet"),
    (b"SQLite format 3\0", "an SQLite database", "export its rows as JSON lines"),
    (b"%PDF-", "a PDF document", "extract its text"),
    (b"PK\x05\x06", "an empty zip archive", "unpack it (unzip)"),
    (b"\xff\xff\xff\xff", "a stream of Arrow data", "convert it to Parquet"),
    (b"\x5d\0\0", "lzma data", "unpack it (unlzma)"),
    (b"\x93NUMPY", "a NumPy array", "write its texts as JSON lines"),
    (b"\x89HDF", "an HDF5 file", "convert it to Parquet"),
    (b"\x89PNG", "an image", "take it out of the folder"),
    (b"Rar!", "a RAR archive", "unpack it"),
)
_LFS: Final = b"version https://git-lfs.github.com/spec/"
_MARKUP: Final = re.compile(rb"\s*<[!?a-z]", re.IGNORECASE)
_ARRAY: Final = re.compile(rb"\s*\[\s*\{")
_PRETTY: Final = re.compile(rb"\s*\{[ \t\r]*\n\s*\"")
_TAR: Final = 257  # where a tar archive says that it is one
_ENCODINGS: Final = ("UTF-32LE", "UTF-32BE", "UTF-16LE", "UTF-16BE")


def head_of(raw: bytes, compression: Compression | None) -> bytes:
    """Return the first 64 KB of a file's content, over the ends of gzip members and zstd frames.

    `raw`: its first `RAW_BYTES` as stored. Needs no more memory than the stream's window. Of a
    damaged file it is what comes before the damage, which is told where the file is read; damage
    before any content is raised as the decoder tells it.
    """
    source: Any = io.BytesIO(raw)
    if compression == "gz":
        source = igzip.IGzipFile(fileobj=source, mode="rb")  # type: ignore[no-untyped-call]
    elif compression == "zst":
        decoder = zstandard.ZstdDecompressor(max_window_size=2**31)
        source = decoder.stream_reader(source, read_size=_PIECE, read_across_frames=True)
    head = b""
    try:
        while len(head) < HEAD_BYTES and (piece := source.read(_PIECE)):
            head += piece
    except Exception:  # each decoder's own kinds; the reader tells damage that comes later
        if not head and len(raw) < RAW_BYTES:
            raise
    return head[:HEAD_BYTES]


def check_compressed(path: str, raw: bytes, compression: Compression | None) -> None:
    """Raise InputError, with a remedy, if a file is not compressed as its name says."""
    if not raw or compression is None or _is_compressed(raw, compression):
        return
    other = _other(raw, "jsonl") or ("plain text", "take the ending off its name")
    name = "gzip" if compression == "gz" else "zstandard"
    raise InputError(f"{path}: is not {name} data, as its name says, but {_told(*other)}")


def check_kind(path: str, head: bytes, kind: tuple[Format, Compression | None]) -> None:
    """Raise InputError, with a remedy, if content is plainly not what the file's name says."""
    form, compression = kind
    if ".json" in _endings(path) and (_ARRAY.match(head) or _PRETTY.match(head)):
        return  # a description of the data, most likely; whoever finds files tells
    found = _other(head, form)
    if found is not None:
        raise InputError(f"{path}: {'its content ' if compression else ''}is {_told(*found)}")


def _endings(path: str) -> list[str]:
    return [ending.lower() for ending in PurePosixPath(path).suffixes[-2:]]


def _told(what: str, remedy: str) -> str:
    return f"{what}; {remedy}, or leave it out"


def _is_compressed(raw: bytes, compression: Compression) -> bool:
    if compression == "gz":
        return raw.startswith(_GZIP)
    return raw.startswith(_ZSTD) or raw[1:4] == _SKIPPABLE


def _other(head: bytes, form: Format) -> tuple[str, str] | None:
    """Return what the first bytes are and what to do, if that is not the format of the name."""
    if form == "parquet":
        if head.startswith((b"PAR1", b"PARE")):
            return None
        plain = ("JSON lines", "name it .jsonl") if head.lstrip()[:1] == b"{" else None
        return _other(head, "jsonl") or plain
    for magic, what, remedy in _BINARY:
        if head.startswith(magic) and (form != "txt" or _has_controls(head)):
            return what, remedy
    if head.startswith(_LFS):
        return "a Git LFS pointer, not the file itself", "fetch it (git lfs pull)"
    if head[_TAR : _TAR + 5] == b"ustar" and _has_controls(head):
        return "a tar archive", "unpack it (tar -x)"
    if form == "jsonl":
        if _MARKUP.match(head):
            return "a web page or XML, not JSON lines", "download it again, signed in where needed"
        if _ARRAY.match(head):
            return "a JSON array, not one object a line", "write it so (jq -c '.[]')"
        if _PRETTY.match(head):
            return "JSON over several lines, not one object a line", "write it so (jq -c .)"
    encoding = _encoding(head, form)
    if encoding is not None:
        return encoding, f"convert it to UTF-8 (iconv -f {encoding} -t UTF-8)"
    return None


def _has_controls(head: bytes) -> bool:
    """Return whether bytes are no text: these magic numbers may begin a text too."""
    return any(byte < 9 or byte >= 0x80 for byte in head[:512])


def _encoding(head: bytes, form: Format) -> str | None:
    """Return UTF-16 or UTF-32 by the byte order mark, or by where the zero bytes lie."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    part = head[: 1024 if form == "txt" else 8]
    part = part[: len(part) // 4 * 4]
    if not part:
        return None
    zeros = [part[place::4].count(0) * 4 / len(part) for place in range(4)]
    for encoding, pattern in zip(_ENCODINGS, ("0111", "1110", "0101", "1010"), strict=True):
        # Text of few languages has zero bytes throughout; JSON begins with ASCII.
        if all(
            share > 0.7 if bit == "1" else share < 0.1
            for share, bit in zip(zeros, pattern, strict=True)
        ):
            return encoding
    return None
