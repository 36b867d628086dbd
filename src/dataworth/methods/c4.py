"""C4's rules: lines that count, sentences in them, and signs of code and filler.

Raffel et al. 2019, arXiv 1910.10683, section 2.2, as datatrove 0.10 applies them. Departure: a kept
document is its own bytes. Lines that C4 removes are not removed here; they only do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.features.rules.lines import COUNTED_LINES, counted_lines
from dataworth.methods.rules import Rule, Rules
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class C4(Rules):
    """Keep documents with enough sentences in lines that count, and without marks of code.

    FineWeb leaves out the rule about ends of lines (`line_ends=False`).
    """

    name: ClassVar[str] = "c4"
    version: ClassVar[int] = 1
    numbers: ClassVar[tuple[str, ...]] = COUNTED_LINES
    line_ends: bool = option(True, help="Count only lines that end a sentence or a quotation.")
    sentences: int = option(5, help="Of fewer sentences in these lines: dropped.", minimum=0)
    line_words: int = option(3, help="Lines of fewer words do not count.", minimum=0)
    longest_word: int = option(
        1000, help="Lines with a longer word do not count; 0: all do.", minimum=0
    )
    citations: bool = option(True, help="Look over marks such as [12] and [edit].")
    lorem_ipsum: bool = option(True, help='Drop a document with "lorem ipsum".')
    javascript: bool = option(True, help="Lines that speak of JavaScript do not count.")
    curly_bracket: bool = option(True, help="Drop a document with a curly bracket.")
    policies: bool = option(True, help="Lines about cookies, terms or privacy do not count.")

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in the order of the published filter."""
        rules = [Rule("lorem ipsum", 0, most=0)] if self.lorem_ipsum else []
        rules += [Rule("curly bracket", 1, most=0)] if self.curly_bracket else []
        return (*rules, Rule("too few sentences", 2, least=self.sentences))

    def measure(self, documents: Documents) -> NDArray[np.float64]:
        """Return the numbers of each document."""
        return counted_lines(
            documents,
            longest_word=self.longest_word,
            least_words=self.line_words,
            citations=self.citations,
            line_ends=self.line_ends,
            javascript=self.javascript,
            policies=self.policies,
        )
