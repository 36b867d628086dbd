"""Output files of each format, written under a temporary name."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from isal import igzip

from dataworth.corpus.files import open_for_writing, temporary_name, writing_to
from dataworth.errors import ConfigError

OutputFormat = Literal["jsonl", "jsonl.gz", "jsonl.zst", "parquet"]

SPLIT: Final = "train"
"""The split that a selection is, the first part of its files' names."""

ZSTD_LEVEL: Final = 1
"""Twice as fast as 3, which is the usual one, for a sixth more bytes."""


def check_format(text: str) -> OutputFormat:
    """Return the output format of this name. Raises ConfigError."""
    for known in get_args(OutputFormat):
        if text == known:
            chosen: OutputFormat = known
            return chosen
    raise ConfigError(f"unknown format {text!r}: one of {', '.join(get_args(OutputFormat))}")


class _Body(Protocol):
    """A writer of a shard's bytes: a compressor, a Parquet writer or the file itself."""

    def close(self) -> Any: ...


class Sink:
    """One shard being written under a temporary name.

    `schema`: of the rows, for Parquet. `threads` of the zstd compressor do not change its output.
    """

    def __init__(
        self, path: Path, form: OutputFormat, schema: pa.Schema | None, threads: int
    ) -> None:
        self.path = path
        self.rows = 0
        self.temporary = temporary_name(path)
        with writing_to(path):
            self._file: BinaryIO = open_for_writing(self.temporary)
        self._body: Any = self._file
        try:
            with writing_to(path):
                self._body = self._open(form, schema, threads)
        except BaseException:
            self.abandon()
            raise

    def _open(self, form: OutputFormat, schema: pa.Schema | None, threads: int) -> _Body:
        if form == "parquet":
            writer: _Body = pq.ParquetWriter(self._file, schema, compression="zstd")
            return writer
        if form == "jsonl.zst":
            # One frame a file: many readers stop at the end of the first.
            compressor = zstandard.ZstdCompressor(
                level=ZSTD_LEVEL, threads=max(1, threads), write_checksum=True
            )
            return compressor.stream_writer(self._file, closefd=False)
        if form == "jsonl.gz":
            gzip_file: Any = igzip.IGzipFile
            body: _Body = gzip_file(filename="", mode="wb", fileobj=self._file, mtime=0)
            return body
        return self._file

    def write_lines(self, data: bytes | memoryview, rows: int) -> None:
        """Append whole JSON lines."""
        with writing_to(self.path):
            self._body.write(data)
        self.rows += rows

    def write_table(self, table: pa.Table) -> None:
        """Append rows as one row group."""
        with writing_to(self.path):
            self._body.write_table(table, row_group_size=max(1, len(table)))
        self.rows += len(table)

    def finish(self) -> int:
        """Complete the file, still under its temporary name; return its bytes as stored."""
        with writing_to(self.path):
            if self._body is not self._file:
                self._body.close()
                self._body = self._file  # a compressor holds megabytes
            self._file.flush()
            os.fsync(self._file.fileno())
            size = self._file.tell()
            self._file.close()
        return size

    def abandon(self) -> None:
        """Remove the file; never raise for what was wrong with it."""
        with suppress(OSError, ValueError, pa.ArrowException, zstandard.ZstdError):
            self._body.close()
        with suppress(OSError):
            self._file.close()
        self.temporary.unlink(missing_ok=True)
