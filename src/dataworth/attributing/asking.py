"""The queries: texts as they are, or documents that are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.sources import texts_of
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
    """Read each query as a document. A list of texts, and `Documents`, are taken as they are.

    Raises InputError for what cannot be read, and for a query without text.
    """
    documents: Documents
    if isinstance(queries, Documents):
        documents = queries
    elif (texts := texts_of(queries)) is not None:
        documents = Documents.from_texts(texts)
    else:
        documents = read_documents(
            "what was given as queries",
            _opened(queries, fields, storage_options),
            max_bad=max_bad,
            remedy="give a file in which each document is a query, or texts",
        )
    for number in np.flatnonzero(documents.text_bytes < _LONGEST_BLANK).tolist():
        if not documents.text(number).strip():
            raise InputError(f"query {number + 1} is empty: leave it out, or ask something")
    silent = np.flatnonzero(~answering(documents))
    if len(silent):
        raise InputError(
            f"query {int(silent[0]) + 1} is a chat without words of the assistant, of which there "
            "is no loss: leave it out, or ask it as text (--query-template none)"
        )
    return documents


def answering(documents: Documents) -> NDArray[np.bool_]:
    """Tell documents that have words to learn from: of chats, the assistant's. bool [n]."""
    spans = documents.spans
    if spans is None:
        return np.ones(len(documents), np.bool_)
    said = np.array([role == "assistant" for role in spans.role], np.bool_)
    said &= spans.end > spans.start
    return np.isin(np.arange(len(documents)), spans.document[said])


def _opened(source: Any, fields: Fields, storage_options: Mapping[str, Any] | None) -> Corpus:
    try:
        return Corpus.open(source, fields=fields, storage_options=storage_options)
    except InputError as error:
        if isinstance(source, str) and any(letter.isspace() for letter in source):
            raise InputError(f"{error}; a text is a query as a list: [{source[:40]!r}]") from error
        raise
