"""Distinct words: the share of a text's words that are different; repetitive text has a low one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

import dataworth
from dataworth.methods.base import Batch, Score, State


@dataworth.register
@dataclass(frozen=True)
class DistinctWords(Score):
    """Different words for each word of a document; larger is better."""

    name: ClassVar[str] = "distinct_words"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    mechanism: ClassVar[str] = "top_k"
    reasons: ClassVar[tuple[str, ...]] = ("too few different words",)
    unit = "share"
    least: float = dataworth.option(
        0.0, help="Documents with a smaller share are dropped.", minimum=0, maximum=1
    )

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the share of each document's words that are different, [n, 1]."""
        texts = [text.lower().split() for text in batch.documents.texts()]
        shares = np.array([len(set(words)) / max(len(words), 1) for words in texts])
        return np.where(shares < self.least, np.nan, shares)[:, None]
