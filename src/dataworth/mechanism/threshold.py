"""Threshold: only documents whose utility is at least a given value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dataworth.errors import ConfigError
from dataworth.mechanism.base import Order, Table, by_cost, eligible_rows, only_utility
from dataworth.mechanism.random import by_hash


@dataclass(frozen=True)
class Threshold:
    """Keep utility >= `at`, in the unit of the utility.

    If the budget is smaller than what passes, the best are taken first (`by="utility"`), or a
    random part (`by="hash"`).
    """

    at: float
    by: Literal["utility", "hash"] = "utility"

    def __post_init__(self) -> None:
        if math.isnan(self.at):
            raise ConfigError("threshold: at must be a number, got nan")
        if self.by not in ("utility", "hash"):
            raise ConfigError(f'threshold: by must be "utility" or "hash", got {self.by!r}')

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers of the documents that pass, in blocks; empty if none does."""
        rows = eligible_rows(table)
        values = only_utility(table, "threshold", rows)
        passed = np.flatnonzero(values >= self.at)
        chosen = passed if rows is None else rows[passed]
        if self.by == "hash":
            return by_hash(table, seed, chosen)
        return by_cost(table, seed, np.negative(values[passed]), chosen)
