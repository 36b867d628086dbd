"""RefinedWeb's rule of cleaning: a document of which much would be cleaned away is dropped.

Penedo et al. 2023, arXiv 2306.01116, appendix G.2, as remembered, and DCLM's reproduction of it
(Li et al. 2024, arXiv 2406.11794). Lines are not removed here: a kept document is its own bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.features.rules.cleaning import cleaned
from dataworth.methods.rules import Rule, Rules
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class RefinedWeb(Rules):
    """Keep documents of which line-by-line cleaning would remove few words.

    Cleaned away are lines of one word, mainly of capitals, of numbers alone, counters ("3 likes"),
    and short ones that begin with "sign-in", end in "read more..." or hold "items in cart".
    """

    name: ClassVar[str] = "refinedweb"
    version: ClassVar[int] = 1
    numbers: ClassVar[tuple[str, ...]] = ("words_removed",)
    removed: float = option(0.05, help="Most words in lines that are cleaned away.", minimum=0)
    short: int = option(10, help="A line of at most so many words is short.", minimum=0)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rule."""
        return (Rule("too much to clean", 0, most=self.removed),)

    def measure(self, documents: Documents) -> NDArray[np.float64]:
        """Return the numbers of each document."""
        return cleaned(documents, self.short)
