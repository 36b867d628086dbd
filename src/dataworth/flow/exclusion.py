"""Documents trained on before, which a selection leaves out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import checks
from dataworth.engine.files import check_array, damaged, read_object, read_parquet
from dataworth.errors import ConfigError, InputError

_CHECK = "check"
_UIDS = np.empty(0, np.uint64)
_PAIRS = np.empty((0, 2), np.uint64)


@dataclass(frozen=True)
class Excluded:
    """Documents that were trained on before, each once and sorted.

    `pairs` uint64 [n, 2]: uids, each with the second hash of its text. `uids` uint64 [m]: those of
    which no second hash is known.
    """

    pairs: NDArray[np.uint64] = field(default_factory=lambda: _PAIRS)
    uids: NDArray[np.uint64] = field(default_factory=lambda: _UIDS)

    def __len__(self) -> int:
        return len(self.pairs) + len(self.uids)

    @property
    def digest(self) -> str:
        """Hexadecimal digits of all the documents."""
        held = self.uids.tobytes() + b"\0" + np.ascontiguousarray(self.pairs).tobytes()
        return hashlib.blake2b(held).hexdigest()

    def among(
        self, uid: NDArray[np.uint64], check: Callable[[NDArray[np.int64]], NDArray[np.uint64]]
    ) -> NDArray[np.bool_]:
        """Return which documents are excluded, bool [rows].

        `uid` uint64 [rows]. `check` gives the second hashes of some rows; it is asked only about
        rows whose uid is that of an excluded document.
        """
        hits = np.isin(uid, self.uids)
        rows = np.flatnonzero(np.isin(uid, self.pairs[:, 0]) & ~hits)
        if len(rows):
            known = _records(self.pairs)
            hits[rows] = np.isin(_records(np.stack([uid[rows], check(rows)], axis=1)), known)
        return hits


def _records(pairs: NDArray[np.uint64]) -> NDArray[np.void]:
    """Return pairs [n, 2] as n values that compare as a whole."""
    kind = np.dtype([("uid", np.uint64), (_CHECK, np.uint64)])
    records: NDArray[np.void] = np.ascontiguousarray(pairs).view(kind).reshape(-1)
    return records


def excluded_documents(
    paths: Sequence[str], pool: Corpus, max_bad: float, folder: Path
) -> Excluded:
    """Return the documents that runs, loops or datasets hold.

    `paths`: folders of runs (their own selection) or loops (those of all rounds), folders of one
    selection, or data, which is read as the `pool` is; relative ones lie in `folder`. Raises
    InputError for data without a document, or with too many bad lines: nothing would be excluded,
    unnoticed.
    """
    pairs, uids = [_PAIRS], [_UIDS]
    for path in paths:
        selections = _selections(Path(folder, path))
        for selection in selections:
            found = _of_selection(selection / "rows.parquet")
            (pairs if found.ndim == 2 else uids).append(found)
        if not selections:
            pairs += _of_data(path, pool, max_bad)
    return Excluded(np.unique(np.concatenate(pairs), axis=0), np.unique(np.concatenate(uids)))


def _of_selection(path: Path) -> NDArray[np.uint64]:
    """Return pairs [n, 2] of a selection's rows, or uids [n] where it has no second hashes."""
    remedy = "delete it and choose again, or name another folder"
    with damaged(path, remedy):
        names = pq.ParquetFile(path).schema_arrow.names
    names = [name for name in ("uid", _CHECK) if name == "uid" or name in names]
    table = read_parquet(path, names, remedy)
    with damaged(path, remedy):
        columns = [check_array(np.asarray(table[n]), np.uint64, (None,)) for n in names]
    return np.stack(columns, axis=1) if len(columns) > 1 else columns[0]


def _of_data(path: str, pool: Corpus, max_bad: float) -> list[NDArray[np.uint64]]:
    fields = replace(pool.fields, groups=(), id=None)
    corpus = Corpus.open(path, fields=fields, storage_options=pool.storage_options)
    pairs: list[NDArray[np.uint64]] = []
    documents, bad = 0, 0
    first = ""
    for block in (block for unit in corpus.units for block in corpus.blocks(unit)):
        pairs.append(_pairs(block.documents))
        documents += len(block.documents)
        bad += len(block.bad)
        if block.bad and not first:
            line = block.bad[0]
            first = f" (the first: {line.file}, byte {line.offset}: {line.reason})"
    if not documents or bad > max_bad * (documents + bad):
        raise InputError(
            f"{path}, which is to be excluded, has {documents} documents and {bad} bad "
            f"lines{first}: it is read like the pool; name data with the same fields"
        )
    return pairs


def _pairs(documents: Documents) -> NDArray[np.uint64]:
    second = checks(documents.data, documents.starts, documents.ends)
    return np.stack([documents.uid, second], axis=1)


def _trained(folder: Path) -> list[Path]:
    """Return the folders of the selections of a loop's finished rounds."""
    records = [read_object(path) for path in sorted(folder.glob("rounds/*/round.json"))]
    return [folder / "selections" / Path(str(one.get("selection"))).name for one in records]


def _selections(folder: Path) -> list[Path]:
    """Return the folders of the chosen rows, if this is a run's, a loop's or a selection's."""
    if (folder / "rows.parquet").is_file() and (folder / "choice.json").is_file():
        return [folder]
    if not (folder / "run.json").is_file():
        return []
    own = read_object(folder / "run.json").get("selection")
    trained = _trained(folder)
    if own is None and trained:
        return trained
    folders = sorted(path.parent for path in folder.glob("selections/*/rows.parquet"))
    if own is not None:
        folders = [path for path in folders if path.name == own]
    if len(folders) > 1:
        names = ", ".join(path.name for path in folders[:5])
        raise ConfigError(
            f"{folder}: has {len(folders)} selections; name the one to exclude: "
            f"{folder / 'selections'}/NAME with NAME one of {names}"
        )
    return folders
