"""Rows that share a key put together, in memory: groups, pairs of them, and pieces of large ones.

Oversize groups. A bucket that has more records than fit is handed over in pieces, by hash of the
uid, and each piece is headed by the best row of each of its keys: so all its rows may still be
connected through that row, but rows of different pieces are not compared. Copies of one text always
meet, through the first of them. What is decided about a row counts in its own piece, not where it
heads another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.kernels.simd import kernel
from dataworth.corpus.uid import hash_uid
from dataworth.engine.files import read_array
from dataworth.engine.shuffle import Bucket, Carried, Records, Shuffle, joined, unmixed

_SMALL = 32  # rows of a group that are put in order by insertion
_PIECE = 0x7069656365  # of `hash_uid`


@dataclass(frozen=True)
class Groups:
    """Many groups of rows that share a key.

    `key` uint64 [g]; `starts` int64 [g + 1]: rows of group i are `row[starts[i]:starts[i + 1]]`.
    `row` [m], numbers in the whole pool; `uid` uint64 [m]; `rank` float64 [m]. Rows of a group come
    by (rank, uid), the best one first. `carried`: what travels, [m].
    """

    key: NDArray[np.uint64]
    starts: NDArray[np.int64]
    row: NDArray[Any]
    uid: NDArray[np.uint64]
    rank: NDArray[np.float64]
    carried: Carried = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.key)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each group, int64 [g]."""
        return np.diff(self.starts)

    def take(self, wanted: NDArray[np.bool_]) -> Groups:
        """Return some groups, by a mask [g]."""
        rows = np.flatnonzero(np.repeat(wanted, self.sizes))
        carried = {name: values.take(pa.array(rows)) for name, values in self.carried.items()}
        starts = np.concatenate([[0], np.cumsum(self.sizes[wanted])]).astype(np.int64)
        row, uid, rank = self.row[rows], self.uid[rows], self.rank[rows]
        return Groups(self.key[wanted], starts, row, uid, rank, carried)


@dataclass(frozen=True)
class Pairs:
    """Rows that belong together: `first` and `second` [p], numbers in the whole pool."""

    first: NDArray[Any]
    second: NDArray[Any]


@kernel
def _count_connect(starts, most):  # type: ignore[no-untyped-def]
    count = 0
    for group in range(len(starts) - 1):
        size = starts[group + 1] - starts[group]
        if size <= most:
            count += size * (size - 1) // 2
        else:
            count += 2 * size - 3
    return count


@kernel
def _fill_connect(starts, row, most, first, second):  # type: ignore[no-untyped-def]
    count = 0
    for group in range(len(starts) - 1):
        low, high = starts[group], starts[group + 1]
        if high - low <= most:
            for i in range(low + 1, high):
                for j in range(low, i):
                    first[count] = row[j]
                    second[count] = row[i]
                    count += 1
        else:
            for i in range(low + 1, high):
                first[count] = row[low]
                second[count] = row[i]
                count += 1
                if i > low + 1:
                    first[count] = row[i - 1]
                    second[count] = row[i]
                    count += 1


def connect(groups: Groups, most: int = 8) -> Pairs:
    """Return pairs that connect each group's rows.

    All pairs of a group of up to `most` rows; of a larger one, each row with the best one and with
    the one before it. Where pairs are checked afterwards, few rows then hang on a single check.
    """
    count = _count_connect(groups.starts, most)
    first, second = np.empty(count, groups.row.dtype), np.empty(count, groups.row.dtype)
    _fill_connect(groups.starts, groups.row, most, first, second)
    return Pairs(first, second)


@kernel
def _order_small(starts, rank, uid, row, order, small):  # type: ignore[no-untyped-def]
    for group in range(len(starts) - 1):
        low, high = starts[group], starts[group + 1]
        if high - low > small:
            continue
        for i in range(low + 1, high):
            at = order[i]
            j = i
            while j > low:
                b = order[j - 1]
                if rank[at] != rank[b]:
                    before = rank[at] < rank[b]
                elif uid[at] != uid[b]:
                    before = uid[at] < uid[b]
                else:
                    before = row[at] < row[b]
                if not before:
                    break
                order[j] = b
                j -= 1
            order[j] = at


@dataclass(frozen=True)
class Rows:
    """The `uid` uint64 and `rank` float64 of all rows, [rows], mapped from files."""

    folder: Path

    @property
    def uid(self) -> NDArray[np.uint64]:
        """The uids; 0 where a row was left out."""
        return np.asarray(read_array(self.folder / "uid.npy", mapped=True))

    @property
    def rank(self) -> NDArray[np.float64]:
        """The ranks, less is better."""
        return np.asarray(read_array(self.folder / "rank.npy", mapped=True))


def grouped(
    records: Records,
    own: NDArray[np.bool_] | None,
    uid: NDArray[np.uint64],
    rank: NDArray[np.float64],
    singles: bool,
) -> tuple[Groups, NDArray[np.bool_] | None]:
    """Return the groups of some records, and which of their rows are in their own piece."""
    order = np.argsort(records.key, kind="stable")
    key, row = records.key[order], records.row[order]
    same = key[1:] == key[:-1]
    again = same & (row[1:] == row[:-1])  # a row twice under one key is there once
    if again.any():
        keep = np.concatenate([[True], ~again])
        order, key, row = order[keep], key[keep], row[keep]
        same = key[1:] == key[:-1]
    if not singles:
        meets = np.zeros(len(key), np.bool_)
        meets[1:] |= same
        meets[:-1] |= same
        order, key, row = order[meets], key[meets], row[meets]
    begins = np.ones(len(key), np.bool_)
    begins[1:] = key[1:] != key[:-1]
    starts = np.append(np.flatnonzero(begins), len(key))
    uids, ranks = uid[row], rank[row]
    inside = np.arange(len(row))
    _order_small(starts, ranks, uids, row, inside, _SMALL)
    for group in np.flatnonzero(np.diff(starts) > _SMALL).tolist():
        some = slice(starts[group], starts[group + 1])
        inside[some] = starts[group] + np.lexsort((row[some], uids[some], ranks[some]))
    order = order[inside]
    groups = Groups(
        unmixed(key[starts[:-1]]),
        starts,
        row[inside],
        uids[inside],
        ranks[inside],
        {name: values.take(pa.array(order)) for name, values in records.carried.items()},
    )
    return groups, None if own is None else own[order]


def _best(records: Records, uid: Any, rank: Any, *, of_uid: bool) -> Records:
    """Return the best record of each key, or of each key and uid."""
    uids, ranks = uid[records.row], rank[records.row]
    order = np.lexsort((records.row, *((ranks, uids) if of_uid else (uids, ranks)), records.key))
    key, uids = records.key[order], uids[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = key[1:] != key[:-1]
    if of_uid:
        new[1:] |= uids[1:] != uids[:-1]
    return records.take(order[new])


def pieces(
    shuffle: Shuffle, bucket: Bucket, most: int, rows: Rows
) -> Iterator[tuple[Records, NDArray[np.bool_]]]:
    """Yield an oversize bucket in pieces, each with rows of others at its head."""
    uid, rank = rows.uid, rows.rank
    best: Records | None = None
    for part in shuffle.read(bucket, most):
        found = _best(part, uid, rank, of_uid=False)
        best = found if best is None else _best(joined([best, found]), uid, rank, of_uid=False)
    count = -(-2 * bucket.records // most)
    step = max(most // 4, 1)
    for piece in range(count):
        seen = best.take(np.zeros(0, np.int64)) if best is not None else None
        held: list[Records] = []
        for part in shuffle.read(bucket, step):
            mine = hash_uid(0, uid[part.row], _PIECE) % np.uint64(count) == np.uint64(piece)
            held.append(part.take(mine))
            if sum(len(one.row) for one in held) > most and best is not None and seen is not None:
                yield _headed(joined(held), best, seen, uid)
                seen = _best(joined([seen, *held]), uid, rank, of_uid=True)
                held = []
        if held and best is not None and seen is not None:
            yield _headed(joined(held), best, seen, uid)


def _headed(
    part: Records, best: Records, seen: Records, uid: NDArray[np.uint64]
) -> tuple[Records, NDArray[np.bool_]]:
    """Put before a piece the best row of its keys, and the first of texts that came before."""
    texts = _tags(part.key, uid[part.row])
    first = seen.take(np.isin(_tags(seen.key, uid[seen.row]), texts))
    heads = joined([best.take(np.isin(best.key, part.key)), first])
    tags = _tags(heads.key, heads.row)
    _, once = np.unique(tags, return_index=True)
    heads = heads.take(once[~np.isin(tags[once], _tags(part.key, part.row))])
    own = np.arange(len(heads.row) + len(part.row)) >= len(heads.row)
    return joined([heads, part]), own


def _tags(key: NDArray[np.uint64], value: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a number for each pair of key and value."""
    return hash_uid(0, key ^ hash_uid(0, value.astype(np.uint64), _PIECE))
