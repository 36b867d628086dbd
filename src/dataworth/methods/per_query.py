"""Utilities for each single example of a target, kept as a column for mechanisms to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Column
from dataworth.methods.base import Batch, Score, State
from dataworth.options import option
from dataworth.table.table import MATRIX


@dataclass(frozen=True, kw_only=True)
class PerQuery(Score):
    """Base of the steps that can keep a utility for each example of a target, a query.

    With `per_query` the step's `utilities` are those of the queries, [n, queries of all targets],
    its state says how many `queries` each target has, and `reduce` makes the target's utility of
    them. They are kept in columns `matrix:<step>:<target>`, float32 [queries] for each document.
    """

    per_query: bool = option(
        False,
        help="Keep the utility for each example of a target too, which the mechanism `by_query` "
        "chooses by: 4 bytes for each document and example.",
    )

    def reduce(self, values: NDArray[np.float64], target: int, state: State) -> Any:
        """Return a target's utility, [n], of those of its queries, [n, queries]."""
        return values.mean(1)

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return the utilities, and the matrices of all targets."""
        names = self.utility_names(targets) if self.per_query else ()
        kind = pa.list_(pa.float32())
        matrices = [Column(_name(self, name), kind, self.unit, self.name) for name in names]
        return (*super().columns(targets), *matrices)

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return the utilities by column, who is dropped for having none, and the matrices."""
        values = self.utilities(batch, state)
        if not self.per_query:
            return self.by_column(values, state)
        parts = np.split(values, np.cumsum(state["queries"])[:-1], axis=1)
        reduced = [self.reduce(part, target, state) for target, part in enumerate(parts)]
        names = [_name(self, name) for name in self.utility_names(state.targets)]
        matrices = dict(zip(names, [part.astype(np.float32) for part in parts], strict=True))
        return {**self.by_column(np.stack(reduced, 1), state), **matrices}


def _name(step: Score, target: str) -> str:
    return f"{MATRIX}{step.name}:{target}"
