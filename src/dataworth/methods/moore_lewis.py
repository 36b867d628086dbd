"""Moore-Lewis: cross-entropy under an n-gram model of the pool minus that under the target's.

Moore and Lewis, "Intelligent Selection of Language Model Training Data", ACL 2010: both models
have the target's vocabulary, of words that it has twice, and the pool's is fitted on as much text
as the target has. The paper's selection takes the lowest difference target minus pool; ours is its
negative, so that larger is better. The order of 4 is as the paper is remembered, not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import DataworthError
from dataworth.features.ngram_lm.fitting import fit_ngram_model
from dataworth.features.ngram_lm.model import NgramModel
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.methods.length import tokens_option
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class MooreLewis(Score):
    """Nats per word that the target's model saves against the pool's, ends of lines counted."""

    name: ClassVar[str] = "moore_lewis"
    unit = "nats per word"
    even: ClassVar[float | None] = 0.0
    mechanism: ClassVar[str] = "top_k"
    reasons: ClassVar[tuple[str, ...]] = ("without a word",)
    ngrams: int = option(4, help="The longest n-gram.", minimum=1)
    tokens: str = tokens_option()
    least: int = option(
        2, help="Words that the target has less often count as unknown (paper: 2).", minimum=1
    )

    def __post_init__(self) -> None:
        HashedNgrams(1, 2, self.tokens)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Fit two models for each target. DataworthError for a target or pool without a word."""
        learned: dict[str, Any] = {}
        sample = pool.sample()
        words = np.cumsum(HashedNgrams(1, 2, self.tokens).lengths(sample))
        if not len(words) or not words[-1]:
            raise DataworthError(f"{self.name}: no document of the pool's sample has a word")
        for t, name in enumerate(targets.names):
            inside, size = self._target(targets.fit[name], name)
            few = sample.take(np.arange(min(int(np.searchsorted(words, size)) + 1, len(sample))))
            outside = fit_ngram_model(few, self.ngrams, self.tokens, like=inside)
            learned |= inside.arrays(f"inside{t}") | outside.arrays(f"outside{t}")
        return learned

    def _target(self, documents: Documents, name: str) -> tuple[NgramModel, int]:
        """The model of a target, and how many words it has."""
        size = int(HashedNgrams(1, 2, self.tokens).lengths(documents).sum())
        if not size:
            raise DataworthError(f"{self.name}: the target {name!r} has no word in it")
        model = fit_ngram_model(documents, self.ngrams, self.tokens, minimum=self.least)
        return model, size

    def _models(self, state: State) -> list[tuple[NgramModel, NgramModel]]:
        """The models inside and outside, for each target."""

        def read() -> list[tuple[NgramModel, NgramModel]]:
            both = ("inside", "outside")
            numbers = range(len(state.targets))
            found = [
                [NgramModel.read(state.array, self.tokens, f"{one}{t}") for one in both]
                for t in numbers
            ]
            return [(inside, outside) for inside, outside in found]

        return state.once("models", read)

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the utilities [n, targets]."""
        saved = [
            outside.score(batch.documents).nats - inside.score(batch.documents).nats
            for inside, outside in self._models(state)
        ]
        return np.stack(saved, 1)

    def explain(self, text: str, column: str, state: State) -> list[tuple[str, float]]:
        """Return what each word saves, by falling size; they add up to the utility."""
        inside, outside = self._models(state)[self.number_of(column, state)]
        pairs = list(zip(inside.explain(text), outside.explain(text), strict=True))
        shares: dict[str, float] = {}
        for (word, near), (_, far) in pairs:
            shares[word] = shares.get(word, 0.0) + (near - far) * np.log(10) / len(pairs)
        return sorted(shares.items(), key=lambda share: (-abs(share[1]), share[0]))
