"""From the scores to what is told: for each query the documents at either end, token by token."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.attributing import extremes
from dataworth.attributing.scores import QueryScores
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.positions import by_position
from dataworth.results.attribution import Attribution as Facts
from dataworth.results.attribution import Document, Query
from dataworth.table.table import Table

_SHOWN = 6000  # characters of a document, and of a query
_TOGETHER = 512  # documents whose texts are in memory at a time


def tell(
    facts: Facts,
    reader: Reader,
    train: Corpus,
    queries: Documents,
    table: Table,
    vectors: Any,
    *,
    top: int,
    by_token: bool,
    cosine: bool,
) -> None:
    """Fill in what was found. `vectors` [q, P]: the queries' side of the scores."""
    columns = QueryScores.scores, QueryScores.counts
    found = extremes.find(table, columns, top, by_token=by_token)
    nats, tokens = reader.losses(queries)
    facts["documents"], facts["tokens"] = found.documents, found.tokens
    shown = _documents(reader, train, table, found, vectors, by_token, cosine)
    for number, ends in enumerate(found.ends):
        sides = [
            [{**shown[row, number], "rank": rank + 1} for rank, row in enumerate(rows.tolist())]
            for rows in (ends.helpful, ends.harmful)
        ]
        query: Query = {
            "number": number + 1,
            "text": queries.text(number)[:_SHOWN],
            "loss": float(nats[number] / max(int(tokens[number]), 1)),
            "tokens": int(tokens[number]),
            "helpful": sides[0],  # type: ignore[typeddict-item]
            "harmful": sides[1],  # type: ignore[typeddict-item]
            "mean": float(found.mean[number]),
            "deviation": float(found.deviation[number]),
            "share_positive": float(found.share_positive[number]),
            "half": float(found.half[number]),
        }
        facts["queries"].append(query)
    facts["common"] = extremes.common(facts["queries"])
    facts["notes"] = _notes(queries, table)
    if reader.edges[1] is None:
        facts["notes"].append(
            "The tokenizer names no token that ends a document: they were read without one, and "
            "their first token is not predicted. Name it in tokenizer_config.json (eos_token)."
        )
    silent = len(table) - found.documents
    if silent and train.fields.template is not None:
        facts["notes"].append(
            f"{silent:,} of {len(table):,} chats have no words of the assistant: no score."
        )


def _documents(
    reader: Reader,
    train: Corpus,
    table: Table,
    found: extremes.Found,
    vectors: Any,
    by_token: bool,
    cosine: bool,
) -> dict[tuple[int, int], Document]:
    """Return the document shown for each row and query; each row is read once."""
    asked: dict[int, list[int]] = defaultdict(list)
    for number, ends in enumerate(found.ends):
        for row in np.unique(np.concatenate([ends.helpful, ends.harmful])).tolist():
            asked[row].append(number)
    rows = np.array(sorted(asked), np.int64)
    out: dict[tuple[int, int], Document] = {}
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        of = [np.array(asked[row], np.int64) for row in some.tolist()]
        documents = extremes.fetch(train, table, some)
        parts = by_position(reader, documents, vectors, of)
        lengths = reader.lengths(documents)[0] if cosine else np.ones(len(some))
        scores = table.vectors(QueryScores.scores, some)
        counts = table.rows(some, [QueryScores.counts])[QueryScores.counts].to_pylist()
        read = reader.read(documents)
        for place, row in enumerate(some.tolist()):
            count = counts[place]
            share = 1 / max(count, 1) if by_token else 1.0
            text, uid = read[place].text, int(documents.uid[place])
            for number, values in zip(asked[row], parts[place], strict=True):
                values = values * share / max(float(lengths[place]), 1e-30)
                document: Document = {
                    "rank": 0,
                    "uid": f"{uid:016x}",
                    "score": float(scores[place, number]) * share,
                    "tokens": count,
                    "file": train.files[int(documents.file[place])].path,
                    "offset": int(documents.offset[place]),
                    "copies": found.copies[uid],
                    "pieces": _pieces(text, read[place].places, values[1:]),
                }
                if read[place].before:
                    document["start"] = _short(float(values[0]))
                if len(text) > _SHOWN:
                    document["cut"] = True
                out[row, number] = document
    return out


def _pieces(
    text: str, offsets: list[tuple[int, int]], values: NDArray[np.float32]
) -> list[tuple[str, float]]:
    """Split the text into tokens with their scores; tokens within one character are one piece."""
    out: list[tuple[str, float]] = []
    at = 0
    for (_, end), value in zip(offsets, values.tolist(), strict=True):
        if at >= _SHOWN:
            break
        if end <= at and out:
            out[-1] = out[-1][0], out[-1][1] + value
            continue
        out.append((text[at:end], value))
        at = max(at, end)
    if at < min(len(text), _SHOWN):
        out.append((text[at:_SHOWN], 0.0))
    return [(piece, _short(value)) for piece, value in out]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _notes(queries: Documents, table: Table) -> list[str]:
    """Return a note if the very text of a query is among the documents."""
    out = []
    same = np.flatnonzero(np.isin(queries.uid, table.column("uid")))
    if len(same):
        which = ", ".join(str(number + 1) for number in same[:5].tolist())
        more = f" and {len(same) - 5} more" if len(same) > 5 else ""
        out.append(
            f"The very text of {'query' if len(same) == 1 else 'queries'} {which}{more} is among "
            "the training documents."
        )
    return out
