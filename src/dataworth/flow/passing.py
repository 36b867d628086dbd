"""Rates of passing: what each rule lets through by itself, and what it removed in its turn.

A step sees what the steps before it left, so what it removes says little of the step: most of what
a late rule would drop is gone. By itself a rule is asked about documents of the pool's sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dataworth.corpus.documents import Documents
from dataworth.flow.scoring import Scored
from dataworth.methods.base import DROP, CrossDocument
from dataworth.methods.fitted import Fitted
from dataworth.methods.rules import Rules

_MOST = 5_000  # documents of the sample that a rule is asked about: ± 0.7 % at worst


@dataclass(frozen=True)
class Passing:
    """A rule of a step, by its drop reason.

    `alone`: the share of the pool that passes it by itself, None where that is not known: a step
    that compares documents, after others, and one that asks a model. `entered`: documents that the
    steps before its step left; `removed`: those that went for its reason.
    """

    step: str
    rule: str
    alone: float | None
    entered: int
    removed: int

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        return asdict(self)


def passing(scored: Scored) -> list[Passing]:
    """Return the rules of all steps that may drop documents, in their order.

    Of steps whose rules are not judged each by itself, a document counts for the first rule that it
    fails. Two steps with one reason are told together, at the first.
    """
    table, sample = scored.table, scored.survey.sample
    rows = np.unique(np.linspace(0, max(len(sample) - 1, 0), _MOST).astype(np.int64))
    documents = sample.take(rows) if len(sample) else sample
    dropped = dict(table.tally.dropped)
    left, rules = len(table), []
    for fitted in scored.fitted:
        if not fitted.drops:
            continue
        alone = dict(_alone(fitted, documents))
        entered = left
        for reason in fitted.step.reasons:
            removed = dropped.pop(reason, 0)
            share = alone.get(reason)
            if isinstance(fitted.step, CrossDocument) and entered == len(table) and entered:
                share = 1 - removed / entered
            rules.append(Passing(fitted.label, reason, share, entered, removed))
            left -= removed
    return rules


def _alone(fitted: Fitted, documents: Documents) -> Iterator[tuple[str, float]]:
    """Yield each reason and the share of the documents that pass it."""
    step = fitted.step
    if isinstance(step, CrossDocument) or getattr(step, "slow", False) or not len(documents):
        return
    batch = fitted.compute(documents)
    if isinstance(step, Rules):
        failed = np.asarray(batch.column(f"failed:{step.name}"), np.uint32)
        for number, reason in enumerate(step.reasons):
            yield reason, 1 - float(((failed >> np.uint32(number)) & np.uint32(1)).mean())
    else:
        told = np.asarray(batch.column(DROP).to_pylist(), object)
        yield from ((reason, 1 - float((told == reason).mean())) for reason in step.reasons)
