"""Discriminative DSIR: the importance weight from a classifier of target against pool.

Xie et al. 2023, the ablation with a discriminative weight: log w = logit of the classifier's
probability, classes balanced. The specification marks the details as remembered, not checked; the
authors' classifier is fastText, ours a logistic regression on the shares of the same hashed
n-grams, so that both forms of the weight see the same feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import DataworthError, check_extra
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import Pool, Step, Targets
from dataworth.methods.length import least_length, tokens_option
from dataworth.methods.linear import (
    LinearScore,
    buckets_option,
    hash_option,
    mechanism_option,
    minimum_option,
    ngrams_option,
)
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class DiscriminativeDSIR(LinearScore):
    """Logit of a balanced logistic regression of each target against a sample of the pool."""

    name: ClassVar[str] = "dsir_discriminative"
    unit = "nats"
    mean = True  # the regression is on shares of n-grams; its logit is of the whole document
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    ngrams: int = ngrams_option()
    buckets: int = buckets_option()
    tokens: str = tokens_option()
    hash: Literal["fast", "sha256"] = hash_option()
    strength: float = option(
        1.0,
        help="Inverse strength of the L2 penalty on the weights, on shares of n-grams scaled by "
        "the square root of the number of buckets.",
        above=0,
    )
    documents: int = option(20_000, help="Documents of the pool's sample, at most.", minimum=1)
    minimum: int = minimum_option()
    mechanism: str = mechanism_option("gumbel_top_k(temperature=auto)")

    def __post_init__(self) -> None:
        HashedNgrams(self.ngrams, self.buckets, self.tokens, self.hash)

    @property
    def feature(self) -> HashedNgrams:
        """The feature of these settings."""
        return HashedNgrams(self.ngrams, self.buckets, self.tokens, self.hash)

    @property
    def filters(self) -> tuple[Step, ...]:
        """The least length, as a filter with a drop reason of its own."""
        return least_length(self.minimum, self.tokens)

    def check(self) -> None:
        """Raise MissingExtra without the extra classify."""
        check_extra(self.name, "classify")

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Train one classifier a target; needs the extra `classify`."""
        sample = pool.sample(self.documents)
        if not len(sample):
            raise DataworthError(
                "dsir_discriminative: the sample of the pool has no document to learn from; see "
                "the drop reasons, or split giant documents (--split-words)"
            )
        negatives = self._shares(sample)
        weights = np.empty((self.buckets, len(targets.names)))
        bias = np.empty(len(targets.names))
        for t, name in enumerate(targets.names):
            weights[:, t], bias[t] = self._train(self._shares(targets.fit[name]), negatives)
        return {"weights": weights, "bias": bias}

    def _shares(self, documents: Documents) -> Any:
        """Each document's share of n-grams in each bucket: sparse [n, buckets]."""
        check_extra(self.name, "classify")
        from scipy.sparse import csr_matrix

        spans, ids = self.feature.rows(documents)
        grams = np.diff(spans)
        values = np.repeat(1.0 / np.maximum(grams, 1), grams)
        shape = (len(documents), self.buckets)
        matrix = csr_matrix((values, ids.astype(np.int64), spans), shape=shape)
        matrix.sum_duplicates()
        return matrix

    def _train(self, positives: Any, negatives: Any) -> tuple[NDArray[np.float64], float]:
        from scipy.sparse import vstack
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        scale = np.sqrt(self.buckets)
        model = LogisticRegression(C=self.strength, class_weight="balanced", max_iter=1000)
        labels = np.repeat([1, 0], [positives.shape[0], negatives.shape[0]])
        # One thread: sums are the same on any machine's number of cores, and faster on a busy one.
        with threadpool_limits(1):
            model.fit(vstack([positives, negatives]) * scale, labels)
        return model.coef_[0] * scale, float(model.intercept_[0])
