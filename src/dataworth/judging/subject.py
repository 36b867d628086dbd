"""The subject of a judgement: a choice of a run, or files from anywhere, as documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.find import URL
from dataworth.corpus.read.reader import Block
from dataworth.corpus.units import Unit
from dataworth.engine.files import read_json
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import RunError
from dataworth.flow.recipe import recorded_choice
from dataworth.flow.scores import load_scores
from dataworth.flow.selection import Selection

_RECORD = "run.json"


@dataclass(frozen=True)
class Subject:
    """A selection to look at.

    `corpus`: where its texts lie. `selection`: the choice, if it is one of ours; then `masked`
    says that the corpus is the run's pool, of which only the chosen rows count, each as often as
    it was chosen. Else all of the corpus is the selection.
    """

    name: str
    path: str | None
    corpus: Corpus
    selection: Selection | None = None
    masked: bool = False

    @property
    def units(self) -> list[Unit]:
        """The units of the corpus that hold anything of the selection."""
        if self.selection is None or not self.masked:
            return list(self.corpus.units)
        firsts = self.selection.scores.table.firsts
        taken = np.concatenate([[0], np.cumsum(self.selection.choice.counts > 0)])
        many = np.diff(taken[firsts])
        return [unit for unit in self.corpus.units if many[unit.index]]

    def blocks(self, unit: Unit) -> Iterator[tuple[Documents, Block]]:
        """Yield (documents of the selection, copies repeated; the corpus's block they are from).

        Raises RunError if the pool is not what it was when the run scored it.
        """
        if self.selection is None or not self.masked:
            for block in self.corpus.blocks(unit):
                yield block.documents, block
            return
        scores, choice = self.selection.scores, self.selection.choice
        at, end = (int(row) for row in scores.table.firsts[unit.index : unit.index + 2])
        for block in self.corpus.blocks(unit):
            stop = at + len(block.documents)
            uid = choice.candidates.uid[at:stop]
            if stop > end or not np.array_equal(uid, block.documents.uid):
                raise RunError(
                    f"{unit.file.path}: changed since it was scored; put it back as it was, or "
                    "judge the written files (the run's data/)"
                )
            many = choice.counts[at:stop]
            rows = np.repeat(np.flatnonzero(many), many[many > 0])
            yield block.documents.take(rows), block
            at = stop


def open_subject(
    source: Any,
    fields: Fields,
    *,
    storage_options: Mapping[str, Any] | None,
    engine: Engine,
    progress: Progress,
    spool: Path | None = None,
) -> Subject:
    """Open a selection from what a person names: see `dataworth.judge`.

    A `Selection`, the folder of a run or of one of its choices, the `data/` that a run wrote, or
    anything that is a pool. `fields`: how files from elsewhere are read.

    Raises InputError for what cannot be read, DataworthError for a run that chose nothing yet.
    """
    if isinstance(source, Selection):
        return of_selection(source, str(source.scores.folder))
    found = run_of(source)
    if found is None:
        corpus = Corpus.open(source, fields=fields, spool=spool, storage_options=storage_options)
        path = _path_of(source)
        return Subject(_name(source), path, corpus)
    folder, choice = found
    chosen = recorded_choice(folder, choice)
    scores = load_scores(
        folder,
        storage_options=storage_options,
        engine=engine,
        progress=progress,
        steps=chosen.steps,
    )
    selection = scores.choose_settings(chosen.settings)
    return of_selection(selection, str(paths_in(source)[0]))


def of_selection(selection: Selection, path: str) -> Subject:
    """Open a choice of ours; its texts are those the run wrote, else those of the pool."""
    folder, pool = selection.scores.folder, selection.scores.scored.corpus
    name = Path(path).name or str(folder)
    if Path(path).name == "data" or Path(path) == selection.folder:
        name = f"{folder.name}/{Path(path).name}"
    written = folder / "data"
    if _own_choice(folder) == selection.folder.name and written.is_dir() and len(selection):
        fields = Fields() if pool.fields.split_words else replace(pool.fields, groups=(), id=None)
        return Subject(name, path, Corpus.open(written, fields=fields), selection)
    return Subject(name, path, pool, selection, masked=True)


def run_of(source: Any) -> tuple[Path, str | None] | None:
    """Return (a run's folder, the name of a choice or None for its own), if one is named."""
    names = paths_in(source)
    if len(names) != 1 or URL.match(names[0]):
        return None
    path = Path(names[0])
    if (path / _RECORD).is_file():
        return path, None
    if (path / "choice.json").is_file() and (path.absolute().parents[1] / _RECORD).is_file():
        return path.absolute().parents[1], path.absolute().name
    if path.is_dir() and path.absolute().name == "data" and _own_choice(path.absolute().parent):
        return path.absolute().parent, None
    return None


def _own_choice(folder: Path) -> str | None:
    """Return the name of the choice whose rows lie in the run's `data/`."""
    if not (folder / _RECORD).is_file():
        return None
    record = read_json(folder / _RECORD)
    return record.get("selection") if isinstance(record, dict) else None


def paths_in(source: Any) -> list[str]:
    """Return the paths, globs or URLs that are named; [] where documents themselves are given."""
    items = source if isinstance(source, list | tuple) else [source]
    if not all(isinstance(item, str | Path) for item in items):
        return []
    return [str(item) for item in items]


def _path_of(source: Any) -> str | None:
    return next(iter(paths_in(source)), None)


def _name(source: Any) -> str:
    """Return a short name for headings."""
    paths = paths_in(source)
    if not paths:
        return "selection"
    path = Path(paths[0].rstrip("/"))
    short = path.name or str(path)
    if short == "data":  # says nothing
        short = "/".join(path.absolute().parts[-2:])
    return f"{short} and {len(paths) - 1} more" if len(paths) > 1 else short


def chosen_uids(selection: Selection) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Return (uids of the chosen rows, their copies)."""
    rows = selection.rows
    return selection.choice.candidates.uid[rows], selection.choice.counts[rows]
