"""A step with what it learned: it adds columns to documents, inside a run and outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from dataworth.corpus.documents import Column, Documents
from dataworth.errors import ConfigError
from dataworth.methods.base import DROP, Batch, Explains, Step, Targets
from dataworth.methods.pool import Pool
from dataworth.methods.state import FILE, State
from dataworth.table.table import labelled


def learn(step: Step, pool: Pool, targets: Targets) -> Fitted:
    """Fit a step. Raises ConfigError without the target that it needs."""
    wanted = getattr(step, "needs_target", True)
    if wanted and not targets.names:
        raise ConfigError(
            f"{step.name} needs a target: give examples of what the model should learn"
        )
    learned = step.fit(pool, targets)
    state = learned if isinstance(learned, State) else State(learned)
    state.targets = tuple(targets.names if wanted else ())
    return Fitted(step, state)


class Fitted:
    """A fitted step, whose columns are called by a label: two steps of one name stay apart.

    Parameters
    ----------
    step, state
        The options, and what was learned with them.
    label
        What it is called in a list of steps; the step's name unless given.
    folder
        Name of its columns' folder in a run.
    place, digest
        Where in a run the state is saved, and the digest of that. To another process a fitted step
        travels as this path, whatever its size.
    """

    def __init__(
        self,
        step: Any,
        state: State,
        *,
        label: str = "",
        folder: str = "",
        place: Path | None = None,
        digest: str = "",
    ) -> None:
        self.step = step
        self.state = state
        self.label = label or step.name
        self.folder = folder
        self.place = place
        self.digest = digest
        self.raw: tuple[Column, ...] = tuple(step.columns(state.targets))
        """The columns under the step's own name, as they are kept in files."""
        self._names = {c.name: labelled(c.name, step.name, self.label) for c in self.raw}
        self.columns = tuple(
            replace(column, name=self._names[column.name], producer=self.label)
            for column in self.raw
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self.place is None:
            return _again, (type(self), self.step, self.state, self.label, self.folder)
        saved = (self.place / FILE).stat().st_mtime_ns
        options = (self.label, self.folder, self.place, self.digest)
        return _read, (type(self), self.step, *options, saved)

    def __getattr__(self, name: str) -> Any:
        """Return a value of the state by its name."""
        if name.startswith("_") or name == "state" or name not in self.state:
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        return self.state[name]

    def called(self, label: str, folder: str, place: Path | None, digest: str = "") -> Self:
        """Return the same under a label, in a run."""
        options: dict[str, Any] = {"folder": folder, "place": place, "digest": digest}
        return type(self)(self.step, self.state, label=label, **options)

    @property
    def drops(self) -> bool:
        """Tell if it may drop documents."""
        return any(column.name == DROP for column in self.columns)

    @property
    def slow(self) -> bool:
        """Tell if it takes seconds for a megabyte of text."""
        return bool(getattr(self.step, "slow", False))

    @property
    def piece(self) -> float:
        """Bytes of text that it wants at once, at most."""
        piece = getattr(self.step, "piece", None)
        return math.inf if piece is None else piece(self.state)

    def compute(self, documents: Documents) -> pa.RecordBatch:
        """Return the columns for documents, one row each, under the step's own name.

        `drop` is a reason or null.
        """
        values = self.step.annotate(Batch(documents), self.state)
        arrays = [self._array(column, values[column.name], len(documents)) for column in self.raw]
        return pa.RecordBatch.from_arrays(arrays, [column.name for column in self.raw])

    def _array(self, column: Column, values: Any, n: int) -> pa.Array:
        if column.name == DROP and isinstance(values, np.ndarray):
            return reasons_of(values, self.step.reasons)
        array = values if isinstance(values, pa.Array) else _arrow(np.asarray(values))
        return array if array.type == column.type else array.cast(column.type)

    def annotate(self, documents: Documents) -> pa.RecordBatch:
        """Return the columns for documents, one row each, by the label."""
        batch = self.compute(documents)
        if self.label == self.step.name:
            return batch
        return batch.rename_columns([self._names[name] for name in batch.schema.names])

    def explain(self, text: str, column: str) -> list[tuple[str, float]]:
        """Return what drove a utility, (what, contribution) by falling size, if the step can say.

        The contributions are in the unit of the utility and add up to it.
        """
        if not isinstance(self.step, Explains):
            return []
        back = {new: old for old, new in self._names.items()}
        return self.step.explain(text, back[column], self.state)

    def save(self, folder: Path) -> None:
        """Write what was learned: arrays and JSON."""
        self.state.save(folder)

    @classmethod
    def load(cls, step: Step, folder: Path) -> Fitted:
        """Return a fitted step from its folder. RunError names the file if it is damaged."""
        return cls(step, State.load(folder))

    def __call__(self, batch: dict[str, list[Any]], text: str = "text") -> dict[str, list[Any]]:
        """Return the columns for a batch of rows: for `datasets.map(fitted, batched=True)`.

        Beside utilities, which are None for what is dropped, the reasons are left out: a batch
        without any would give `datasets` a column of no type.
        """
        columns = dict(self.annotate(Documents.from_texts(batch[text])).to_pydict())
        if len(columns) > 1:
            columns.pop(DROP, None)
        return columns


def _again(kind: type[Fitted], step: Any, state: State, label: str, folder: str) -> Fitted:
    return kind(step, state, label=label, folder=folder)


_known: dict[tuple[Any, ...], Fitted] = {}  # a worker is sent the steps with each part


def _read(
    kind: type[Fitted], step: Any, label: str, folder: str, place: Path, digest: str, saved: int
) -> Fitted:
    """Return a step from where it is saved; `saved` is when, so that a later one is another."""
    key = (label, folder, place, saved)
    if key not in _known:
        _known[key] = kind.load(step, place).called(label, folder, place, digest)
    return _known[key]


def reasons_of(codes: Any, reasons: Sequence[str]) -> pa.Array:
    """Return codes uint8 [n] as reasons; 0 is none, k is `reasons[k - 1]`."""
    if not codes.any():
        return pa.nulls(len(codes), pa.string())
    return pa.array([None, *reasons], pa.string()).take(pa.array(codes.astype(np.int32)))


def _arrow(values: Any) -> pa.Array:
    if values.ndim == 2:
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    if values.dtype.kind == "f":
        none = np.isnan(values)
        return pa.array(np.ascontiguousarray(values), mask=none if none.any() else None)
    return pa.array(np.ascontiguousarray(values))
