"""BETR: documents ranked by likeness to benchmark examples, the ranking taught to a classifier.

Mizrahi et al. 2025, "Language models improve when pretraining data matches target tasks",
arXiv 2507.12466. The target's examples and a sample of the pool are embedded; for each example the
sample's documents are ranked by cosine; a document's score is its best rank (`aggregate=max`) or
the mean of its ranks; the top share of the sample are the positives of a classifier on word
n-grams, the rest its negatives, and the classifier scores the pool.

No code is public. Ranks, the maximum as the default, the share of 10 % and word bigrams are
remembered, not checked. Departures: the classifier is a logistic regression on the shares of hashed
n-grams instead of fastText; documents of one best rank go by their cosine; the encoder is the
default embedding instead of Arctic-Embed-L v2; each target has a utility of its own, so benchmarks
weigh alike however many examples they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import DataworthError
from dataworth.features.embeddings import Vectors, unit_rows
from dataworth.features.ngrams import HashedNgrams
from dataworth.features.ngrams.logistic import Shares, balanced, train_logistic
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.methods.embedded import Embedded
from dataworth.methods.linear import EMPTY, ngrams_option
from dataworth.options import option
from dataworth.registry import register

_HELD_OUT = 20  # every so many documents of the sample are not trained on
_BLOCK = 64  # examples that are compared with the sample at once


@register
@dataclass(frozen=True)
class BETR(Embedded, Score):
    """Log odds of being among the documents most like the target's examples."""

    name: ClassVar[str] = "betr"
    version: ClassVar[int] = 1
    unit = "nats"
    reasons: ClassVar[tuple[str, ...]] = (EMPTY,)
    even: ClassVar[float | None] = 0.0
    aggregate: Literal["max", "mean"] = option(
        "max", help="Over the target's examples: the best counts, or all alike."
    )
    normalise: Literal["rank", "cosine"] = option(
        "rank", help="What is aggregated: the document's rank for the example, or its cosine."
    )
    top: float = option(
        0.1, help="Share of the sample that are positives (paper: 0.1).", above=0, maximum=0.5
    )
    documents: int = option(20_000, help="Documents of the pool's sample, at most.", minimum=2)
    examples: int = option(10_000, help="Examples of a target, the first of it.", minimum=1)
    ngrams: int = ngrams_option()
    buckets: int = option(
        2**16, help="Buckets that n-grams are hashed into.", minimum=2, maximum=2**32 - 1
    )
    penalty: float = option(
        1.0, help="Of the classifier: L2, on shares scaled by the root of `buckets`.", above=0
    )

    @property
    def words(self) -> HashedNgrams:
        """The classifier's n-grams."""
        return HashedNgrams(self.ngrams, self.buckets)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Rank the sample and train a classifier for each target.

        `agreement`: how well the classifier repeats the ranking on documents held out of it.
        """
        sample = pool.sample(self.documents)
        if len(sample) < 2:
            raise DataworthError(
                f"{self.name}: the sample of the pool has {len(sample)} documents to rank, and "
                "needs two; see the drop reasons, or split giant documents (--split-words)"
            )
        embedded = self.embed(sample)
        mean = self.learn_mean(embedded)["mean"]
        vectors = unit_rows(embedded - mean)
        shares = Shares.of(self.words, sample)
        weights = np.empty((self.buckets + 1, len(targets.names)))
        agreement = {}
        for t, name in enumerate(targets.names):
            examples = targets.fit[name]
            examples = examples.take(np.arange(min(len(examples), self.examples)))
            ranked = self._ranked(vectors, unit_rows(self.embed(examples) - mean))
            weights[:, t], agreement[name] = self._taught(shares, ranked)
        return {"weights": weights, "agreement": agreement}

    def _ranked(self, vectors: Vectors, examples: Vectors) -> NDArray[np.int64]:
        """Return the place of each document in the ranking, 0 for the best, [n]."""
        score, nearness = rank_scores(vectors, examples, self.aggregate, self.normalise)
        place = np.empty(len(score), np.int64)
        place[np.lexsort((-nearness, -score))] = np.arange(len(score))
        return place

    def _taught(
        self, shares: Shares, place: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], dict[str, float]]:
        labels = place < max(1, round(self.top * len(place)))
        kept = np.ones(len(place), np.bool_)
        if len(place) >= 5 * _HELD_OUT:
            kept[::_HELD_OUT] = False
        rows = np.flatnonzero(kept)
        own = labels[rows]
        weights = train_logistic(shares.take(rows), own, balanced(own), self.penalty / self.buckets)
        out = np.flatnonzero(~kept)
        if not len(out):
            return weights, {}
        logits = shares.take(out).times(weights)
        agreement = {"documents": float(len(out)), "spearman": _spearman(logits, -place[out])}
        if 0 < labels[out].sum() < len(out):
            agreement["auc"] = _auc(logits, labels[out])
        return weights, agreement

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return a utility for each target; none for a document without an n-gram."""
        shape = (self.buckets + 1, len(state.targets))
        weights = state.array("weights", np.float64, shape)
        documents: Documents = batch.documents
        scores = self.words.score(documents, np.ascontiguousarray(weights[:-1]))
        values: NDArray[np.float64] = (
            scores.sums / np.maximum(scores.grams, 1)[:, None] + weights[-1]
        )
        values[scores.grams == 0] = np.nan
        return values


def rank_scores(
    vectors: Vectors, examples: Vectors, aggregate: str, normalise: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the score of each document, [n], larger is better, and its cosine, aggregated alike.

    Parameters
    ----------
    vectors, examples
        Unit rows, [n, d] and [m, d].
    aggregate
        "max" or "mean" over the examples.
    normalise
        "rank": the score is minus the rank, 1 for the document nearest to the example, the mean of
        the ranks where cosines are equal. "cosine": the score is the cosine.
    """
    together = np.maximum if aggregate == "max" else np.add
    start = -np.inf if aggregate == "max" else 0.0
    score, nearness = np.full(len(vectors), start), np.full(len(vectors), start)
    for first in range(0, len(examples), _BLOCK):
        cosines = (examples[first : first + _BLOCK] @ vectors.T).astype(np.float64)
        for cosine in np.round(cosines, 6):
            together(nearness, cosine, out=nearness)
            if normalise == "rank":
                together(score, -mean_ranks(-cosine), out=score)
    share = len(examples) if aggregate == "mean" else 1
    nearness /= share
    return (score / share if normalise == "rank" else nearness), nearness


def mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1, the least first; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)


def _spearman(left: NDArray[np.float64], right: NDArray[Any]) -> float:
    first, second = (mean_ranks(np.asarray(side, np.float64)) for side in (left, right))
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / max(np.sqrt((first @ first) * (second @ second)), 1e-12))


def _auc(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    above = mean_ranks(logits)[labels].sum() - labels.sum() * (labels.sum() + 1) / 2
    return float(above / (labels.sum() * (~labels).sum()))
