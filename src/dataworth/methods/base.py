"""What a step is: it learns from pool and targets, then adds columns to documents.

A step is a frozen dataclass of the paper's own few settings. `fit` returns what was learned; that
can be saved, loaded and applied to any documents, also outside a run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Column, Documents
from dataworth.corpus.uid import checks
from dataworth.engine.grouping import Groups, Pairs
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.features.feature import working
from dataworth.table.survey import Survey

DROP = "drop"
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


@dataclass
class Context:
    """What a step may use to learn.

    `survey`: counts and a random sample of the pool. `before`: the fitted steps before this one,
    without its own filters; `kept`: what they keep of the sample, bool [n], if that is known.
    """

    engine: Engine
    survey: Survey
    seed: int = 0
    progress: Progress | None = None
    before: Sequence[Fitted] = ()
    kept: Callable[[], np.ndarray[Any, np.dtype[np.bool_]]] | None = None

    def sample(self) -> Documents:
        """What the steps before this one keep of the pool's random sample."""
        if self.kept is not None:
            return self.survey.sample.take(self.kept())
        return survivors(self.survey.sample, self.before)


class Step(Protocol):
    """A filter, a deduplication or a method: configuration only."""

    @property
    def name(self) -> str:
        """Its name in the registry and in the names of its columns."""
        ...

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> Fitted:
        """Learn from the pool and the targets' fit half."""
        ...


class Fitted(Protocol):
    """What a step learned."""

    @property
    def step(self) -> Step:
        """The settings it was fitted with."""
        ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that it adds."""
        ...

    def annotate(self, documents: Documents) -> pa.RecordBatch:
        """The step's columns for these documents, one row each; `drop` is a reason or null."""
        ...

    def save(self, folder: Path) -> None:
        """Write arrays and JSON: never anything that executes when loaded."""
        ...


State = Mapping[str, NDArray[Any]]
"""What a step that compares documents learned: arrays by name."""


class Computed(Protocol):
    """Something that is computed from documents and may travel with them, such as a feature."""

    @property
    def name(self) -> str:
        """What it is called among what travels."""
        ...

    def values(self, documents: Documents) -> NDArray[Any] | pa.Array:
        """An entry for each document: [n], [n, d] or lists."""
        ...


class Batch:
    """Documents, and what is computed from them, each thing once."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self._known: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.documents)

    def values(self, wanted: Computed) -> Any:
        """What is computed, as it is: an array of NumPy or Arrow."""
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
        found = self.values(wanted)
        if isinstance(found, np.ndarray) and found.ndim == 2:
            flat = pa.array(np.ascontiguousarray(found).reshape(-1))
            return pa.FixedSizeListArray.from_arrays(flat, found.shape[1])
        return pa.array(found) if isinstance(found, np.ndarray) else found


def matrix(travelled: pa.Array) -> NDArray[Any]:
    """Return what travelled as rows of numbers, [m, d]."""
    return np.asarray(travelled.flatten().to_numpy()).reshape(len(travelled), -1)


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
        """What `resolve` returns."""
        ...

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why rows are dropped."""
        ...

    @property
    def carries(self) -> tuple[str | Computed, ...]:
        """What travels."""
        ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that it adds."""
        ...

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> State:
        """Learn from the pool and the targets' fit half."""
        ...

    def keys(self, batch: Batch, state: State) -> NDArray[np.uint64]:
        """The keys of each document, uint64 [n, k]; 0 where it meets nobody."""
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
        """Which pairs hold, [g]; rows 2i and 2i + 1 are those of pair i."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A fitted step that can say what drove a document's utility."""

    def explain(self, text: str, column: str) -> list[tuple[str, float]]:
        """(what, contribution in the unit of the utility), by falling size; they add up to it."""
        ...


@runtime_checkable
class Needs(Protocol):
    """A step that wants other steps before it, such as a least length."""

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


def kept_by(batch: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows a step's columns leave in, bool [n]."""
    if DROP not in batch.schema.names:
        return np.ones(batch.num_rows, np.bool_)
    return np.asarray(batch.column(DROP).is_null())


def survivors(documents: Documents, steps: Iterable[Fitted]) -> Documents:
    """The documents that some fitted steps keep."""
    for fitted in steps:
        documents = documents.take(kept_by(fitted.annotate(documents)))
    return documents


def utility_column(step: str, target: str, unit: str, even: float | None = None) -> Column:
    """The column of a step's utility for a target."""
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
    return (Column(DROP, pa.string(), "reason", step), cluster)


def write_arrays(folder: Path, facts: Mapping[str, Any], **arrays: Any) -> None:
    """A fitted step's folder: `step.json` and `arrays.npz`."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "arrays.npz", **arrays)
    (folder / "step.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
