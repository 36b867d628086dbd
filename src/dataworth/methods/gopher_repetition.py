"""Gopher's rules of repetition: duplicate lines and paragraphs, frequent and repeated n-grams.

Rae et al. 2021, arXiv 2112.11446, table A1, as datatrove 0.10 applies them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.features.rules.repetition import NAMES, repetition
from dataworth.methods.rules import Rule, Rules
from dataworth.options import option
from dataworth.registry import register

_TOP, _REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)


@register
@dataclass(frozen=True)
class GopherRepetition(Rules):
    """Keep documents that repeat themselves little; shares are of the text's characters."""

    name: ClassVar[str] = "gopher_repetition"
    version: ClassVar[int] = 1
    numbers: ClassVar[tuple[str, ...]] = (
        *NAMES,
        *(f"top_{n}" for n in _TOP),
        *(f"repeated_{n}" for n in _REPEATED),
    )
    paragraphs: float = option(0.3, help="Most paragraphs that were there before.", minimum=0)
    paragraph_characters: float = option(0.2, help="Most of the text in these.", minimum=0)
    lines: float = option(0.3, help="Most lines that were there before.", minimum=0)
    line_characters: float = option(0.2, help="Most of the text in these.", minimum=0)
    top: tuple[float, ...] = option(
        (0.2, 0.18, 0.16),
        help="Most of the text in its most frequent 2-gram, 3-gram and 4-gram.",
        minimum=0,
    )
    repeated: tuple[float, ...] = option(
        (0.15, 0.14, 0.13, 0.12, 0.11, 0.1),
        help="Most of the text in n-grams that were there before, of 5 words, then of 6, to 10.",
        minimum=0,
    )

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in the order of the published filter; of shorter tuples, fewer."""
        named = zip((*_TOP[: len(self.top)],), self.top, strict=False)
        grams = [Rule(f"{n}-gram too frequent", 2 + n, most=most) for n, most in named]
        named = zip(_REPEATED[: len(self.repeated)], self.repeated, strict=False)
        grams += [Rule(f"{n}-grams repeated", 2 + n, most=most) for n, most in named]
        return (
            Rule("paragraphs repeated", 0, most=self.paragraphs, without=True),
            Rule("paragraphs repeated, by characters", 1, most=self.paragraph_characters),
            Rule("lines repeated", 2, most=self.lines),
            Rule("lines repeated, by characters", 3, most=self.line_characters),
            *grams,
        )

    def measure(self, documents: Documents) -> NDArray[np.float64]:
        """Return the numbers of each document."""
        return repetition(documents, _TOP, _REPEATED)
