"""Documents whose field is among given values, such as licences or sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataworth.corpus.documents import Column
from dataworth.errors import ConfigError
from dataworth.methods.base import DROP, Batch, Pool, State, Targets, drop_column
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class FieldIn:
    """Keep documents whose field is among some values, or is not (`keep=False`).

    The field is one that is read along: name it in `group_by` or `id_field`.
    """

    name: ClassVar[str] = "field_in"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    reasons: ClassVar[tuple[str, ...]] = ("field not allowed",)
    field: str = option(help="The field's name, as in group_by.")
    values: tuple[str, ...] = option(help="The values, as text.")
    keep: bool = option(True, help="Keep these values; false: drop them.")

    def __post_init__(self) -> None:
        if not self.field or not self.values:
            raise ConfigError(f"{self.name}: give a field and at least one value")

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop`."""
        return (drop_column(self.name),)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Learn nothing. Raise ConfigError for a field that is not read along."""
        sample = pool.sample()
        if len(sample) and self.field not in sample.columns:
            raise ConfigError(
                f"{self.name}: the field {self.field!r} is not read along: add it to group_by"
            )
        return {}

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return `drop`; a document without the field is not among the values."""
        column = batch.documents.columns.get(self.field, pa.nulls(len(batch)))
        inside = pc.is_in(column.cast(pa.string()), value_set=pa.array(self.values, pa.string()))
        return {DROP: (np.asarray(inside) != self.keep).astype(np.uint8)}
