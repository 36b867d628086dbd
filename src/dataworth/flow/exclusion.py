"""What was trained on before: the documents that a selection leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.engine.files import check_array, damaged, read_object, read_parquet
from dataworth.errors import ConfigError, InputError


def excluded_uids(paths: Sequence[str], pool: Corpus, max_bad: float) -> NDArray[np.uint64]:
    """uids of the documents that runs or data sets hold, sorted, each once.

    `paths`: folders of runs (their own selection), folders of one selection, or data, which is
    read as the `pool` is. Raises InputError for data without a document, or with too many bad
    lines: nothing would be excluded, unnoticed.
    """
    found = [np.empty(0, np.uint64)]
    for path in paths:
        rows = _rows_of_run(Path(path))
        if rows is not None:
            place, remedy = (
                rows / "rows.parquet",
                "delete it and choose again, or name another folder",
            )
            table = read_parquet(place, ["uid"], remedy)
            with damaged(place, remedy):
                found.append(check_array(np.asarray(table["uid"]), np.uint64, (None,)))
            continue
        fields = replace(pool.fields, groups=(), id=None)
        corpus = Corpus.open(path, fields=fields, storage_options=pool.storage_options)
        documents, bad = 0, 0
        first = ""
        for block in (block for unit in corpus.units for block in corpus.blocks(unit)):
            found.append(block.documents.uid)
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
    return np.unique(np.concatenate(found))


def _rows_of_run(folder: Path) -> Path | None:
    """The folder of the chosen rows, if this is a run's or a selection's folder."""
    if (folder / "rows.parquet").is_file() and (folder / "choice.json").is_file():
        return folder
    if not (folder / "run.json").is_file():
        return None
    own = read_object(folder / "run.json").get("selection")
    made = sorted(path.parent for path in folder.glob("selections/*/rows.parquet"))
    if own is not None:
        made = [path for path in made if path.name == own]
    if len(made) > 1:
        names = ", ".join(path.name for path in made[:5])
        raise ConfigError(
            f"{folder}: has {len(made)} selections; name the one to exclude: "
            f"{folder / 'selections'}/NAME with NAME one of {names}"
        )
    return made[0] if made else None
