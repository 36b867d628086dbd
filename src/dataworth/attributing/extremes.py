"""From the column of scores to the documents at either end, for each query, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.results.attribution import Query
from dataworth.table.table import Table

_TIES = 0x74696573
_BINS = 2048


@dataclass
class Ends:
    """Rows of the table, best first, of different texts: `helpful`, `harmful` [top or fewer]."""

    helpful: NDArray[np.int64]
    harmful: NDArray[np.int64]


@dataclass
class Found:
    """All queries' ends and statistics; `count` copies of each uid among the shown rows."""

    ends: list[Ends]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    share_positive: NDArray[np.float64]
    half: NDArray[np.float64]
    documents: int = 0
    tokens: int = 0
    copies: Counter[int] = field(default_factory=Counter)


def find(table: Table, columns: tuple[str, str], top: int, *, by_token: bool) -> Found:
    """Find the `top` different texts at either end for each query, and facts of all scores.

    `columns`: of the scores, and of the tokens of each document. `by_token`: rank by the score
    for each token. Ties go by the hash of uid. Documents without a token count for nothing.
    """
    scored, counts = columns
    uid, counted = (table.column(name) for name in ("uid", counts))
    queries = table.width(scored)
    best: list[list[NDArray[np.int64]]] = [[] for _ in range(2 * queries)]
    values: list[list[NDArray[np.float64]]] = [[] for _ in range(2 * queries)]
    sums, squares, positive = np.zeros(queries), np.zeros(queries), np.zeros(queries)
    documents = tokens = 0
    for first, block in table.blocks(scored):
        size = counted[first : first + len(block)]
        rows = first + np.flatnonzero(size)
        scores = _each(block, size, by_token)[size > 0]
        documents += len(rows)
        tokens += int(size.sum())
        sums += scores.sum(0)
        squares += (scores**2).sum(0)
        positive += (scores > 0).sum(0)
        for query in range(queries):
            for end, sign in ((0, 1.0), (1, -1.0)):
                place = 2 * query + end
                kept = _leading(
                    np.concatenate([*best[place], rows]),
                    np.concatenate([*values[place], sign * scores[:, query]]),
                    uid,
                    top,
                )
                best[place], values[place] = [kept[0]], [kept[1]]
    count = max(documents, 1)
    mean = sums / count
    ends = []
    for query in range(queries):
        sides = []
        for end in (0, 1):
            rows, worth = best[2 * query + end][0], values[2 * query + end][0]
            sides.append(rows[worth > 0])  # the other end of what all helps is no harm
        ends.append(Ends(*sides))
    return Found(
        ends,
        mean,
        np.sqrt(np.maximum(squares / count - mean**2, 0)),
        positive / count,
        _halves(table, scored, counted, by_token, queries),
        documents,
        tokens,
        _copies(uid, ends),
    )


def _leading(
    rows: NDArray[np.int64], worth: NDArray[np.float64], uid: NDArray[np.uint64], top: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first `top` different texts by falling worth."""
    order = np.lexsort((rows, hash_uid(0, uid[rows], _TIES), -worth))
    rows, worth = rows[order], worth[order]
    _, first = np.unique(uid[rows], return_index=True)
    kept = np.sort(first)[:top]
    return rows[kept], worth[kept]


def _copies(uid: NDArray[np.uint64], ends: list[Ends]) -> Counter[int]:
    shown = np.unique(np.concatenate([uid[np.concatenate([e.helpful, e.harmful])] for e in ends]))
    place = np.searchsorted(shown, uid)
    hit = uid[shown[np.minimum(place, len(shown) - 1)] == uid] if len(shown) else uid[:0]
    return Counter(hit.tolist())


def _halves(
    table: Table, scored: str, counted: NDArray[np.int64], by_token: bool, queries: int
) -> NDArray[np.float64]:
    """Return the share of documents, most helpful first, that hold half of all that helps."""

    def helping() -> Iterator[NDArray[np.float64]]:
        for first, block in table.blocks(scored):
            size = counted[first : first + len(block)]
            yield np.where(size[:, None] > 0, np.maximum(_each(block, size, by_token), 0), 0)

    largest = np.zeros(queries)
    for worth in helping():
        largest = np.maximum(largest, worth.max(0, initial=0))
    number, weight = np.zeros((queries, _BINS)), np.zeros((queries, _BINS))
    for worth in helping():
        for query in np.flatnonzero(largest):
            some = worth[worth[:, query] > 0, query]
            # By the root, so that small scores have bins of their own too.
            bins = np.minimum((np.sqrt(some / largest[query]) * _BINS).astype(int), _BINS - 1)
            number[query] += np.bincount(bins, minlength=_BINS)
            weight[query] += np.bincount(bins, some, _BINS)
    out = np.zeros(queries)
    for query in np.flatnonzero(largest):
        grown = np.cumsum(weight[query][::-1])
        enough = int(np.searchsorted(grown, grown[-1] / 2))
        shown = number[query][::-1][: enough + 1].sum()
        out[query] = shown / max(int(np.count_nonzero(counted)), 1)
    return out


def _each(
    scores: NDArray[np.float32], tokens: NDArray[np.int64], by_token: bool
) -> NDArray[np.float64]:
    """Return scores [n, q] of whole documents, or per token."""
    whole = scores.astype(np.float64)
    return whole / np.maximum(tokens, 1)[:, None] if by_token else whole


def fetch(corpus: Corpus, table: Table, rows: NDArray[np.int64]) -> Documents:
    """Read some rows' documents in the order given, from the units that hold them."""
    wanted = np.unique(rows)
    parts: list[Documents] = []
    for unit in corpus.units:
        low, high = table.firsts[unit.index], table.firsts[unit.index + 1]
        inside = wanted[(wanted >= low) & (wanted < high)]
        first = int(low)
        for block in corpus.blocks(unit) if len(inside) else ():
            here = inside[(inside >= first) & (inside < first + len(block.documents))]
            if len(here):
                parts.append(block.documents.take(here - first).compact())
            first += len(block.documents)
            if first > inside[-1]:
                break
    return Documents.concatenate(parts).take(np.searchsorted(wanted, rows))


def common(queries: list[Query], least: int = 2) -> list[tuple[str, int]]:
    """Return documents at the helpful end of several queries: (uid, queries), most first."""
    seen = Counter(doc["uid"] for query in queries for doc in query["helpful"])
    return [(uid, count) for uid, count in seen.most_common(10) if count >= least]
