"""Texts of a run's documents, read from the pool or from what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.fetch import fetch_texts
from dataworth.errors import RunError
from dataworth.flow.scoring import Scored


def texts_of(scored: Scored, rows: NDArray[np.int64]) -> list[str]:
    """Return the texts of some rows of the table, read from the pool."""
    table, corpus = scored.table, scored.corpus
    pieces = ["piece"] if corpus.fields.split_words is not None else []
    places = table.rows(rows, ["file", "uid", "offset", "bytes", *pieces])
    units = np.searchsorted(table.firsts, rows, side="right") - 1
    check_files(corpus, units, places)
    texts: list[str] = [""] * len(rows)
    for unit in np.unique(units):
        inside = np.flatnonzero(units == unit)
        part = places.take(inside)
        numbers = np.asarray(part["piece"], np.int64) if pieces else None
        found = fetch_texts(
            corpus.units[int(unit)],
            np.asarray(part["offset"], np.int64),
            np.asarray(part["bytes"], np.int64),
            corpus.fields,
            uid=np.asarray(part["uid"], np.uint64),
            pieces=numbers,
            storage_options=corpus.storage_options,
        )
        for place, text in zip(inside, found, strict=True):
            texts[place] = text
    return texts


def check_files(corpus: Corpus, units: NDArray[np.int64], places: pa.Table) -> None:
    """Raise RunError if a file of some rows changed, or is not that of the rows' unit.

    `units` int64 [n]: of the rows; `places`: their rows in the table, with the column `file`.
    """
    files = np.asarray(places["file"], np.int64)
    corpus.check_unchanged(np.unique(files).tolist())
    if len(files) and (files != np.array([u.file_index for u in corpus.units])[units]).any():
        raise RunError(
            "the table gives rows of a file that is not that of their part of the pool: it is "
            "damaged, or of another run; run again with --overwrite"
        )


def load_text(folder: Path, names: Sequence[str], limit: int, pool: Corpus) -> Documents | None:
    """Load documents of written shards, for measuring: about the first `limit` bytes of text."""
    fields = Fields() if pool.fields.split_words else replace(pool.fields, groups=(), id=None)
    corpus = Corpus.open([folder / name for name in names], fields=fields)
    batches, held = [], 0
    for unit in corpus.units:
        for block in corpus.blocks(unit):
            batches.append(block.documents)
            held += int(block.documents.text_bytes.sum())
            if held >= limit:
                return Documents.concatenate(batches)
    return Documents.concatenate(batches) if batches else None
