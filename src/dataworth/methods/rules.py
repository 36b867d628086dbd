"""The base of filters by rules: thresholds on numbers of a text, and the texts they hold for.

Each rule is judged by itself, so that the table tells how many documents each one alone would drop;
the reason of a document is the first rule in order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Column, Documents
from dataworth.features.rules.cleaning import kinds
from dataworth.methods.base import DROP, Batch, Pool, State, Targets, drop_column
from dataworth.options import option

NOT_JUDGED = 1 << 31
"""The bit of `failed` that says that the rules are off for a document."""
_UNSPACED = 0.3  # of the letters
_CODE = 0.2  # of the lines
_LATIN = 0.5  # of the letters


@dataclass(frozen=True)
class Rule:
    """A bound on a number: a document is dropped below `least`, above `most`, or without it.

    `number`: which of the numbers that the filter measures. `english`: it holds for text mostly in
    Latin letters alone. `without`: the document is dropped where the number is NaN.
    """

    reason: str
    number: int
    least: float | None = None
    most: float | None = None
    english: bool = False
    without: bool = False

    def fails(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which documents it drops, bool [n]; NaN passes unless `without`."""
        number = values[:, self.number]
        bad = np.isnan(number) if self.without else np.zeros(len(number), np.bool_)
        if self.least is not None:
            bad |= number < self.least
        if self.most is not None:
            bad |= number > self.most
        return bad


@dataclass(frozen=True)
class Kinds:
    """The kinds of text that documents are: see `features.rules.cleaning.kinds`."""

    name = "kinds"

    def values(self, documents: Documents) -> NDArray[np.float64]:
        """Return the numbers [n, 3]."""
        return kinds(documents)


@dataclass(frozen=True)
class Rules(ABC):
    """Base of the filters by rules: a filter says its `numbers`, measures them and has `rules`.

    Columns: `drop`; `failed`, a bit for each rule that the document fails by itself, in the order
    of `rules`, and bit 31 where the rules are off; with `values`, the measured numbers.
    """

    name: ClassVar[str]
    numbers: ClassVar[tuple[str, ...]]
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    scope: Literal["prose", "all"] = option(
        "prose",
        help='"prose": rules are off for text of scripts without spaces between words and for '
        'code, and those of English words for other scripts than Latin; "all": never.',
    )
    values: bool = option(False, help="Keep the measured numbers as columns.")

    @property
    @abstractmethod
    def rules(self) -> tuple[Rule, ...]:
        """The rules, in the order in which they give reasons."""

    @abstractmethod
    def measure(self, documents: Documents) -> NDArray[np.float64]:
        """Return the numbers of each document, float64 [n, numbers]."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reason to drop a document that each rule gives, in order."""
        return tuple(rule.reason for rule in self.rules)

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop`, `failed`, and the numbers if asked for."""
        failed = Column(f"failed:{self.name}", pa.uint32(), "a bit for each rule", self.name)
        names = self.numbers if self.values else ()
        measured = [Column(f"{n}:{self.name}", pa.float64(), "", self.name) for n in names]
        return (drop_column(self.name), failed, *measured)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Learn nothing."""
        return {}

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return the columns."""
        values = self.measure(batch.documents)
        off = np.zeros(len(batch), np.bool_)
        foreign = off
        if self.scope == "prose":
            latin, unspaced, code = np.nan_to_num(batch.values(Kinds())).T
            off = (unspaced > _UNSPACED) | (code > _CODE)
            foreign = latin < _LATIN
        failed = np.zeros(len(batch), np.uint32)
        drop = np.zeros(len(batch), np.uint8)
        for number, rule in enumerate(self.rules):
            bad = rule.fails(values) & ~off
            if rule.english:
                bad &= ~foreign
            failed |= bad.astype(np.uint32) << np.uint32(number)
            drop[bad & (drop == 0)] = number + 1
        failed[off] = NOT_JUDGED
        made: dict[str, Any] = {DROP: drop, f"failed:{self.name}": failed}
        if self.values:
            made |= {f"{n}:{self.name}": values[:, k] for k, n in enumerate(self.numbers)}
        return made


def pass_rates(step: Rules, failed: NDArray[np.uint32]) -> dict[str, float]:
    """Return of each rule the share of judged documents that pass it, each rule by itself.

    Parameters
    ----------
    step : the filter.
    failed : its column `failed` without nulls, uint32 [n].

    Returns
    -------
    By reason, and under "not judged" the share of documents that the rules are off for.
    """
    off = (failed & np.uint32(NOT_JUDGED)) != 0
    judged = failed[~off]
    rates = {
        reason: 1 - float(((judged >> np.uint32(k)) & np.uint32(1)).mean()) if len(judged) else 1.0
        for k, reason in enumerate(step.reasons)
    }
    return {**rates, "not judged": float(off.mean()) if len(failed) else 0.0}
