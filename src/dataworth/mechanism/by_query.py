"""Choice by the utilities for each single example of a target, not by their mean.

A step that keeps them (`per_query`) writes a column `matrix:<step>:<target>`, a row of numbers for
each document. The rules, as published:

- `round_robin` (RDS+, Ivison et al. 2025, arXiv 2503.01807): the queries take turns; each takes the
  next document of its own order, and a document that is taken already uses up the turn. The result
  is the same if a query's utilities are rescaled.
- `max` (LESS, Xia et al. 2024; `global_max` in the code of RDS+), `mean`, `min`: one number for
  each document.
- `vote` (ICONS, arXiv 2501.00654; the card of it names no share, ours is 0.8): the number of
  queries for which a document lies above the quantile `share` of their utilities.

Matrices are read a block of rows at a time, 8 MiB. Memory beside it: some 40 bytes a row, and 128
MiB for what the queries' turns, or the quantiles of some queries at a time, need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import ConfigError, DataworthError
from dataworth.mechanism.base import (
    Order,
    Rows,
    Table,
    by_cost,
    eligible_rows,
    hashes,
    split_name,
)
from dataworth.options import option
from dataworth.registry import register

_BLOCK_BYTES = 1 << 23
_HELD_BYTES = 1 << 25
_VOTE_BYTES = 1 << 27


@register
@dataclass(frozen=True)
class ByQuery:
    """Order documents by their utilities for single examples of the targets."""

    name: ClassVar[str] = "by_query"
    needs_utility: ClassVar[bool] = False
    rule: Literal["round_robin", "max", "mean", "min", "vote"] = option(
        "round_robin", help="How the utilities for many queries become one order."
    )
    share: float = option(
        0.8, help="Of `vote`: the quantile above which a document has a vote.", minimum=0, maximum=1
    )
    step: str = option("", help="The step whose matrices are read; empty: the only one with any.")

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers, best first, in blocks.

        Raises ConfigError without a matrix, DataworthError for eligible documents without one.
        """
        matrix = _Matrix(table, self._columns(table), self.name)
        if self.rule == "round_robin":
            return _round_robin(matrix, seed)
        if self.rule == "vote":
            scores = _votes(matrix, self.share)
        else:
            reduce: Any = {"max": np.max, "mean": np.mean, "min": np.min}[self.rule]
            parts = [reduce(block.astype(np.float64), axis=1) for _, block in matrix.blocks()]
            scores = np.concatenate([np.empty(0), *parts])
        return by_cost(table, seed, np.negative(scores), matrix.eligible)

    def _columns(self, table: Table) -> list[str]:
        by_step: dict[str, list[str]] = {}
        for column in table.matrices:
            by_step.setdefault(split_name(column)[0], []).append(column)
        if not by_step:
            raise ConfigError(
                f"{self.name} chooses by utilities for each query, and no step kept any: add "
                "per_query=true to a step that can (dataworth methods)"
            )
        names = ", ".join(sorted(by_step))
        if self.step and self.step not in by_step:
            raise ConfigError(f"{self.name}: {self.step!r} kept no matrix, only {names}")
        if not self.step and len(by_step) > 1:
            raise ConfigError(
                f"{self.name}: several steps kept matrices ({names}): name one, step="
            )
        return sorted(by_step[self.step or names])


class _Matrix:
    """The eligible rows of some columns of vectors, side by side, read by blocks."""

    def __init__(self, table: Table, columns: list[str], mechanism: str) -> None:
        self.table = table
        self.columns = columns
        self.mechanism = mechanism
        self.eligible = eligible_rows(table)
        self.rows: Rows = np.arange(len(table)) if self.eligible is None else self.eligible
        one = self.rows[:1]
        self.queries = sum(table.vectors(column, one).shape[1] for column in columns)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield blocks of values, float32 [b, queries], each with the number of its first row."""
        step = max(1, _BLOCK_BYTES // (4 * max(self.queries, 1)))
        for start in range(0, len(self.rows), step):
            rows = self.rows[start : start + step]
            values = np.hstack([self.table.vectors(column, rows) for column in self.columns])
            wrong = int((~np.isfinite(values).all(1)).sum())
            if wrong:
                raise DataworthError(
                    f"{self.mechanism}: {wrong} documents have no finite number for some query in "
                    f"{', '.join(self.columns)}"
                )
            yield start, values


def _votes(matrix: _Matrix, share: float) -> NDArray[np.float64]:
    """Return the number of queries for which each row lies above the quantile `share`."""
    n = len(matrix.rows)
    votes = np.zeros(n)
    width = max(1, _VOTE_BYTES // (4 * max(n, 1)))
    for first in range(0, matrix.queries, width):
        some = np.empty((min(width, matrix.queries - first), n), np.float32)
        for start, block in matrix.blocks():
            some[:, start : start + len(block)] = block[:, first : first + len(some)].T
        for values in some:
            votes += values > np.quantile(values, share) if n else 0
    return votes


def _round_robin(matrix: _Matrix, seed: int) -> Order:
    """Yield rows as the queries take them: their best ones, then their second best, …

    A pass over the matrix finds the next `held` documents of each query, by one number for each
    that orders by utility, then by the hash that breaks ties, and tells the row.
    """
    n = len(matrix.rows)
    drawn = hashes(matrix.table, seed, matrix.eligible)
    position = np.asarray(matrix.table.position)[matrix.rows]
    by_tie = np.lexsort((-position, drawn))  # the last goes first
    rank = np.empty(n, np.uint64)
    rank[by_tie] = np.arange(n, dtype=np.uint64)
    held = min(n, max(256, _HELD_BYTES // (16 * max(matrix.queries, 1))))
    taken = np.zeros(n, np.bool_)
    bound: NDArray[np.uint64] | None = None
    for _ in range(0, n, held or 1):
        best = _next(matrix, rank, held, bound)
        bound = best[:, -1].copy()
        turns = by_tie[(best & np.uint64(0xFFFFFFFF)).astype(np.int64).T.reshape(-1)]
        turns = turns[~taken[turns]]
        _, first = np.unique(turns, return_index=True)
        new = turns[np.sort(first)]
        taken[new] = True
        yield matrix.rows[new]
        if taken.all():
            return


def _next(
    matrix: _Matrix, rank: NDArray[np.uint64], held: int, bound: NDArray[np.uint64] | None
) -> NDArray[np.uint64]:
    """Return the `held` greatest keys of each query below its bound, falling, [queries, held]."""
    best = np.zeros((matrix.queries, 0), np.uint64)
    kept: list[NDArray[np.uint64]] = list(best)
    for start, block in matrix.blocks():
        keys = _ordered(block) << np.uint64(32) | rank[start : start + len(block), None]
        for query, old in enumerate(kept):
            new = keys[:, query]
            if bound is not None:
                new = new[new < bound[query]]
            if len(old) == held:
                new = new[new > old.min()]
            both = np.concatenate([old, new])
            kept[query] = np.partition(both, -held)[-held:] if len(both) > held else both
    return np.stack([np.sort(keys)[::-1] for keys in kept])


def _ordered(values: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return numbers of 32 bits in the order of the values; 0.0 and -0.0 are equal."""
    bits: Any = (values + np.float32(0)).view(np.uint32)
    negative = bits >> np.uint32(31) == 1
    turned = np.where(negative, ~bits, bits | np.uint32(1 << 31))
    return np.asarray(turned, np.uint64)
