"""One document of a table, by whatever a person calls it by."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from dataworth.corpus.uid import uid_of
from dataworth.errors import DataworthError

if TYPE_CHECKING:
    from dataworth.flow.scores import Scores


def find_document(scores: Scores, document: str) -> int:
    """The row of the table that is meant."""
    table = scores.table
    text = document.strip()
    if len(text) == 16 and all(digit in "0123456789abcdef" for digit in text.lower()):
        found = np.flatnonzero(table.column("uid") == np.uint64(int(text, 16)))
        if len(found):
            return int(found[0])
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
        found = np.flatnonzero(table.column("uid") == np.uint64(uid_of(document)))
        if len(found):
            return int(found[0])
    raise DataworthError(
        f"there is no document {document[:80]!r} in {scores.folder}: give its uid (16 hexadecimal "
        "digits, as in the table and the report), its id, FILE:OFFSET, or its whole text"
    )
