"""One document of a table, by whatever a person calls it by."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import numpy as np

from dataworth.corpus.uid import uid_of
from dataworth.errors import DataworthError

if TYPE_CHECKING:
    from dataworth.flow.scores import Scores


def _uids_meant(text: str) -> list[int]:
    """Return the uids that a text may be: of 16 hexadecimal digits, or a decimal number."""
    hexadecimal = re.fullmatch(r"[0-9a-fA-F]{16}", text)
    decimal = re.fullmatch(r"[0-9]{1,20}", text)
    uids = ([int(text, 16)] if hexadecimal else []) + ([int(text)] if decimal else [])
    return [uid for uid in dict.fromkeys(uids) if uid < 1 << 64]


def _first_of(scores: Scores, uid: int) -> int | None:
    rows = np.flatnonzero(scores.table.column("uid") == np.uint64(uid))
    return int(rows[0]) if len(rows) else None


def find_document(scores: Scores, document: str) -> int:
    """Return the row of the table that a uid, id, FILE:OFFSET or text stands for."""
    table = scores.table
    text = document.strip()
    looked_up = [_first_of(scores, uid) for uid in _uids_meant(text)]
    meant = [row for row in looked_up if row is not None]
    if len(meant) == 2:
        raise DataworthError(
            f"{text} is the uid of one document in hexadecimal and of another in decimal digits: "
            "give the document by FILE:OFFSET"
        )
    if meant:
        return meant[0]
    if "id" in table.names:
        codes, values = table.codes("id")
        if text in values:
            return int(np.flatnonzero(codes == values.index(text))[0])
    path, _, offset = text.rpartition(":")
    if path and offset.isdigit():
        files = [file.path for file in scores.scored.corpus.files]
        meant = [n for n, name in enumerate(files) if name == path or name.endswith("/" + path)]
        at = np.isin(table.column("file"), meant) & (table.column("offset") == int(offset))
        found = np.flatnonzero(at)
        own = np.unique(table.column("file")[found])
        if path not in files and len(own) > 1:
            names = ", ".join(files[number] for number in own[:3])
            raise DataworthError(f"{path} may mean {names}: write more of the path")
        if len(found):
            return int(found[0])
    with contextlib.suppress(UnicodeEncodeError):  # no text of a document: it is UTF-8
        row = _first_of(scores, uid_of(document))
        if row is not None:
            return row
    raise DataworthError(
        f"there is no document {document[:80]!r} in {scores.folder}: give its uid (16 hexadecimal "
        "digits, as in the table and the report), its id, FILE:OFFSET, or its whole text"
    )
