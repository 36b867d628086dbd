"""Random: every eligible document is equally likely, whatever its utility. The baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dataworth.mechanism.base import Order, Rows, Table, by_cost, eligible_rows, hashes
from dataworth.registry import register


@register
@dataclass(frozen=True)
class Random:
    """Order by the seeded hash of uid. Needs no utility, and reads none."""

    name: ClassVar[str] = "random"
    needs_utility: ClassVar[bool] = False

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers in random order, in blocks."""
        return by_hash(table, seed, eligible_rows(table))


def by_hash(table: Table, seed: int, rows: Rows | None) -> Order:
    """Return the rows (None: all) in the order in which ties of utility are broken."""
    drawn = hashes(table, seed, rows)
    return by_cost(table, seed, np.invert(drawn, out=drawn), rows)
