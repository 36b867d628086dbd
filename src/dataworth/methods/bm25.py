"""BM25: how well a document answers the target's texts as a search engine would say.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009. A baseline:
what a method that looks at gradients finds has to be better than what has the same words.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import DataworthError
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.methods.length import tokens_option
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class BM25(Score):
    """The mean BM25 score of a document for the target's texts, each of them a query.

    The rarity of a word, and the mean length, are those of the pool's random sample. A query counts
    each of its words once.
    """

    name: ClassVar[str] = "bm25"
    unit = "BM25"
    reasons: ClassVar[tuple[str, ...]] = ("without a word",)
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    k1: float = option(1.2, help="How soon more of a word counts no more.", minimum=0)
    b: float = option(
        0.75, help="How far a document's length is held against it.", minimum=0, maximum=1
    )
    buckets: int = option(
        1 << 20, help="Buckets that words are hashed into.", minimum=2, maximum=2**32 - 1
    )
    tokens: str = tokens_option()

    def __post_init__(self) -> None:
        HashedNgrams(1, self.buckets, self.tokens)

    @property
    def feature(self) -> HashedNgrams:
        """Words, hashed."""
        return HashedNgrams(1, self.buckets, self.tokens)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Weigh each word for each target. DataworthError for a target or pool without a word."""
        sample = pool.sample()
        lengths = self.feature.lengths(sample)
        if not lengths.any():
            raise DataworthError(f"{self.name}: no document of the pool's sample has a word")
        held = np.bincount(_different(self.feature, sample)[1], minlength=self.buckets)
        # Never below 0, as in Lucene.
        rarity = np.log1p((len(sample) - held + 0.5) / (held + 0.5))
        weights = np.empty((len(targets.names), self.buckets), np.float32)
        for row, name in enumerate(targets.names):
            queries = targets.fit[name]
            counts = np.bincount(_different(self.feature, queries)[1], minlength=self.buckets)
            if not counts.any():
                raise DataworthError(f"{self.name}: the target {name!r} has no word in it")
            weights[row] = rarity * counts / len(queries)
        rows, columns = np.nonzero(weights)  # the weights that are not 0
        return {
            "row": rows,
            "bucket": columns,
            "weight": weights[rows, columns],
            "mean_length": float(lengths.mean()),
        }

    def _weights(self, state: State) -> NDArray[np.float64]:
        """Return the weights of each target's words, [targets, buckets]."""

        def dense() -> NDArray[np.float64]:
            row, bucket = (state.array(name, np.int64, (None,)) for name in ("row", "bucket"))
            weight = state.array("weight", np.float32, (len(row),))
            weights = np.zeros((len(state.targets), self.buckets))
            weights[row, bucket] = weight
            return weights

        return state.once("weights", dense)

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return a utility for each target; none for a document without a word."""
        n = len(batch)
        row, bucket, often = _different(self.feature, batch.documents)
        lengths = _sums(row, often, n)
        full = self.k1 * (1 - self.b + self.b * lengths / state["mean_length"])
        saturated = often * (self.k1 + 1) / (often + full[row])
        scores = [_sums(row, saturated * weights[bucket], n) for weights in self._weights(state)]
        return np.where((lengths == 0)[:, None], np.nan, np.stack(scores, 1))

    def explain(self, text: str, column: str, state: State) -> list[tuple[str, float]]:
        """Return each word's part of the utility, by falling size; they add up to it."""
        weights = self._weights(state)[self.number_of(column, state)]
        grams = self.feature.grams(text)
        buckets = dict(grams)
        full = self.k1 * (1 - self.b + self.b * len(grams) / state["mean_length"])
        shares = [
            (word, often * (self.k1 + 1) / (often + full) * float(weights[buckets[word]]))
            for word, often in Counter(word for word, _ in grams).items()
        ]
        return sorted(shares, key=lambda share: (-abs(share[1]), share[0]))


def _different(
    feature: HashedNgrams, documents: Documents
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the different words of each document: (row, bucket, how often), int64 [k], by row."""
    spans, buckets = feature.rows(documents)
    row = np.repeat(np.arange(len(documents), dtype=np.int64), np.diff(spans))
    keys, counts = np.unique(row * feature.buckets + buckets, return_counts=True)
    return keys // feature.buckets, keys % feature.buckets, counts


def _sums(row: NDArray[np.int64], values: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Return the sum of each row's values, float64 [n]; of no value, bincount makes integers."""
    return np.bincount(row, values, n).astype(np.float64, copy=False)
