"""Moore-Lewis: cross-entropy under an n-gram model of the pool minus that under the target's.

Moore and Lewis, "Intelligent Selection of Language Model Training Data", ACL 2010: both models
have the target's vocabulary, of words that it has twice, and the pool's is fitted on as much text
as the target has. The paper's selection takes the lowest difference target minus pool; ours is its
negative, so that larger is better. The order of 4 is as the paper is remembered, not checked. Ours
is that no document meets a pool's model that was fitted on it: there are two, of documents of
either half by a hash of their uid, and a document is scored by that of the other half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.errors import DataworthError
from dataworth.features.ngram_lm.fitting import fit_ngram_model
from dataworth.features.ngram_lm.model import NgramModel
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.methods.length import tokens_option
from dataworth.options import option
from dataworth.registry import register

_HALF = 0x68616C66  # the stream of `hash_uid`


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
        words = HashedNgrams(1, 2, self.tokens).lengths(sample)
        if not words.any():
            raise DataworthError(f"{self.name}: no document of the pool's sample has a word")
        half = _half(sample)
        for t, name in enumerate(targets.names):
            inside, size = self._target(targets.fit[name], name)
            learned |= inside.arrays(f"inside{t}")
            for own in (0, 1):
                others = np.flatnonzero(half != own)
                if not words[others].any():
                    others = np.arange(len(sample))
                enough = int(np.searchsorted(np.cumsum(words[others]), size)) + 1
                few = sample.take(others[:enough])
                outside = fit_ngram_model(few, self.ngrams, self.tokens, like=inside)
                learned |= outside.arrays(f"outside{t}_{own}")
        return learned

    def _target(self, documents: Documents, name: str) -> tuple[NgramModel, int]:
        """Return the model of a target, and how many words it has."""
        size = int(HashedNgrams(1, 2, self.tokens).lengths(documents).sum())
        if not size:
            raise DataworthError(f"{self.name}: the target {name!r} has no word in it")
        model = fit_ngram_model(documents, self.ngrams, self.tokens, minimum=self.least)
        return model, size

    def _models(self, state: State) -> list[list[NgramModel]]:
        """For each target: its model, and the pool's for either half."""

        def read() -> list[list[NgramModel]]:
            return [
                [
                    NgramModel.read(state.array, self.tokens, name)
                    for name in (f"inside{t}", f"outside{t}_0", f"outside{t}_1")
                ]
                for t in range(len(state.targets))
            ]

        return state.once("models", read)

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the utilities [n, targets]."""
        documents = batch.documents
        half = _half(documents)
        saved = np.empty((len(documents), len(state.targets)))
        for t, (inside, *outside) in enumerate(self._models(state)):
            saved[:, t] = -inside.score(documents).nats
            for own in (0, 1):
                rows = np.flatnonzero(half == own)
                saved[rows, t] += outside[own].score(documents.take(rows)).nats
        return saved

    def explain(self, text: str, column: str, state: State) -> list[tuple[str, float]]:
        """Return what each word saves, by falling size; they add up to the utility."""
        inside, *outside = self._models(state)[self.number_of(column, state)]
        far = outside[int(_half(Documents.from_texts([text]))[0])].explain(text)
        shares: dict[str, float] = {}
        for (word, near), (_, log) in zip(inside.explain(text), far, strict=True):
            shares[word] = shares.get(word, 0.0) + (near - log) * np.log(10) / len(far)
        return sorted(shares.items(), key=lambda share: (-abs(share[1]), share[0]))


def _half(documents: Documents) -> NDArray[np.int64]:
    """Return the half of the pool that each document is in, 0 or 1, by the hash of its uid."""
    return (hash_uid(0, documents.uid, _HALF) & np.uint64(1)).astype(np.int64)
