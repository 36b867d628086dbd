"""A column of vectors of the documents table, such as embeddings or gradients, beside its uids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.table.table import Table


@dataclass(frozen=True)
class WideColumn:
    """A column of vectors, [documents, dimension], read from disk when asked for.

    Rows without a vector are NaN.
    """

    table: Table
    name: str

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def dimension(self) -> int:
        """Numbers of a row."""
        return self.table.width(self.name)

    @cached_property
    def uid(self) -> NDArray[np.uint64]:
        """The documents' uid, uint64 [rows]."""
        return self.table.column("uid")

    def find(self, uid: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each uid, int64 [n]; the first one of equal texts. KeyError if one is not."""
        order = np.argsort(self.uid, kind="stable")
        place = np.searchsorted(self.uid, uid, sorter=order)
        rows = order[np.minimum(place, max(len(self) - 1, 0))] if len(self) else place
        wrong = uid[self.uid[rows] != uid] if len(self) else uid
        if len(wrong):
            folder = self.table.folder
            raise KeyError(f"{len(wrong)} documents are not in {folder}, such as {wrong[0]}")
        return rows

    def rows(self, indices: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Some rows in the order given, float32 [n, dimension]."""
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < len(self):
            raise IndexError(f"rows must lie in 0 … {len(self) - 1}")
        return self.table.vectors(self.name, np.asarray(indices, np.int64))

    def blocks(self, rows: int = 0) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(number of the first row, rows [at most `rows`, dimension]) for all rows in order."""
        return self.table.blocks(self.name, rows)

    def matrix(self) -> NDArray[np.float32]:
        """All rows in memory, float32 [rows, dimension]."""
        out = np.empty((len(self), self.dimension), np.float32)
        for first, block in self.blocks():
            out[first : first + len(block)] = block
        return out
