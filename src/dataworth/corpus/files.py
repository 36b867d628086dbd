"""Files written whole or not at all, and a full disk named as one."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from dataworth.errors import DataworthError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def readable(count: float) -> str:
    """Return a number of bytes for people: 1.5 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@contextmanager
def writing_to(place: Path, need: float | None = None) -> Iterator[None]:
    """Turn what the system says about `place` into one line a person can act on.

    `need`: the bytes that have still to be written, if known. Raises DataworthError when the disk
    is full, when there is no right to write, or when the system refuses for another reason.
    """
    try:
        yield
    except OSError as error:
        raise write_error(place, error, need) from error


def write_error(place: Path, error: OSError, need: float | None = None) -> DataworthError:
    """Return the error that `writing_to` raises for an OSError, with its remedy."""
    if error.errno in _FULL:
        much = "" if need is None else f" (about {readable(need)} more are needed)"
        return DataworthError(
            f"{place}: the disk is full{much}; free some space or choose another folder, "
            f"then run the same command again, which goes on where it stopped"
        )
    return DataworthError(
        f"{place}: cannot be written ({error.strerror or error}); check the folder and "
        f"its rights, or choose another"
    )


def flush(path: Path) -> None:
    """Hand a file's bytes, or a folder's names, to the disk: a power cut then loses neither."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put(temporary: Path, path: Path) -> None:
    """Give what was written and flushed its name, and hand the name to the disk."""
    temporary.replace(path)
    flush(path.parent)


def open_for_writing(path: Path) -> BinaryIO:
    """Return a new file, opened for writing bytes; one already there is emptied."""
    return path.open("wb")


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path`, of its own for each call, to write under until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


@contextmanager
def replacing(path: Path, need: float | None = None) -> Iterator[BinaryIO]:
    """Yield a file to write that takes the name `path` once it is whole; on any error it vanishes.

    Only the opening, closing and renaming raise DataworthError: use `writing_to` around the
    writes themselves, so that other errors of the body pass through as they are.
    """
    temporary = temporary_name(path)
    with writing_to(path, need):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open_for_writing(temporary)
    try:
        with file:
            yield file
            with writing_to(path, need):
                file.flush()
                os.fsync(file.fileno())
        with writing_to(path, need):
            put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file under a temporary name, then rename it. Raises DataworthError."""
    with replacing(path) as file, writing_to(path):
        file.write(data)


@contextmanager
def parquet_writer(file: BinaryIO, schema: pa.Schema, place: Path) -> Iterator[Any]:
    """A pyarrow ParquetWriter into an open file; `place` is named if its end cannot be written."""
    with writing_to(place):
        writer = pq.ParquetWriter(file, schema, compression="zstd")
    try:
        yield writer
    except BaseException:
        with suppress(OSError, pa.ArrowException):  # the first error is the one to tell
            writer.close()
        raise
    with writing_to(place):
        writer.close()
