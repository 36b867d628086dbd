"""A corpus: files, how their rows are read, and the units in which the work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.find import reading_from, say_once
from dataworth.corpus.read.reader import Block, read
from dataworth.corpus.read.sources import SourceFile, fingerprint, resolve
from dataworth.corpus.units import Unit, split
from dataworth.errors import RunError


@dataclass(frozen=True)
class Corpus:
    """Files, the fields of their rows, and the units that they are cut into."""

    files: tuple[SourceFile, ...]
    fields: Fields
    units: tuple[Unit, ...]
    storage_options: Mapping[str, Any] | None = None
    _known: set[int] = field(default_factory=set, init=False, compare=False, repr=False)

    @staticmethod
    def open(
        source: Any,
        *,
        fields: Fields | None = None,
        spool: Path | None = None,
        storage_options: Mapping[str, Any] | None = None,
        out: Path | None = None,
        others: Mapping[str, Corpus] | None = None,
    ) -> Corpus:
        """Open a corpus from paths, globs, URLs, folders, datasets or iterables.

        `spool` is where what can be read only once is kept. `out`: the folder that is written to,
        `others`: what else is read, such as targets; their files are left out, which is said.
        Raises InputError for what is missing or cannot be read.
        """
        fields = fields or Fields()
        options = dict(storage_options) if storage_options else None
        name = fields.text[0] if fields.template is None else "text"
        files = tuple(
            resolve(source, spool=spool, storage_options=options, text_field=name, out=out)
        )
        files = _apart(files, others or {})
        units = tuple(split(files, txt=fields.txt, storage_options=options))
        return Corpus(files, fields, units, options)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)

    def blocks(self, unit: Unit) -> Iterator[Block]:
        """Yield the blocks of one unit."""
        return read(unit, self.fields, storage_options=self.storage_options)

    def check_unchanged(self, files: Iterable[int]) -> None:
        """Fail if some files, by index, are not what they were.

        Local files are of the size and time they were of; files of a run's record begin and end
        as they did, which is looked at once. Raises InputError for a file that is gone, RunError
        for one that changed or is not the one that was scored.
        """
        for index in files:
            if not 0 <= index < len(self.files):
                raise RunError(
                    f"the table names file {index} of a pool of {len(self.files)}: it is damaged, "
                    "or of another run; run again with --overwrite"
                )
            if not self._is_unchanged(index):
                raise RunError(
                    f"{self.files[index].path}: changed since it was scored, and places in it are "
                    "no longer known; put it back as it was, or score again"
                )

    def _is_unchanged(self, index: int) -> bool:
        file = self.files[index]
        if not file.is_url:
            with reading_from(file.path):
                state = Path(file.path).stat()
            if (state.st_size, state.st_mtime) != (file.size, file.modified):
                return False
        if file.hash is not None and index not in self._known:
            if fingerprint(file, self.storage_options)["hash"] != file.hash:
                return False
            self._known.add(index)
        return True

    def read_all(self) -> tuple[Documents, list[Block]]:
        """All documents in memory, and the blocks' accounts: for targets, which are small."""
        blocks = [block for unit in self.units for block in self.blocks(unit)]
        return Documents.concatenate([block.documents for block in blocks]), blocks


def _apart(files: tuple[SourceFile, ...], others: Mapping[str, Corpus]) -> tuple[SourceFile, ...]:
    """Return the files that are none of other corpora, and say which are left out."""
    known = {_real(file): name for name, other in others.items() for file in other.files}
    shared = {file.path: known[_real(file)] for file in files if _real(file) in known}
    if not shared:
        return files
    path, name = next(iter(shared.items()))
    more = f" (and {len(shared) - 1} more such files)" if len(shared) > 1 else ""
    if len(shared) == len(files):
        say_once(f"{path}{more}: is the pool and {name} at once")
        return files
    say_once(f"{path}{more}: left out of the pool, it is {name}")
    return tuple(file for file in files if file.path not in shared)


def _real(file: SourceFile) -> str:
    return file.path if file.is_url else os.path.realpath(file.path)
