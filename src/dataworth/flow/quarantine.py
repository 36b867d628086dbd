"""The bad lines of a pool: written unit by unit while it is read, then joined in one file."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TextIO

from dataworth.corpus.read.reader import BadLine
from dataworth.corpus.units import Unit
from dataworth.engine.files import atomic, damaged

_RIGHT_KIND = ("empty_text", "null_text", "line_too_long")


class Quarantine:
    """The bad lines of a unit, written as they come; without any there is no file."""

    def __init__(self, path: Path) -> None:
        self.odd: BadLine | None = None
        """The first line that is wrong in another way than by being empty or too long."""
        self._path = path
        self._open = ExitStack()
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def add(self, bad: list[BadLine]) -> None:
        """Write bad lines."""
        if not bad:
            return
        if self._file is None:
            temporary = self._open.enter_context(atomic(self._path))
            self._file = self._open.enter_context(temporary.open("w", encoding="utf-8"))
        for line in bad:
            if self.odd is None and line.reason not in _RIGHT_KIND:
                self.odd = line
            record = {
                "file": line.file,
                "line": line.line,
                "offset": line.offset,
                "bytes": line.bytes,
                "reason": line.reason,
                "detail": line.detail,
                "sample": line.sample.decode("utf-8", "backslashreplace"),
            }
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def finish(self) -> None:
        """Close the file, which takes its name."""
        self._open.close()


def unit_quarantine(folder: Path, unit: int) -> Path:
    """Return the file of a unit's bad lines, their numbers counted from the unit's first line."""
    return folder / f"{unit:05d}.jsonl"


def join_quarantine(pieces: Path, units: Sequence[Unit], lines: Sequence[int], path: Path) -> None:
    """Write all bad lines into one file, with their line numbers in the pool's files.

    `lines`: lines of each unit, which tell the number of a later unit's first line. What is there
    already of other units stays: a unit is done again if its part of the table was deleted.
    """
    rewritten = {unit.index for unit in units if unit_quarantine(pieces, unit.index).is_file()}
    if not rewritten:
        return
    before = lines_before(units, lines)
    old = _by_unit(path, units)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for unit in units:
            if unit.index not in rewritten:
                file.writelines(old.get(unit.index, []))
                continue
            place = unit_quarantine(pieces, unit.index)
            with damaged(place), place.open(encoding="utf-8") as piece:
                for text in piece:
                    record = json.loads(text)
                    record["line"] += before[unit.index]
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _by_unit(path: Path, units: Sequence[Unit]) -> dict[int, list[str]]:
    """Return the lines of a quarantine that was written before, by the unit they are of."""
    if not path.is_file():
        return {}
    starts: dict[str, list[tuple[int, int]]] = {}
    for unit in units:
        starts.setdefault(unit.file.path, []).append((unit.start, unit.index))
    out: dict[int, list[str]] = {}
    with damaged(path), path.open(encoding="utf-8") as file:
        for text in file:
            record = json.loads(text)
            place = bisect_right(starts[record["file"]], (record["offset"], len(units))) - 1
            out.setdefault(starts[record["file"]][place][1], []).append(text)
    return out


def lines_before(units: Sequence[Unit], lines: Sequence[int]) -> list[int]:
    """Return for each unit the lines of its file in earlier units."""
    seen: dict[int, int] = {}
    out = []
    for unit, count in zip(units, lines, strict=True):
        out.append(seen.get(unit.file_index, 0))
        seen[unit.file_index] = out[-1] + count
    return out
