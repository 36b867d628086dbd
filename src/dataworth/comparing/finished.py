"""Selections that were made before: runs of ours, folders of data, or any files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.comparing.held_out import by_path
from dataworth.comparing.plan import CandidatePlan, ComparePlan
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.find import URL
from dataworth.engine.files import check_array, damaged, read_object, read_parquet
from dataworth.errors import InputError
from dataworth.flow.identity import content_of
from dataworth.mechanism.cut import MOST_REPEATS


@dataclass(frozen=True)
class Finished:
    """A finished selection: its files, or the chosen rows of a run without files.

    `uid` uint64 [copies], one for each copy of a document.
    """

    path: str
    uid: NDArray[np.uint64]
    corpus: Corpus | None

    def blocks(self) -> Iterator[Documents]:
        """Yield the documents of its files; nothing for a run's rows, which are in the pool."""
        if self.corpus is not None:
            for unit in self.corpus.units:
                for block in self.corpus.blocks(unit):
                    yield block.documents


def path_for(candidate: CandidatePlan, target: str, seed: int) -> str:
    """Return the path of a finished selection for one target and seed."""
    assert candidate.source is not None
    return candidate.source.replace("{target}", target).replace("{seed}", str(seed))


def read_finished(path: str, plan: ComparePlan) -> Finished:
    """Read a finished selection from a run's folder, a folder of data, or files.

    Raises InputError if there is nothing that can be read.
    """
    rows = None if URL.match(path) else _rows_file(Path(path))
    if rows is not None:
        remedy = "delete it and choose again, or name another selection"
        columns = read_parquet(rows, ["uid", "count"], remedy)
        with damaged(rows, remedy):
            uid = check_array(np.asarray(columns["uid"]), np.uint64, (None,))
            counts = np.asarray(columns["count"], np.int64)
            if len(uid) and not 1 <= int(counts.min()) <= int(counts.max()) <= MOST_REPEATS:
                raise ValueError("a document is there less than once, or too often")
            return Finished(path, np.repeat(uid, counts), None)
    corpus = open_finished(path, plan)
    found, bad = [np.empty(0, np.uint64)], 0
    for unit in corpus.units:
        for block in corpus.blocks(unit):
            found.append(block.documents.uid)
            bad += len(block.bad)
    uid = np.concatenate(found)
    if not len(uid) or bad > plan.max_bad * (len(uid) + bad):
        raise InputError(
            f"{path}: a finished selection with {len(uid)} documents and {bad} bad lines; it is "
            "read like the pool: name data with the same fields"
        )
    return Finished(path, uid, corpus)


def open_finished(path: str, plan: ComparePlan) -> Corpus:
    """Open the files of a finished selection: those in its folder `data`, if it has one."""
    place: Any = path
    fields = dataclasses.replace(plan.fields, id=None, groups=(), split_words=None)
    if not URL.match(path):
        place = Path(path)
        if (place / "data").is_dir():
            place = place / "data"
            if plan.fields.split_words is not None:
                fields = Fields()  # pieces are written as rows of their own
    return Corpus.open(place, fields=fields)


def facts_of(path: str, plan: ComparePlan) -> dict[str, Any]:
    """Return the fingerprints of the files of a finished selection."""
    rows = None if URL.match(path) else _rows_file(Path(path))
    if rows is not None:
        return {str(rows): content_of(rows)}
    return by_path(open_finished(path, plan))


def _rows_file(folder: Path) -> Path | None:
    """Return the file of chosen rows, where a run's folder has no data of its own."""
    if not folder.is_dir() or (folder / "data").is_dir():
        return None
    if (folder / "rows.parquet").is_file():
        return folder / "rows.parquet"
    if (folder / "run.json").is_file():
        own = read_object(folder / "run.json").get("selection")
        files = sorted(folder.glob("selections/*/rows.parquet"))
        files = [path for path in files if own is None or path.parent.name == own]
        if len(files) != 1:
            raise InputError(
                f"{folder}: has {len(files)} selections; name the folder of one, in selections/"
            )
        return files[0]
    return None
