"""The formats and compressions that dataworth reads, told by the files' names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

Format = Literal["jsonl", "parquet", "txt"]
Compression = Literal["gz", "zst"]

FORMATS: Final[dict[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".txt": "txt",
}
COMPRESSIONS: Final[dict[str, Compression]] = {".gz": "gz", ".zst": "zst", ".zstd": "zst"}

KNOWN: Final = ".jsonl, .ndjson, .json (of lines), .txt, each also with .gz or .zst, and .parquet"
"""The extensions, for messages."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a corpus.

    `path`: absolute path or URL. `size`: bytes as stored. `modified`: seconds since 1970, None
    where the store does not tell. `hash`: of its first and last bytes (`sources.fingerprint`), as
    a run recorded it; None for a file that was found now.
    """

    path: str
    format: Format
    compression: Compression | None
    size: int
    modified: float | None
    hash: str | None = None

    @property
    def is_url(self) -> bool:
        """True if the file is read through fsspec, not from the local file system."""
        return "://" in self.path and not self.path.startswith("/")


def format_of(path: str) -> tuple[Format, Compression | None] | None:
    """Format and compression by a file's name, or None if it is not one that dataworth reads."""
    name = PurePosixPath(path.replace(os.sep, "/")).name.lower()
    stem, _, last = name.rpartition(".")
    compression = COMPRESSIONS.get(f".{last}")
    if compression is not None:
        stem, _, last = stem.rpartition(".")
    kind = FORMATS.get(f".{last}") if stem else None
    if kind is None or (kind == "parquet" and compression is not None):
        return None
    return kind, compression


def extension_of(path: str) -> str:
    """Return the extension of a name, for messages: ".tar.gz" is told as ".gz"."""
    return PurePosixPath(path).suffix or "no extension"
