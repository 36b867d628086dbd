"""The contract of mechanisms: the columns that they may read, and the one order of documents.

A mechanism turns the documents table into an order, best first. It knows columns and a seed, but
neither how a utility came about nor how much will be taken: that is the cut's work.

Ties are broken by the seeded hash of uid (the larger first), and rows of equal uid, which hold the
same text, by `position`. So the order does not depend on the order of the table's rows. The same
hash, made a uniform number, is the noise of `gumbel_top_k` and the whole of `random`: where all
utilities are equal, top-k, Gumbel top-k and random give one and the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.uid import hash_uid, uniform
from dataworth.errors import ConfigError, DataworthError

Rows = NDArray[np.int64]
Order = Iterator[Rows]

BLOCK = 1 << 17
"""Rows in a block of an order, but for the last; a run of equal keys makes a longer one."""
CHOICE = 0x63686F696365
"""The stream of `hash_uid` for choosing; other uses of a seed have other streams."""

_Value = TypeVar("_Value", bound=np.generic)


Find = Callable[[str, float], float]
"""A utility column and the share of the budget chosen by it → its best temperature."""


class Table(Protocol):
    """The columns of the documents table, of `n` rows in any order, that a mechanism may read."""

    def __len__(self) -> int: ...

    @property
    def uid(self) -> NDArray[np.uint64]:
        """Identity of each document's text, uint64 [n]."""
        ...

    @property
    def position(self) -> NDArray[np.int64]:
        """Rank of each row by (file, offset), int64 [n]; read only where uids are equal."""
        ...

    @property
    def eligible(self) -> NDArray[np.bool_]:
        """False where a step dropped the document, bool [n]."""
        ...

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Size of each document in the budget's unit: tokens, bytes, or 1 each; int64 [n]."""
        ...

    @property
    def utilities(self) -> tuple[str, ...]:
        """The columns to choose by: `utility:<step>:<target>`, one a target."""
        ...

    @property
    def embeddings(self) -> tuple[str, ...]:
        """The columns of vectors: `embedding:<step>`."""
        ...

    @property
    def matrices(self) -> tuple[str, ...]:
        """The columns of utilities for each query: `matrix:<step>:<target>`."""
        ...

    def column(self, name: str) -> NDArray[Any]:
        """A numeric column [n]; utilities are float64, NaN where the document was dropped."""
        ...

    def vectors(self, name: str, rows: Rows) -> NDArray[np.float32]:
        """Some rows of a column of vectors, [len(rows), d]; NaN where a document has none."""
        ...


class Mechanism(Protocol):
    """A rule that orders documents; implementations are frozen dataclasses of its settings."""

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers, best first, in blocks; each eligible row at most once.

        Raises ConfigError where the table has not the columns that the mechanism needs, and
        DataworthError for utilities that are not numbers.
        """
        ...


@runtime_checkable
class Settles(Protocol):
    """A mechanism with a setting that is found from the data before ordering."""

    def settle(self, utilities: Sequence[str], find: Find) -> Mechanism:
        """Return it with all settings found, for choosing by some utility columns."""
        ...


@runtime_checkable
class Draws(Protocol):
    """A mechanism that adds noise to utilities."""

    def temperature_of(self, column: str) -> float | None:
        """Return the temperature for a utility column; None if it has no noise."""
        ...


@runtime_checkable
class TakesTurns(Protocol):
    """A mechanism that chooses for several targets, each with its share."""

    @property
    def proportions(self) -> Mapping[str, float] | None:
        """Shares by target; None for equal ones."""
        ...

    def shares(self, targets: Mapping[str, str]) -> dict[str, float]:
        """Return the share of each target, of their utility columns by name; they add up to 1."""
        ...

    def parts(self, table: Table, seed: int, chosen: NDArray[np.bool_]) -> dict[str, Rows]:
        """Return the rows of `chosen` that each target took, by the target's name."""
        ...


def needs_utility(mechanism: Mechanism) -> bool:
    """Return whether a mechanism orders by a utility: all do but those that say otherwise."""
    return bool(getattr(mechanism, "needs_utility", True))


def cuts_utility(mechanism: Mechanism) -> bool:
    """Return whether all that is chosen has a larger utility than what is not, as it declares."""
    return bool(getattr(mechanism, "cuts_utility", False))


class View:
    """A table seen with other utilities; everything else is the table's own."""

    def __init__(self, table: Table, utilities: tuple[str, ...]) -> None:
        self._table = table
        self._utilities = utilities

    def __len__(self) -> int:
        return len(self._table)

    @property
    def uid(self) -> NDArray[np.uint64]:
        """The table's."""
        return self._table.uid

    @property
    def position(self) -> NDArray[np.int64]:
        """The table's."""
        return self._table.position

    @property
    def eligible(self) -> NDArray[np.bool_]:
        """The table's."""
        return self._table.eligible

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The table's."""
        return self._table.lengths

    @property
    def utilities(self) -> tuple[str, ...]:
        """The columns that this view chooses by."""
        return self._utilities

    @property
    def embeddings(self) -> tuple[str, ...]:
        """The table's."""
        return self._table.embeddings

    @property
    def matrices(self) -> tuple[str, ...]:
        """The table's."""
        return self._table.matrices

    def column(self, name: str) -> NDArray[Any]:
        """The table's."""
        return self._table.column(name)

    def vectors(self, name: str, rows: Rows) -> NDArray[np.float32]:
        """The table's."""
        return self._table.vectors(name, rows)


def split_name(column: str) -> tuple[str, str]:
    """(step, target) of a column `utility:<step>:<target>`; the step's name may hold colons."""
    step, _, target = column.partition(":")[2].rpartition(":")
    return step, target


def eligible_rows(table: Table) -> Rows | None:
    """Return the rows that may be chosen, or None for all of them, which spares an index."""
    eligible = table.eligible
    return None if eligible.all() else np.flatnonzero(eligible)


def pick(column: NDArray[_Value], rows: Rows | None) -> NDArray[_Value]:
    """Return the column at `rows`; no copy where that is all of it."""
    return column if rows is None else column[rows]


def only_utility(table: Table, mechanism: str, rows: Rows | None) -> NDArray[np.float64]:
    """The one utility of the eligible rows, float64 [m]; the table's own array, not to be written.

    Raises ConfigError unless the table has one utility, DataworthError for NaN among the rows.
    """
    if len(table.utilities) != 1:
        names = ", ".join(table.utilities) or "none"
        raise ConfigError(
            f"{mechanism} orders by one utility, but there are {len(table.utilities)} ({names}): "
            "name one, add them up, or use per_target"
        )
    name = table.utilities[0]
    values = pick(np.asarray(table.column(name), np.float64), rows)
    missing = int(np.count_nonzero(np.isnan(values)))
    if missing:
        raise DataworthError(
            f"{missing} of {len(values)} eligible documents have no number in {name}: "
            "drop them with a reason, or give them a utility"
        )
    return values


def hashes(table: Table, seed: int, rows: Rows | None, stream: int = CHOICE) -> NDArray[np.uint64]:
    """Return the seeded hash of each row's uid, uint64 [m]."""
    return _by_pieces(lambda uid: hash_uid(seed, uid, stream), table, rows, np.uint64)


def uniforms(
    table: Table, seed: int, rows: Rows | None, stream: int = CHOICE
) -> NDArray[np.float64]:
    """Return a uniform number in (0, 1) for each row, float64 [m], growing with `hashes`."""
    return _by_pieces(lambda uid: uniform(seed, uid, stream), table, rows, np.float64)


def _by_pieces(
    draw: Callable[[NDArray[np.uint64]], NDArray[_Value]],
    table: Table,
    rows: Rows | None,
    dtype: type[_Value],
) -> NDArray[_Value]:
    # The hash's passing arrays are several times its result; pieces keep them small.
    uid = table.uid
    drawn = np.empty(len(uid) if rows is None else len(rows), dtype)
    for start in range(0, len(drawn), BLOCK):
        piece = slice(start, start + BLOCK)
        drawn[piece] = draw(uid[piece if rows is None else rows[piece]])
    return drawn


def by_cost(
    table: Table, seed: int, cost: NDArray[np.float64] | NDArray[np.uint64], rows: Rows | None
) -> Order:
    """Rows by growing cost; ties by falling hash of uid, then by position.

    `cost` [m] belongs to `rows` [m], or to all rows of the table if that is None; it holds no NaN.
    Yields blocks of about `BLOCK` rows. Beside its arguments this keeps 9 bytes a row, and while a
    run of equal costs is resolved, up to 32 bytes for each row of the run.
    """
    order = np.argsort(cost)
    equal = _equal_to_next(cost, order)
    del cost  # the caller gives it up too, so that 8 bytes a row are free while the order is read
    start = 0
    while start < len(order):
        stop = min(start + BLOCK, len(order))
        # A block ends where the cost changes: `argmin` finds the first False.
        if stop < len(order):
            stop += int(np.argmin(equal[stop - 1 :]))
        block = order[start:stop] if rows is None else rows[order[start:stop]]
        yield _untie(table, seed, block, equal[start : stop - 1])
        start = stop


def _equal_to_next(cost: NDArray[Any], order: Rows) -> NDArray[np.bool_]:
    """Tell if row i of the order costs the same as row i + 1, bool [m]; the last one False."""
    equal = np.zeros(len(order), np.bool_)
    for start in range(0, len(order) - 1, BLOCK):
        values = cost[order[start : start + BLOCK + 1]]
        equal[start : start + len(values) - 1] = values[:-1] == values[1:]
    return equal


def _untie(table: Table, seed: int, block: Rows, equal: NDArray[np.bool_]) -> Rows:
    """Return the block with each run of equal costs put in its order; `equal` [len(block) - 1]."""
    if not equal.any():
        return block
    if equal.all():  # one run: no need to keep runs apart
        return _untie_run(table, seed, block)
    tied = np.append(equal, False)
    tied[1:] |= equal
    run = np.concatenate([[0], np.cumsum(~equal)])[tied]
    rows = block[tied]
    falling = ~hash_uid(seed, table.uid[rows], CHOICE)
    order = np.lexsort((falling, run))
    falling, run = falling[order], run[order]
    same = (falling[1:] == falling[:-1]) & (run[1:] == run[:-1])
    block = block.copy()
    block[tied] = _by_position(table, rows[order], same)
    return block


def _untie_run(table: Table, seed: int, rows: Rows) -> Rows:
    falling = hashes(table, seed, rows)
    np.invert(falling, out=falling)
    order = np.argsort(falling)
    rows, falling = rows[order], falling[order]
    return _by_position(table, rows, falling[1:] == falling[:-1])


def _by_position(table: Table, rows: Rows, same: NDArray[np.bool_]) -> Rows:
    """Sort the rows of equal uid by position; `same` [m - 1] marks pairs of neighbours."""
    if not same.any():
        return rows
    tied = np.append(same, False)
    tied[1:] |= same
    run = np.concatenate([[0], np.cumsum(~same)])[tied]
    copies = rows[tied]
    rows[tied] = copies[np.lexsort((table.position[copies], run))]
    return rows
