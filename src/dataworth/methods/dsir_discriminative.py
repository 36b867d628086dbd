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

from dataworth.features.ngrams import HashedNgrams
from dataworth.features.ngrams.logistic import Shares, balanced, train_logistic
from dataworth.methods.base import Pool, Targets
from dataworth.methods.classes import negatives_option, two_classes
from dataworth.methods.length import tokens_option
from dataworth.methods.linear import (
    HashedScore,
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
class DiscriminativeDSIR(HashedScore):
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
    documents: int = negatives_option()
    minimum: int = minimum_option()
    mechanism: str = mechanism_option("gumbel_top_k(temperature=auto)")

    def __post_init__(self) -> None:
        HashedNgrams(self.ngrams, self.buckets, self.tokens, self.hash)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Train one classifier a target. DataworthError where the pool has no other document."""
        weights = np.empty((self.buckets + 1, len(targets.names)))
        for t, name in enumerate(targets.names):
            documents, labels = two_classes(self.name, pool, targets, name, self.documents)
            rows = Shares.of(self.feature, documents)
            penalty = 1 / (self.strength * self.buckets)
            weights[:, t] = train_logistic(rows, labels, balanced(labels), penalty)
        return {"weights": weights[:-1].copy(), "bias": weights[-1].copy()}
