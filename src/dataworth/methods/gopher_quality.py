"""Gopher's rules of quality: lengths, symbols, bullets, ellipses, letters and stop words.

Rae et al. 2021, arXiv 2112.11446, section A.1.1, as datatrove 0.10 applies them: words are those of
spaCy's English tokenizer, and words of signs alone count in the denominators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.features.rules.quality import NAMES, quality
from dataworth.methods.rules import Rule, Rules
from dataworth.options import option
from dataworth.registry import register

_MOST_STOP_WORDS = 64


@register
@dataclass(frozen=True)
class GopherQuality(Rules):
    """Keep documents that pass Gopher's rules of quality.

    Stop words count once each; RefinedWeb and DCLM count every occurrence (`distinct=False`).
    """

    name: ClassVar[str] = "gopher_quality"
    version: ClassVar[int] = 1
    numbers: ClassVar[tuple[str, ...]] = NAMES
    least_words: int = option(50, help="Of fewer words: dropped.", minimum=0)
    most_words: int = option(100_000, help="Of more words: dropped.", minimum=1)
    least_mean: float = option(3.0, help="Least mean length of words, in characters.", minimum=0)
    most_mean: float = option(10.0, help="Greatest mean length of words.", minimum=0)
    symbols: float = option(0.1, help="Most hash signs, and most ellipses, per word.", minimum=0)
    bullets: float = option(0.9, help="Most lines that begin with a bullet.", minimum=0)
    ellipsis_lines: float = option(0.3, help="Most lines that end in an ellipsis.", minimum=0)
    alphabetic: float = option(0.8, help="Least share of words with a letter.", minimum=0)
    stop_words: tuple[str, ...] = option(
        ("the", "be", "to", "of", "and", "that", "have", "with"), help="In this case."
    )
    least_stop_words: int = option(2, help="Of fewer stop words: dropped.", minimum=0)
    distinct: bool = option(True, help="Count each stop word once.")

    def __post_init__(self) -> None:
        if len(self.stop_words) > _MOST_STOP_WORDS:
            raise ConfigError(
                f"{self.name}: stop_words holds {len(self.stop_words)} words; at most "
                f"{_MOST_STOP_WORDS}"
            )

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in the order of the published filter."""
        return (
            Rule("too few words", 0, least=self.least_words),
            Rule("too many words", 0, most=self.most_words),
            Rule("words too short", 1, least=self.least_mean),
            Rule("words too long", 1, most=self.most_mean),
            Rule("too many hash signs", 2, most=self.symbols),
            Rule("too many ellipses", 3, most=self.symbols),
            Rule("too many bullets", 4, most=self.bullets),
            Rule("too many lines end in an ellipsis", 5, most=self.ellipsis_lines),
            Rule("too few words with letters", 6, least=self.alphabetic),
            Rule(
                "too few stop words",
                7 if self.distinct else 8,
                least=self.least_stop_words,
                english=True,
            ),
        )

    def measure(self, documents: Documents) -> NDArray[np.float64]:
        """Return the numbers of each document."""
        return quality(documents, self.stop_words)
