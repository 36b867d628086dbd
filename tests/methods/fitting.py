"""Fit a step on texts in memory, without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.engine.local import Engine
from dataworth.methods.base import Context, Targets
from dataworth.table.survey import Survey

NO_FILES = Corpus((), Fields(), ())


def docs(texts: Sequence[str]) -> Documents:
    return Documents.from_texts(texts)


def fit(step: Any, pool: Sequence[str], targets: Mapping[str, Sequence[str]]) -> Any:
    """The step fitted on a pool that is small enough to be its own sample."""
    sample = docs(pool)
    context = Context(Engine(1), Survey(documents=len(sample), sample=sample))
    return step.fit(NO_FILES, Targets({name: docs(t) for name, t in targets.items()}), context)


def utility(fitted: Any, texts: Sequence[str], target: int = 0) -> list[float | None]:
    return fitted.annotate(docs(texts)).column(target).to_pylist()
