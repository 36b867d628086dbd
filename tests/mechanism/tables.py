"""A documents table in memory, as mechanisms read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataworth.mechanism.base import Mechanism, Table


@dataclass
class MemoryTable:
    uid: NDArray[np.uint64]
    columns: dict[str, NDArray[np.float64]]
    lengths: NDArray[np.int64]
    eligible: NDArray[np.bool_]
    position: NDArray[np.int64]
    utilities: tuple[str, ...]
    vector_columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def embeddings(self) -> tuple[str, ...]:
        return tuple(name for name in self.vector_columns if name.startswith("embedding:"))

    @property
    def matrices(self) -> tuple[str, ...]:
        return tuple(name for name in self.vector_columns if name.startswith("matrix:"))

    def vectors(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.vector_columns[name][rows]

    def __len__(self) -> int:
        return len(self.uid)

    def column(self, name: str) -> NDArray[np.float64]:
        return self.columns[name]

    def permuted(self, rows: NDArray[np.int64]) -> MemoryTable:
        """The same documents with row `rows[i]` at place i."""
        return MemoryTable(
            self.uid[rows],
            {name: column[rows] for name, column in self.columns.items()},
            self.lengths[rows],
            self.eligible[rows],
            self.position[rows],
            self.utilities,
            {name: vectors[rows] for name, vectors in self.vector_columns.items()},
        )


def make_table(
    utilities: Iterable[float] | Mapping[str, Iterable[float]],
    *,
    uid: Iterable[int] | None = None,
    sizes: Iterable[int] | None = None,
    eligible: Iterable[bool] | None = None,
) -> MemoryTable:
    """A table with a utility for the target "t", or for each of the named targets.

    Unless they are given, uids are 1, 2, 3, …, sizes 1, and all documents eligible.
    """
    named = utilities if isinstance(utilities, Mapping) else {"t": utilities}
    columns = {f"utility:step:{name}": np.array([*v], np.float64) for name, v in named.items()}
    n = len(next(iter(columns.values()))) if columns else len(list(uid or []))
    return MemoryTable(
        np.arange(1, n + 1, dtype=np.uint64) if uid is None else np.array([*uid], np.uint64),
        columns,
        np.ones(n, np.int64) if sizes is None else np.array([*sizes], np.int64),
        np.ones(n, np.bool_) if eligible is None else np.array([*eligible], np.bool_),
        np.arange(n, dtype=np.int64),
        tuple(columns),
    )


def rows_of(mechanism: Mechanism, table: Table, seed: int = 0) -> list[int]:
    """The whole order as a list of rows."""
    return [int(row) for block in mechanism.order(table, seed) for row in block]
