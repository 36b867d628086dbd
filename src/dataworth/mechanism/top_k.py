"""Top-k: the documents of largest utility first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dataworth.mechanism.base import Order, Table, by_cost, eligible_rows, only_utility
from dataworth.registry import register


@register
@dataclass(frozen=True)
class TopK:
    """Order by utility, largest first."""

    name: ClassVar[str] = "top_k"
    cuts_utility: ClassVar[bool] = True

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers, best first, in blocks."""
        rows = eligible_rows(table)
        return by_cost(table, seed, np.negative(only_utility(table, "top_k", rows)), rows)
