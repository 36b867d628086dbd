"""Diverse: the best documents, without those too near to a better one that was taken.

The second half of DEITA (Liu, Zeng, He, Jiang and He 2024, "What makes good data for alignment?",
arXiv 2312.15685, section 2.4; its code compares the cosine with 0.9): documents are walked through
by falling utility, and one is taken if its cosine with every document taken before is at most
`threshold`. What is passed over is not taken later, so the order may end before the budget is met.

The walk is over the whole pool, not over batches. It stops where the budget is met; until then it
compares each document with all that are taken, and holds their vectors: 1 KB each with 256
numbers. For 100,000 taken of a million that is 100 MB and 10^11 inner products, some minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.mechanism.base import Order, Rows, Table, by_cost, eligible_rows, only_utility
from dataworth.mechanism.over_vectors import read_vectors, vector_column
from dataworth.options import option
from dataworth.registry import register

_BLOCK = 1024
_READ = 1 << 15  # rows that are read together
_ROUNDING = 1e-6  # copies have a cosine of 1 up to this


@register
@dataclass(frozen=True)
class Diverse:
    """Take by utility, largest first, what is not too near to anything taken."""

    name: ClassVar[str] = "diverse"
    threshold: float = option(
        0.9, help="The largest cosine with a document taken before.", minimum=-1, maximum=1
    )
    embedding: str = option(
        "", help="The column of vectors, `embedding:<step>`; empty: the only one there is."
    )

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers of what is taken, best first, in blocks."""
        column = vector_column(table, self.embedding, self.name)
        rows = eligible_rows(table)
        ranked = by_cost(table, seed, np.negative(only_utility(table, self.name, rows)), rows)
        return self._taken(table, column, ranked)

    def _taken(self, table: Table, column: str, ranked: Order) -> Iterator[Rows]:
        taken: list[NDArray[np.float32]] = []
        for block in ranked:
            for start in range(0, len(block), _READ):
                some = block[start : start + _READ]
                vectors = read_vectors(table, column, some, self.name)
                for low in range(0, len(some), _BLOCK):
                    keep = self._apart(vectors[low : low + _BLOCK], taken)
                    if keep.any():
                        taken.append(vectors[low : low + _BLOCK][keep])
                        yield some[low : low + _BLOCK][keep]

    def _apart(
        self, vectors: NDArray[np.float32], taken: list[NDArray[np.float32]]
    ) -> NDArray[np.bool_]:
        """Return which vectors are far from all that were taken, and from those taken of them."""
        bound = self.threshold + _ROUNDING
        keep = np.ones(len(vectors), np.bool_)
        for before in taken:
            keep &= (vectors @ before.T).max(1) <= bound
        near = vectors @ vectors.T > bound
        for row in range(len(vectors)):
            if keep[row]:
                keep[row + 1 :] &= ~near[row, row + 1 :]
        return keep
