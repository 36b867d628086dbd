"""Filters by length: documents that are too short or too long are dropped, with the reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Column, Documents
from dataworth.errors import ConfigError
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import DROP, Context, Targets, write_arrays
from dataworth.options import option
from dataworth.registry import register

tokens_option = partial(
    option,
    "wordpunct",
    help='What is a word: of the lower-cased text "wordpunct" (runs of word characters or of '
    'punctuation), "mixed" (the same, but a character of a script without spaces is one) or '
    '"characters"; or the path of a tokenizer.json.',
    content=True,
)


@register
@dataclass(frozen=True)
class Length:
    """Keep documents of `minimum` to `maximum` words.

    A least length of 100 is the filter of DSIR's reference package, which its authors call the part
    of their quality filter that matters most.
    """

    name: ClassVar[str] = "length"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    minimum: int = option(1, help="Shorter documents are dropped.", minimum=0)
    maximum: int | None = option(None, help="Longer documents are dropped.", minimum=0)
    tokens: str = tokens_option()

    def __post_init__(self) -> None:
        if self.maximum is not None and self.maximum < self.minimum:
            raise ConfigError(
                f"length: minimum={self.minimum} and maximum={self.maximum} leave no document"
            )
        HashedNgrams(tokens=self.tokens)

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> FittedLength:
        """Nothing is learned."""
        return FittedLength(self)

    @staticmethod
    def load(step: Length, folder: Path) -> FittedLength:
        """The fitted step again: nothing was learned."""
        return FittedLength(step)


def least_length(minimum: int, tokens: str) -> tuple[Length, ...]:
    """The filter that a method with a least length of `minimum` tokens wants before it."""
    return (Length(minimum, tokens=tokens),) if minimum else ()


class FittedLength:
    """The filter, ready to use."""

    columns = (Column(DROP, pa.string(), "reason", "length"),)

    def __init__(self, step: Length) -> None:
        self.step = step
        self._feature = HashedNgrams(tokens=step.tokens)

    def annotate(self, documents: Documents) -> pa.RecordBatch:
        """Column `drop`: null for what is kept."""
        step = self.step
        words = self._feature.lengths(documents)
        short = words < step.minimum
        long = words > (step.maximum if step.maximum is not None else np.iinfo(np.int64).max)
        codes = pa.array(np.where(short, 0, 1), pa.int32(), mask=~(short | long))
        reasons = pa.array(
            [f"shorter than {step.minimum} words", f"longer than {step.maximum} words"]
        )
        drop = pa.DictionaryArray.from_arrays(codes, reasons).cast(pa.string())
        return pa.RecordBatch.from_arrays([drop], [DROP])

    def save(self, folder: Path) -> None:
        """Settings alone."""
        write_arrays(folder, asdict(self.step))
