"""The pool as a step that learns sees it: what the steps before it leave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.units import Part, parts_of
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress
from dataworth.table.survey import Survey

if TYPE_CHECKING:
    from dataworth.methods.fitted import Fitted

DROP = "drop"

T = TypeVar("T")


@dataclass
class Pool:
    """The pool without what the steps before a step drop.

    `survey`: counts and a random sample of all of it. `before`: the fitted steps before, without
    the step's own filters; `kept`: what they keep of the sample, bool [n], if that is known.
    """

    corpus: Corpus
    survey: Survey
    engine: Engine
    seed: int = 0
    progress: Progress | None = None
    before: Sequence[Fitted] = ()
    kept: Callable[[], NDArray[np.bool_]] | None = None
    folder: Path | None = None

    @property
    def complete(self) -> bool:
        """Tell if the sample is the whole pool."""
        return self.survey.complete

    @property
    def documents(self) -> float:
        """Documents of the whole pool: counted, or estimated by size where it was not all read."""
        survey = self.survey
        if survey.whole or not len(survey.sample):
            return float(survey.documents)
        return self.corpus.size / max(float(survey.sample.bytes.mean()), 1.0)

    def sample(self, n: int | None = None) -> Documents:
        """Return the survivors of the pool's random sample, or the first `n` of them."""
        sample = self.survey.sample
        if self.kept is not None:
            sample = sample.take(self.kept())
        else:
            sample = survivors(sample, self.before)
        return sample if n is None or n >= len(sample) else sample.take(np.arange(n))

    def fold(
        self, work: Callable[[Documents], T], combine: Callable[[T, T], T], name: str
    ) -> T | None:
        """Return what `work` makes of all survivors, block by block, combined in their order.

        `work` travels to other processes where the engine has some. None for an empty pool.
        """
        work_on = _OfPart(self.corpus, tuple(self.before), work, combine)

        def together(left: Any, right: Any) -> Any:
            if left is None or right is None:
                return right if left is None else left
            return combine(left, right)

        parts, progress = parts_of(self.corpus.units), self.progress
        folded: T | None = self.engine.fold(work_on, together, parts, progress=progress, name=name)
        return folded

    def read(self) -> Documents:
        """Return all survivors, in memory."""
        if self.complete:
            return self.sample()
        return survivors(self.corpus.read_all()[0], self.before)


@dataclass(frozen=True)
class _OfPart:
    """Part → what work makes of the survivors of its blocks."""

    corpus: Corpus
    before: tuple[Fitted, ...]
    work: Callable[[Documents], Any]
    combine: Callable[[Any, Any], Any]

    def __call__(self, part: Part, tick: Tick) -> Any:
        total = None
        for unit in part.units:
            for block in self.corpus.blocks(unit):
                value = self.work(survivors(block.documents, self.before))
                total = value if total is None else self.combine(total, value)
                tick(len(block.documents), block.raw_bytes)
        return total


def kept_by(batch: pa.RecordBatch) -> NDArray[np.bool_]:
    """Return which rows a step's columns leave in, bool [n]."""
    if DROP not in batch.schema.names:
        return np.ones(batch.num_rows, np.bool_)
    return np.asarray(batch.column(DROP).is_null())


def survivors(documents: Documents, steps: Iterable[Fitted]) -> Documents:
    """Return the documents that some fitted steps keep."""
    for fitted in steps:
        documents = documents.take(kept_by(fitted.annotate(documents)))
    return documents
