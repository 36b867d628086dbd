"""Units: the pieces of a pool that are worked on alone."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from dataworth.corpus.read.find import open_bytes, reading_from
from dataworth.corpus.read.formats import SourceFile
from dataworth.errors import InputError

TARGET_BYTES: Final = 16 * 2**20
"""The least size of a unit; large pools have larger ones."""

MOST_UNITS: Final = 4096
"""About how many units a pool of plain files is split into at most."""


@dataclass(frozen=True)
class Unit:
    """One piece of a pool, worked on alone.

    Plain JSONL, and text with a document a line: the byte range [start, end); a line belongs to
    the unit in which its first byte lies. Parquet: the row range [start, end), whole row groups.
    A compressed file, or text with a document a file: all of it, (0, size).
    `index`: its place among the pool's units; `file_index`: its file's among the pool's files.
    """

    index: int
    file: SourceFile
    file_index: int
    start: int
    end: int

    @property
    def units(self) -> tuple[Unit, ...]:
        """The unit itself, as a part of one."""
        return (self,)


@dataclass(frozen=True)
class Part:
    """One unit, or several that are whole small files: what has one file in each column's folder.

    `index`: its place among the pool's parts. `units`: consecutive ones.
    """

    index: int
    units: tuple[Unit, ...]


def parts_of(units: Sequence[Unit], target_bytes: int = TARGET_BYTES) -> list[Part]:
    """Return the parts of a corpus, in the order of its units.

    Small files lie together until they reach `target_bytes` as stored, so that a pool of very many
    small files does not become as many files of each step.
    """
    whole = Counter(unit.file_index for unit in units)
    groups: list[list[Unit]] = []
    held = target_bytes  # by the last group; full at first
    for unit in units:
        small = whole[unit.file_index] == 1 and unit.file.size < target_bytes
        size = unit.file.size if small else target_bytes
        if held + size <= target_bytes:
            groups[-1].append(unit)
            held += size
        else:
            groups.append([unit])
            held = size
    return [Part(index, tuple(group)) for index, group in enumerate(groups)]


def split(
    files: Sequence[SourceFile],
    target_bytes: int = TARGET_BYTES,
    *,
    txt: Literal["file", "line"] = "file",
    storage_options: Mapping[str, Any] | None = None,
) -> list[Unit]:
    """Return the units of a corpus, in the order of its files; empty files have none.

    Depends on the files alone, not on how many workers there are. Units of plain files have even
    sizes of at most max(target_bytes, total/4096) bytes as stored. Raises InputError for a
    Parquet file that cannot be read.
    """
    target = max(target_bytes, -(-sum(file.size for file in files) // MOST_UNITS))
    units: list[Unit] = []
    for number, file in enumerate(files):
        for start, end in _ranges(file, target, txt, storage_options or {}):
            units.append(Unit(len(units), file, number, start, end))
    return units


def _ranges(
    file: SourceFile, target: int, txt: str, options: Mapping[str, Any]
) -> list[tuple[int, int]]:
    if file.format == "parquet":
        return _row_ranges(file, target, options)
    if file.size == 0:
        return []
    if file.compression is not None or (file.format == "txt" and txt == "file"):
        return [(0, file.size)]
    count = -(-file.size // target)
    edges = [file.size * number // count for number in range(count + 1)]
    return list(itertools.pairwise(edges))


def _row_ranges(file: SourceFile, target: int, options: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Row groups of a Parquet file put together until they reach the target size as stored."""
    groups = parquet_metadata(file, options)
    sizes = [groups.row_group(number).total_byte_size for number in range(groups.num_row_groups)]
    rows = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
    share = file.size / max(1, sum(sizes))
    ranges: list[tuple[int, int]] = []
    start = end = 0
    held = 0.0
    for size, count in zip(sizes, rows, strict=True):
        held += size * share
        end += count
        if held >= target and end > start:
            ranges.append((start, end))
            start, held = end, 0.0
    if end > start:
        ranges.append((start, end))
    return ranges


def parquet_metadata(file: SourceFile, options: Mapping[str, Any]) -> Any:
    """The footer of a Parquet file (pyarrow's FileMetaData). Raises InputError naming the file."""
    with reading_from(file.path), open_bytes(file.path, options) as stream:
        try:
            return pq.ParquetFile(stream).metadata
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise InputError(
                f"{file.path}: is not a whole Parquet file ({_first_line(error)}); it may be cut "
                f"short or of another kind: write or download it again, or leave it out"
            ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
