"""The base of mechanisms that compare documents by their vectors, a batch of documents at a time.

Rows come by the seeded hash of uid and are dealt to as few batches as hold them all; each batch is
put in order by itself, from the inner products of its vectors, and the batches take turns: first
the best of each, then the second of each. One batch is the exact algorithm. Several are that of
random partitions (Mirzasoleiman, Karbasi, Sarkar and Krause 2013, "Distributed submodular
maximization", whose second round is left out): what is guaranteed of a batch holds for it alone.

Memory: some 8 · batch² bytes, the vectors of the batches that are read together (256 MiB), and 16
bytes a row. Time grows with the product of documents, batch and dimension.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import ConfigError, DataworthError
from dataworth.mechanism.base import (
    BLOCK,
    Order,
    Rows,
    Table,
    eligible_rows,
    needs_utility,
    only_utility,
)
from dataworth.mechanism.random import by_hash
from dataworth.options import option

_GRID = 1 << 16
_READ_BYTES = 1 << 28


@dataclass(frozen=True)
class OverVectors(ABC):
    """A mechanism that orders the documents of a batch by the inner products of their vectors."""

    name: ClassVar[str]
    embedding: str = option(
        "", help="The column of vectors, `embedding:<step>`; empty: the only one there is."
    )
    batch: int = option(
        4096,
        help="Documents that are compared with each other; more are dealt to several batches, at "
        "random, which take turns. Memory is 4 to 8 bytes for each pair.",
        minimum=1,
        maximum=16_384,
    )

    @abstractmethod
    def walk(
        self, cosine: NDArray[np.float32], utility: NDArray[np.float64] | None, seed: int
    ) -> NDArray[np.int64]:
        """Return the order of a batch.

        Parameters
        ----------
        cosine
            Cosines of all pairs, float32 [m, m], `on_grid`; a vector of zeros has 0 with all,
            itself too.
        utility
            Of the documents, [m], if the mechanism needs one.
        seed
            Of the choice.

        Returns
        -------
        NDArray
            Each of 0 … m - 1 at most once. Ties go to the least, since rows come by hash.
        """

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers, best first, in blocks.

        Raises ConfigError without a column of vectors, or with several and none named, and
        DataworthError for eligible documents without a vector of numbers.
        """
        column = vector_column(table, self.embedding, self.name)
        eligible = eligible_rows(table)
        utility = None
        if needs_utility(self):
            utility = np.full(len(table), np.nan)
            utility[slice(None) if eligible is None else eligible] = only_utility(
                table, self.name, eligible
            )
        blocks = list(by_hash(table, seed, eligible))
        rows = np.concatenate(blocks) if blocks else np.empty(0, np.int64)
        batches = max(1, math.ceil(len(rows) / self.batch))
        turns = np.full((math.ceil(len(rows) / batches), batches), -1, np.int64)
        for number, own, vectors in _batches(table, column, rows, batches, self.name):
            worth = None if utility is None else utility[own]
            walked = own[self.walk(on_grid(vectors @ vectors.T), worth, seed)]
            turns[: len(walked), number] = walked
        flat = turns.reshape(-1)
        flat = flat[flat >= 0]
        return (flat[start : start + BLOCK] for start in range(0, len(flat), BLOCK))


def on_grid(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return values of at most 1 as multiples of 2^-16, whose sums in float64 are exact.

    Two documents that are each other's nearest have equal gains, up to rounding: without a grid the
    order in which sums run would decide between them.
    """
    out = np.asarray(values * np.float32(_GRID), np.float32)
    np.rint(out, out=out)
    out /= np.float32(_GRID)
    return out


def vector_column(table: Table, name: str, mechanism: str) -> str:
    """Return the column of vectors to read. ConfigError where there is none, or none is clear."""
    there = ", ".join(table.embeddings)
    if not there:
        raise ConfigError(
            f"{mechanism} compares documents by their vectors, and no step made any: add a step "
            "that does (dataworth methods embed)"
        )
    if name and name not in table.embeddings:
        raise ConfigError(f"{mechanism}: there are no vectors {name!r}, only {there}")
    if not name and len(table.embeddings) > 1:
        raise ConfigError(f"{mechanism}: there are several vectors ({there}): name one, embedding=")
    return name or table.embeddings[0]


def read_vectors(table: Table, column: str, rows: Rows, mechanism: str) -> NDArray[np.float32]:
    """Return the vectors of some rows with length 1, float32 [m, d]; zeros stay.

    Raises DataworthError for rows that have none, or numbers that are not finite.
    """
    vectors = table.vectors(column, rows)
    wrong = len(rows) - int(np.count_nonzero(np.isfinite(vectors).all(1)))
    if wrong:
        raise DataworthError(
            f"{mechanism}: {wrong} of {len(rows)} documents have no finite vector in {column}: "
            "drop them in a step, or embed them with another model"
        )
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), np.float32)


def _batches(
    table: Table, column: str, rows: Rows, batches: int, mechanism: str
) -> Iterator[tuple[int, Rows, NDArray[np.float32]]]:
    """Yield the number, the rows and the vectors of each batch, reading many at once."""
    width = max(1, table.vectors(column, rows[:1]).nbytes) if len(rows) else 1
    together = max(1, _READ_BYTES // (width * math.ceil(len(rows) / batches or 1) or 1))
    for first in range(0, batches if len(rows) else 0, together):
        numbers = range(first, min(first + together, batches))
        own = [rows[number::batches] for number in numbers]
        vectors = read_vectors(table, column, np.concatenate(own), mechanism)
        start = 0
        for number, some in zip(numbers, own, strict=True):
            yield number, some, vectors[start : start + len(some)]
            start += len(some)
