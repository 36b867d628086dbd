"""Fit a step on texts in memory, without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.engine.local import Engine
from dataworth.methods.base import Pool, Targets
from dataworth.methods.fitted import Fitted, learn
from dataworth.table.survey import Survey

NO_FILES = Corpus((), Fields(), ())


def docs(texts: Sequence[str]) -> Documents:
    return Documents.from_texts(texts)


def pool_of(texts: Sequence[str], corpus: Corpus = NO_FILES) -> Pool:
    """A pool that is small enough to be its own sample."""
    sample = docs(texts)
    return Pool(corpus, Survey(documents=len(sample), sample=sample), Engine(1))


def fit(step: Any, pool: Sequence[str], targets: Mapping[str, Sequence[str]]) -> Fitted:
    """The step fitted on a pool that is its own sample."""
    return learn(step, pool_of(pool), Targets({name: docs(t) for name, t in targets.items()}))


def utility(fitted: Any, texts: Sequence[str], target: int = 0) -> list[float | None]:
    return fitted.annotate(docs(texts)).column(target).to_pylist()
