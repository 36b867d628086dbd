"""From chosen rows to the writer: what a worker does for one unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.fields import Fields
from dataworth.corpus.read.fetch import check_rows, uids_of
from dataworth.corpus.read.reader import read_rows
from dataworth.corpus.units import Unit
from dataworth.corpus.write.writing import ShardWriter
from dataworth.errors import RunError


def extract(
    writer: ShardWriter,
    unit: Unit,
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    positions: NDArray[np.int64],
    fields: Fields,
    *,
    uid: NDArray[np.uint64] | None = None,
    pieces: NDArray[np.int64] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Read the chosen rows of one unit and add them to the writer; run it in any thread.

    `offsets`, `sizes`, `positions` int64 [k], in any order: where each row lies (as in the
    documents table) and where it goes; a row written several times is there several times.
    `uid` uint64 [k]: what the rows' texts must hash to; None compares nothing.
    `pieces` int64 [k]: the pieces' numbers, where `fields.split_words` makes them the documents.
    Raises InputError when the file cannot be read, RunError when it has changed.
    """
    if not len(offsets):
        return
    order = np.argsort(offsets, kind="stable") if pieces is None else np.lexsort((pieces, offsets))
    offsets, sizes, positions = offsets[order], sizes[order], positions[order]
    new = offsets[1:] != offsets[:-1]
    if pieces is not None:
        pieces = pieces[order]
        new |= pieces[1:] != pieces[:-1]
    first = np.flatnonzero(np.append(True, new))
    expected = None if uid is None else uid[order][first]
    index = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(offsets))))
    chunks = read_rows(
        unit,
        offsets[first],
        sizes[first],
        fields=fields,
        pieces=None if pieces is None else pieces[first],
        storage_options=storage_options,
    )
    at = 0
    for rows in chunks:
        if expected is not None:
            found, part = uids_of(rows, unit, fields), slice(at, at + len(rows))
            check_rows(found, expected[part], offsets[first][part], unit)
        low, high = np.searchsorted(index, (at, at + len(rows)))
        texts = unit.file if fields.split_words is None else None  # pieces come as JSON rows
        writer.add(positions[low:high], rows, index=index[low:high] - at, file=texts)
        at += len(rows)
    if at != len(first):
        raise RunError(
            f"{unit.file.path}: {len(first) - at} of the chosen rows were not found again: the "
            f"file changed while it was read; run again on files that stay as they are"
        )
