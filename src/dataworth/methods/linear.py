"""The base of DSIR and its discriminative form: a weight for each hash bucket.

The utility of a document is the sum of the weights over its n-grams, or their mean, plus a bias.
A document without a word has none: it would get that of a document that is neither like the target
nor like the pool, which is better than most.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import Batch, Score, State, Step
from dataworth.methods.length import least_length
from dataworth.options import option

EMPTY = "without a word"

# The options of all steps with this form of utility.
ngrams_option = partial(option, 2, help="The longest n-gram (paper: 2).", minimum=1)
buckets_option = partial(
    option,
    10_000,
    help="Buckets that n-grams are hashed into (paper: 10,000).",
    minimum=2,
    maximum=2**32 - 1,
)
hash_option = partial(option, "fast", help='The hash; "sha256" gives the package\'s buckets.')
minimum_option = partial(
    option, 0, help="Documents of fewer tokens are dropped before, by `length`.", minimum=0
)
mechanism_option = partial(option, help="How to choose where nothing else is asked for.")


class LinearScore(Score):
    """Base of the steps whose utility is the sum, or the mean, of weights of hashed n-grams.

    The state holds `weights` float64 [buckets, targets] and `bias` float64 [targets]. The utility
    is a logarithm of odds: above 0, a document is rather of the target than of the pool.
    """

    reasons: ClassVar[tuple[str, ...]] = (EMPTY,)
    even: ClassVar[float | None] = 0.0

    @property
    @abstractmethod
    def mean(self) -> bool:
        """Tell if the sum is divided by the number of n-grams, so that length does not count."""

    @property
    @abstractmethod
    def feature(self) -> HashedNgrams:
        """The n-grams."""

    def _weights(self, state: State) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights and bias, for the buckets and targets that there are."""
        count = len(self.utility_names(state.targets))
        weights = state.array("weights", np.float64, (self.feature.buckets, count))
        return weights, state.array("bias", np.float64, (count,))

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return a utility for each target; none for a document without an n-gram."""
        weights, bias = self._weights(state)
        scores = self.feature.score(batch.documents, weights)
        values = scores.sums
        if self.mean:
            values = values / np.maximum(scores.grams, 1)[:, None]
        values = values + bias
        empty = scores.grams == 0
        if empty.any():
            values[empty] = np.nan
        return values

    def explain(self, text: str, column: str, state: State) -> list[tuple[str, float]]:
        """Return each n-gram's share, by falling size; with the bias they add up to the utility."""
        weights, bias = self._weights(state)
        target = self.number_of(column, state)
        grams = self.feature.grams(text)
        scale = 1.0 / max(len(grams), 1) if self.mean else 1.0
        shares = [
            (gram, count * scale * float(weights[bucket, target]))
            for (gram, bucket), count in Counter(grams).items()
        ]
        if bias[target]:
            shares.append(("(bias)", float(bias[target])))
        return sorted(shares, key=lambda share: (-abs(share[1]), share[0]))


class HashedScore(LinearScore):
    """Base of the steps of this form with the options `ngrams`, `buckets`, `tokens` and `hash`.

    Their `minimum` words decide what may be chosen, by a filter with a drop reason of its own; what
    is learned of the pool is with its short documents, as in DSIR's package.
    """

    ngrams: int
    buckets: int
    tokens: str
    hash: Literal["fast", "sha256"]
    minimum: int

    @property
    def feature(self) -> HashedNgrams:
        """The feature of these settings."""
        return HashedNgrams(self.ngrams, self.buckets, self.tokens, self.hash)

    @property
    def filters(self) -> tuple[Step, ...]:
        """The least length, as a filter before the step."""
        return least_length(self.minimum, self.tokens)
