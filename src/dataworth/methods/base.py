"""The contract of steps: a step learns from pool and targets, then adds columns to documents.

A step is a frozen dataclass of the paper's own few settings. `fit` returns what was learned, as
arrays and JSON; the framework keeps it, and `Fitted` applies it to any documents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Column, Documents
from dataworth.corpus.uid import checks
from dataworth.engine.grouping import Groups, Pairs
from dataworth.features.feature import working
from dataworth.methods.pool import DROP as DROP
from dataworth.methods.pool import Pool as Pool
from dataworth.methods.pool import kept_by as kept_by
from dataworth.methods.pool import survivors as survivors
from dataworth.methods.state import State as State

if TYPE_CHECKING:
    from dataworth.methods.fitted import Fitted

JOINT = "joint"


@dataclass(frozen=True)
class Targets:
    """Named targets: the documents that a step may learn from, and the half held out of it.

    `held_out` is for judging alone; no step may read it.
    """

    fit: Mapping[str, Documents]
    held_out: Mapping[str, Documents] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The targets' names, sorted: no result may hang on the order in which they were given."""
        return sorted(self.fit)


class Step(Protocol):
    """A filter or a method: configuration only.

    A class may say more of itself: `version`; `needs_target = False` for a step that reads no
    target; `reads_pool = False` for one whose `fit` does not look at the pool; `mechanism`, how to
    choose by its utilities; `reasons`, why it drops documents; `slow = True` for one that takes
    seconds for a megabyte of text: its columns are kept piece by piece, not only by unit, and
    `piece(state)`: how many bytes of text such a piece has at most, where 256 KB take it long.
    """

    @property
    def name(self) -> str:
        """Its name in the registry and in the names of its columns."""
        ...

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return the columns that it adds, with `drop` among them if it may drop documents."""
        ...

    def fit(self, pool: Pool, targets: Targets) -> Mapping[str, Any]:
        """Learn from the pool and the targets' fit half: arrays and JSON values by name."""
        ...

    def annotate(self, batch: Batch, state: State) -> Mapping[str, Any]:
        """Return the columns by name, [n] each.

        `drop` is uint8: 0 keeps a document, k drops it for the reason `reasons[k - 1]`.
        """
        ...


class Computed(Protocol):
    """Something that is computed from documents and may travel with them, such as a feature."""

    @property
    def name(self) -> str:
        """Its name among what travels."""
        ...

    def values(self, documents: Documents) -> NDArray[Any] | pa.Array:
        """Return an entry for each document: [n], [n, d] or lists."""
        ...


class Batch:
    """Documents, and what is computed from them, each thing once."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self._known: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.documents)

    def values(self, wanted: Computed) -> Any:
        """Return the computed value of each document, as it is: an array of NumPy or Arrow."""
        if wanted.name not in self._known:
            with working(wanted):
                self._known[wanted.name] = wanted.values(self.documents)
        return self._known[wanted.name]

    def arrow(self, wanted: str | Computed) -> pa.Array:
        """A column as it travels: "text", "text_bytes", "check", a field, or what is computed."""
        if wanted == "text":
            return self.documents.arrow().cast(pa.large_binary())
        if wanted == "text_bytes":
            return pa.array(self.documents.text_bytes)
        if wanted == "check":
            one = self.documents
            return pa.array(checks(one.data, one.starts, one.ends))
        if isinstance(wanted, str):
            return self.documents.columns[wanted]
        values = self.values(wanted)
        if isinstance(values, np.ndarray) and values.ndim == 2:
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        return pa.array(values) if isinstance(values, np.ndarray) else values


def matrix(travelled: pa.Array) -> NDArray[Any]:
    """Return what travelled as rows of numbers, [m, d]."""
    return np.asarray(travelled.flatten().to_numpy()).reshape(len(travelled), -1)


class Score(ABC):
    """Base of the steps that give a document a utility for each target, or one without a target.

    A step says its `unit` and computes `utilities`; `even` is the utility of a document that is
    neither better nor worse than others, if there is such a number. A document without a utility
    is dropped for `reasons[0]` where the class has a reason.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    reasons: ClassVar[tuple[str, ...]] = ()
    even: ClassVar[float | None] = None

    @property
    @abstractmethod
    def unit(self) -> str:
        """The unit of the utilities."""

    @abstractmethod
    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the utilities [n, targets], [n, 1] without a target; NaN where there is none."""

    def utility_names(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Return what the utilities are for: the targets, or "" where none is read."""
        return tuple(targets) if self.needs_target else ("",)

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return a utility for each target, and `drop` where a document may have none."""
        names = self.utility_names(targets)
        columns = [utility_column(self.name, name, self.unit, self.even) for name in names]
        return (*columns, drop_column(self.name)) if self.reasons else tuple(columns)

    def fit(self, pool: Pool, targets: Targets) -> Mapping[str, Any]:
        """Learn nothing."""
        return {}

    def annotate(self, batch: Batch, state: State) -> Mapping[str, Any]:
        """Return the utilities by column, and who is dropped for having none."""
        return self.by_column(self.utilities(batch, state), state)

    def by_column(self, values: NDArray[np.float64], state: State) -> dict[str, Any]:
        """Return utilities [n, targets] by column, and who is dropped for having none."""
        columns = self.columns(state.targets)
        columns_of: dict[str, Any] = {columns[t].name: values[:, t] for t in range(values.shape[1])}
        if self.reasons:
            columns_of[DROP] = np.isnan(values).any(1).astype(np.uint8)
        return columns_of

    def number_of(self, column: str, state: State) -> int:
        """Return which of the utilities a column is."""
        return [c.name for c in self.columns(state.targets)].index(column)


def drop_column(step: str) -> Column:
    """Return the column of a step's drop reasons."""
    return Column(DROP, pa.string(), "reason", step)


@runtime_checkable
class CrossDocument(Protocol):
    """A step that compares documents: those that share a key meet.

    `answers`: "pairs" (rows that belong together are closed to clusters, of which the best row
    stays) or "columns" (rows alone under their key are handed over too). `reasons`: why a row is
    dropped; a code in column `drop` counts from 1. `carries`: what travels with the rows where
    there is one key, and with pairs that are verified.
    """

    @property
    def name(self) -> str:
        """Its name in the registry and in the names of its columns."""
        ...

    @property
    def answers(self) -> Literal["pairs", "columns"]:
        """The kind of result that `resolve` returns: pairs of rows or columns of rows."""
        ...

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons that codes of `drop` stand for, in order."""
        ...

    @property
    def carries(self) -> tuple[str | Computed, ...]:
        """The values that travel with rows to `resolve` and `verify`: fields or computed values."""
        ...

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return the columns that it adds."""
        ...

    def fit(self, pool: Pool, targets: Targets) -> Mapping[str, Any]:
        """Learn from the pool and the targets' fit half: arrays and JSON values by name."""
        ...

    def keys(self, batch: Batch, state: State) -> NDArray[np.uint64]:
        """Return the keys of each document, uint64 [n, k]; 0 where it meets nobody."""
        ...

    def rank(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """A number for each document, [n], of its text: the least of those that meet leads."""
        ...

    def resolve(self, groups: Groups, state: State) -> Mapping[str, pa.Array] | Pairs:
        """Columns of the groups' rows, [m] (`drop`: codes uint8), or pairs of rows."""
        ...


@runtime_checkable
class Verifies(Protocol):
    """A step whose pairs are candidates: each is looked at again, with what its rows carry."""

    def verify(self, pairs: Groups, state: State) -> NDArray[np.bool_]:
        """Tell which pairs hold, bool [g]; rows 2i and 2i + 1 are those of pair i."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A step that can say what drove a document's utility."""

    def explain(self, text: str, column: str, state: State) -> list[tuple[str, float]]:
        """(what, contribution in the unit of the utility), by falling size; they add up to it."""
        ...


@runtime_checkable
class Needs(Protocol):
    """A step that wants other steps before it, such as a least length.

    Its `fit` sees the pool without them, unless the class says `filters_first = True`.
    """

    @property
    def filters(self) -> tuple[Step, ...]:
        """The steps to run right before this one."""
        ...


@runtime_checkable
class Checks(Protocol):
    """A step that needs more than the core of dataworth: an extra, a model."""

    def check(self) -> None:
        """Raise a DataworthError if anything is missing; called before anything is read."""
        ...


def utility_column(step: str, target: str, unit: str, even: float | None = None) -> Column:
    """Return the column of a step's utility for a target."""
    return Column(f"utility:{step}:{target}", pa.float64(), unit, step, even)


def apply_steps(fitted: Iterable[Fitted], documents: Documents) -> dict[str, pa.Array]:
    """The columns of all steps for a batch, each step seeing the survivors of those before it.

    Rows that a step never saw are null; `drop` holds the first reason.
    """
    total = len(documents)
    rows = np.arange(total)
    reasons: np.ndarray[Any, Any] | None = None
    columns: dict[str, pa.Array] = {}
    for step in fitted:
        batch = step.annotate(documents)
        everything = len(rows) == total
        for name in batch.schema.names:
            if name != DROP:
                columns[name] = (
                    batch.column(name) if everything else _spread(batch.column(name), rows, total)
                )
        if DROP in batch.schema.names:
            kept = kept_by(batch)
            if not kept.all():
                if reasons is None:
                    reasons = np.full(total, None, object)
                reasons[rows[~kept]] = batch.column(DROP).to_numpy(zero_copy_only=False)[~kept]
                documents, rows = documents.take(kept), rows[kept]
    if reasons is None:
        columns[DROP] = pa.nulls(total, pa.string())
    else:
        columns[DROP] = pa.array(reasons, pa.string())
    return columns


def _spread(values: pa.Array, rows: np.ndarray[Any, Any], total: int) -> pa.Array:
    """Values of some rows as a column of all rows, null elsewhere."""
    place = np.full(total, -1, np.int64)
    place[rows] = np.arange(len(rows))
    return values.take(pa.array(place, mask=place < 0))


def copy_columns(step: str) -> tuple[Column, ...]:
    """Return the columns of a step that drops all but one of a cluster: `drop`, and the cluster."""
    cluster = Column(f"cluster:{step}", pa.uint64(), "id of the cluster", step)
    return (drop_column(step), cluster)
