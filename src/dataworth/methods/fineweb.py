"""FineWeb's own rules: ends of lines, short lines, repeated lines, lists.

Penedo et al. 2024, arXiv 2406.17557, section 3.6, as datatrove 0.10 applies them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.features.rules.lines import LINE_SHARES, line_shares
from dataworth.methods.rules import Rule, Rules
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class FineWeb(Rules):
    """Keep documents whose lines look like those of running text."""

    name: ClassVar[str] = "fineweb"
    version: ClassVar[int] = 1
    numbers: ClassVar[tuple[str, ...]] = LINE_SHARES
    line_ends: float = option(
        0.12, help="Least share of lines that end in a mark that ends a sentence.", minimum=0
    )
    short: int = option(30, help="A line of at most so many characters is short.", minimum=0)
    short_lines: float = option(0.67, help="Most lines that are short.", minimum=0)
    repeated_lines: float = option(
        0.01, help="Most of the characters in lines that were there before.", minimum=0
    )
    line_feeds: float = option(0.3, help="Most line feeds per word.", minimum=0)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in the order of the published filter."""
        return (
            Rule("too few lines end a sentence", 0, least=self.line_ends, without=True),
            Rule("too many short lines", 1, most=self.short_lines),
            Rule("lines repeated", 2, most=self.repeated_lines),
            Rule("too many line feeds", 3, most=self.line_feeds),
        )

    def measure(self, documents: Documents) -> NDArray[np.float64]:
        """Return the numbers of each document."""
        return line_shares(documents, self.short)
