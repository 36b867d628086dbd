"""Threshold: only documents whose utility is at least a given value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dataworth.mechanism.base import Order, Table, by_cost, eligible_rows, only_utility
from dataworth.mechanism.random import by_hash
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class Threshold:
    """Keep utility >= `at`."""

    name: ClassVar[str] = "threshold"
    at: float = option(help="The least utility, in its unit.")
    by: Literal["utility", "hash"] = option(
        "utility",
        help="What is taken where the budget is smaller than what passes: the best, or a random "
        'part ("hash").',
    )

    @property
    def cuts_utility(self) -> bool:
        """True if the best are taken first, so that the cut is at a utility."""
        return self.by == "utility"

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers of the documents that pass, in blocks; empty if none does."""
        rows = eligible_rows(table)
        values = only_utility(table, "threshold", rows)
        passed = np.flatnonzero(values >= self.at)
        chosen = passed if rows is None else rows[passed]
        if self.by == "hash":
            return by_hash(table, seed, chosen)
        return by_cost(table, seed, np.negative(values[passed]), chosen)
