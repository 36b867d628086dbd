"""Distinct words: the share of a text's words that are different; repetitive text has a low one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

import dataworth
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Column, Documents
from dataworth.methods.base import DROP, Context, Targets, utility_column, write_arrays


@dataworth.register
@dataclass(frozen=True)
class DistinctWords:
    """Different words for each word of a document; larger is better."""

    name: ClassVar[str] = "distinct_words"
    version: ClassVar[int] = 1
    least: float = dataworth.option(
        0.0, help="Documents with a smaller share are dropped.", minimum=0, maximum=1
    )

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> FittedDistinctWords:
        """Nothing is learned."""
        return FittedDistinctWords(self)

    @staticmethod
    def load(step: DistinctWords, folder: Path) -> FittedDistinctWords:
        """Return the fitted step again: nothing was learned."""
        return FittedDistinctWords(step)


class FittedDistinctWords:
    """The step, ready to use."""

    columns = (
        utility_column("distinct_words", "", "share"),
        Column(DROP, pa.string(), "reason", "distinct_words"),
    )

    def __init__(self, step: DistinctWords) -> None:
        self.step = step

    def annotate(self, documents: Documents) -> pa.RecordBatch:
        """Return the utility, and `drop`: null for what is kept."""
        words = [text.lower().split() for text in documents.texts()]
        shares = [len(set(found)) / max(len(found), 1) for found in words]
        reason = f"fewer than {self.step.least:g} of the words are different"
        drop = [reason if share < self.step.least else None for share in shares]
        arrays = [pa.array(shares, pa.float64()), pa.array(drop, pa.string())]
        return pa.RecordBatch.from_arrays(arrays, [column.name for column in self.columns])

    def save(self, folder: Path) -> None:
        """Write the options alone."""
        write_arrays(folder, asdict(self.step))
