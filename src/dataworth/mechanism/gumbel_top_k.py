"""Gumbel top-k: sampling without replacement with probabilities in proportion to exp(utility / τ).

To each utility is added τ times a standard Gumbel number, and the largest come first. That is the
Plackett-Luce order of the weights exp(utility / τ) (Yellott 1977; Kool, van Hoof and Welling 2019,
"Stochastic beams and where to find them", section 2). At τ = 1 and with log importance weights it
is importance resampling without replacement (Xie, Santurkar, Ma and Liang 2023, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dataworth.errors import ConfigError
from dataworth.mechanism.base import (
    Find,
    Order,
    Table,
    by_cost,
    eligible_rows,
    only_utility,
    split_name,
    uniforms,
)
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class GumbelTopK:
    """Order by utility + τ · Gumbel noise.

    The noise is a function of (seed, uid), so copies of one text have the same.
    """

    name: ClassVar[str] = "gumbel_top_k"
    temperature: float | Literal["auto"] | Mapping[str, float] = option(
        "auto",
        help="τ, in the unit of the utility: large means near to random, 0 is top-k; it may differ "
        'by target. "auto": found from the data before ordering.',
        minimum=0,
        hash=False,
    )

    def settle(self, utilities: Sequence[str], find: Find) -> GumbelTopK:
        """Return it with a temperature for each utility column, where that is "auto"."""
        if self.temperature != "auto" or not utilities:
            return self
        values = {split_name(column)[1]: find(column, 1.0) for column in utilities}
        return GumbelTopK(values if len(values) > 1 else next(iter(values.values())))

    def temperature_of(self, column: str) -> float:
        """Return the temperature for a utility column `utility:<step>:<target>`.

        Raises ConfigError where it is still "auto", or not given for the column's target.
        """
        if isinstance(self.temperature, str):
            raise ConfigError(
                f'gumbel_top_k: no temperature has been found for {column}: "auto" needs a target '
                "to find it from; give a number, in the unit of the utility"
            )
        if not isinstance(self.temperature, Mapping):
            return float(self.temperature)
        target = split_name(column)[1]
        if target not in self.temperature:
            named = ", ".join(sorted(self.temperature)) or "none"
            raise ConfigError(
                f"gumbel_top_k: no temperature is given for the target {target!r}, only for {named}"
            )
        return float(self.temperature[target])

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers, best first, in blocks."""
        rows = eligible_rows(table)
        values = only_utility(table, "gumbel_top_k", rows)
        temperature = self.temperature_of(table.utilities[0])
        if temperature == 0:
            return by_cost(table, seed, np.negative(values), rows)
        # cost = -(utility + τ · -log(-log(u))); divided by τ the order is the same, but a small τ
        # would overflow.
        cost = uniforms(table, seed, rows)
        np.log(cost, out=cost)
        np.negative(cost, out=cost)
        np.log(cost, out=cost)
        cost *= temperature
        cost -= values
        return by_cost(table, seed, cost, rows)
