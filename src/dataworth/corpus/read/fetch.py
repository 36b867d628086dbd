"""The texts of a few chosen documents, wherever they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.chats import mark_of
from dataworth.corpus.contents import Unread
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields, RowError, chat_of, paths_read
from dataworth.corpus.read.reader import read_rows
from dataworth.corpus.templates import Span
from dataworth.corpus.uid import marked
from dataworth.corpus.uid import uids_of as hashes
from dataworth.corpus.units import Unit
from dataworth.errors import RunError


def fetch_texts(
    unit: Unit,
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    fields: Fields,
    *,
    uid: NDArray[np.uint64] | None = None,
    pieces: NDArray[np.int64] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the texts of a unit's rows, places as in `Documents`, in the order given.

    `uid` uint64 [k]: what they must hash to; None compares nothing. Raises RunError for a row that
    is no document, or not the one that was scored, InputError if the file has become shorter.
    """
    order = np.lexsort((np.zeros(len(offsets)) if pieces is None else pieces, offsets))
    texts: list[str] = []
    for rows in read_rows(
        unit,
        offsets[order],
        sizes[order],
        fields=fields,
        pieces=None if pieces is None else pieces[order],
        storage_options=storage_options,
    ):
        read, found = _read(rows, unit, fields)
        if uid is not None:
            part = order[len(texts) : len(texts) + len(rows)]
            check_rows(found, uid[part], offsets[part], unit)
        texts.extend(read)
    if len(texts) != len(order):
        raise RunError(
            f"{unit.file.path}: {len(order) - len(texts)} of the rows are not in it: the file "
            "changed, or the run's table is damaged; put it back as it was, or score again"
        )
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return [texts[place] for place in back]


def uids_of(
    rows: pa.Table | pa.Array | list[bytes], unit: Unit, fields: Fields
) -> NDArray[np.uint64]:
    """Return the uids of the texts that some rows hold now, as `read_rows` gives them: uint64 [n].

    Raises RunError for a row that cannot be read as a document.
    """
    return _read(rows, unit, fields)[1]


def check_rows(
    found: NDArray[np.uint64],
    expected: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    unit: Unit,
) -> None:
    """Raise RunError for a row, at one of `offsets`, whose uid is not the expected one."""
    changed = np.flatnonzero(found != expected)
    if len(changed):
        raise RunError(
            f"{unit.file.path}: the row at {offsets[changed[0]]} is not the one that was scored: "
            "the file changed; put it back as it was, or score again"
        )


def _read(
    rows: pa.Table | pa.Array | list[bytes], unit: Unit, fields: Fields
) -> tuple[list[str], NDArray[np.uint64]]:
    """Return the texts of some rows and their uids."""
    if isinstance(rows, pa.Table):
        paths = paths_read(fields)
        if paths is not None:  # other columns may be large
            names = rows.column_names
            rows = rows.select(
                [n for n in names if any(f"{p}.".startswith(f"{n}.") for p in paths)]
            )
    values = rows.to_pylist() if isinstance(rows, pa.Table | pa.Array) else rows
    chats = [_chat(value, unit, fields) for value in values]
    texts = [text for text, _, _ in chats]
    uid = Documents.from_texts(texts).uid
    if fields.template is None or unit.file.format == "txt":
        return texts, uid
    marks = [mark_of(spans or (), unread) for _, spans, unread in chats]
    return texts, marked(uid, hashes(marks))


def _chat(value: Any, unit: Unit, fields: Fields) -> tuple[str, tuple[Span, ...] | None, Unread]:
    """Return a row's text, who says what in it and what was not read, as the pool's reader does."""
    try:
        if isinstance(value, bytes) and unit.file.format == "txt" and fields.split_words is None:
            return value.decode("utf-8"), None, {}
        row = orjson.loads(value) if isinstance(value, bytes) else value
        if fields.split_words is not None:
            return str(row["text"]), None, {}
        return chat_of(row, fields)
    except (RowError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{unit.file.path}: a chosen row is not what it was ({error}): the file changed since "
            "the run; run again on files that stay as they are"
        ) from error
