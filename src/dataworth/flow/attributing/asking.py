"""The queries: texts as they are, or documents that are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.sources import texts_of
from dataworth.errors import InputError
from dataworth.flow.targets import read_documents

_LONGEST_BLANK = 1 << 16  # bytes; what is longer is no slip


def read_queries(
    queries: Any,
    fields: Fields,
    *,
    max_bad: float,
    storage_options: Mapping[str, Any] | None,
) -> Documents:
    """Each query as a document. A list of texts, and `Documents`, are taken as they are.

    Raises InputError for what cannot be read, and for a query without text.
    """
    found: Documents
    if isinstance(queries, Documents):
        found = queries
    elif (texts := texts_of(queries)) is not None:
        found = Documents.from_texts(texts)
    else:
        found = read_documents(
            "what was given as queries",
            _opened(queries, fields, storage_options),
            max_bad=max_bad,
            remedy="give a file in which each document is a query, or texts",
        )
    for number in np.flatnonzero(found.text_bytes < _LONGEST_BLANK).tolist():
        if not found.text(number).strip():
            raise InputError(f"query {number + 1} is empty: leave it out, or ask something")
    return found


def _opened(source: Any, fields: Fields, storage_options: Mapping[str, Any] | None) -> Corpus:
    try:
        return Corpus.open(source, fields=fields, storage_options=storage_options)
    except InputError as error:
        if isinstance(source, str) and any(letter.isspace() for letter in source):
            raise InputError(f"{error}; a text is a query as a list: [{source[:40]!r}]") from error
        raise
