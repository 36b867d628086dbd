"""Stored columns beside the texts of kept documents: their uids and who says what in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from dataworth.corpus.documents import Documents, RoleSpans

_UID, _SPANS = "uid", ("span_start", "span_end", "span_role")


def identity_columns(documents: Documents) -> dict[str, pa.Array]:
    """Return the uids and, of chats, the role spans as one list a document."""
    columns: dict[str, pa.Array] = {_UID: pa.array(documents.uid)}
    spans = documents.spans
    if spans is not None:
        order = np.argsort(spans.document, kind="stable")
        counts = np.bincount(spans.document, minlength=len(documents))
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        roles = [spans.role[place] for place in order.tolist()]
        values = (pa.array(spans.start[order]), pa.array(spans.end[order]))
        for name, column in zip(_SPANS, (*values, pa.array(roles, pa.string())), strict=True):
            columns[name] = pa.ListArray.from_arrays(offsets, column)
    return columns


def with_identity(documents: Documents, table: pa.Table) -> Documents:
    """Return the documents with the uids and role spans of a table written with them."""
    if _UID not in table.column_names or not len(table):
        return documents
    documents = replace(documents, uid=np.asarray(table[_UID].to_numpy(), np.uint64))
    if _SPANS[0] not in table.column_names:
        return documents
    starts, ends, roles = (table[name].combine_chunks() for name in _SPANS)
    document = np.repeat(np.arange(len(table)), starts.value_lengths().to_numpy())
    spans = RoleSpans(
        document.astype(np.int64),
        starts.flatten().to_numpy(),
        ends.flatten().to_numpy(),
        roles.flatten().to_pylist(),
    )
    return replace(documents, spans=spans)
