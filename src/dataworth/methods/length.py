"""Filters by length: documents that are too short or too long are dropped, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from dataworth.corpus.documents import Column
from dataworth.errors import ConfigError
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import DROP, Batch, Pool, State, Targets, drop_column
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

    @property
    def reasons(self) -> tuple[str, str]:
        """The two reasons to drop a document: too short, too long."""
        return f"shorter than {self.minimum} words", f"longer than {self.maximum} words"

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop`."""
        return (drop_column(self.name),)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Learn nothing."""
        return {}

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return `drop`."""
        words = HashedNgrams(tokens=self.tokens).lengths(batch.documents)
        long = words > self.maximum if self.maximum is not None else np.zeros(len(words), np.bool_)
        return {DROP: np.where(words < self.minimum, 1, 2 * long).astype(np.uint8)}


def least_length(minimum: int, tokens: str) -> tuple[Length, ...]:
    """Return the filter that a method with a least length of `minimum` tokens wants before it."""
    return (Length(minimum, tokens=tokens),) if minimum else ()
