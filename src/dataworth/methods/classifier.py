"""Quality classifier: the log odds that a document is of the target and not of the pool.

As the filters of GPT-3 (Brown et al. 2020, appendix A) and of the DSIR paper's baseline (Xie et al.
2023, "heuristic classification"): a linear classifier on hashed n-grams, of the target's documents
against a random sample of the pool. Ours is a logistic regression on shares of n-grams, balanced,
whose optimum is found to a tolerance; its logit is calibrated by Platt's method on documents held
out of the training. So it is the logarithm of the ratio of the densities of target and pool, as far
as a linear function of the shares can be.

Departures: the penalty of a bucket is in proportion to its share of n-grams, smoothed by a bucket's
mean share, which measures better than one penalty for all (docs/methods/classifier.md) and needs
half the passes; the details of GPT-3's classifier are remembered, not checked.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.features.ngrams import HashedNgrams
from dataworth.features.ngrams.logistic import Shares, balanced, calibrate, train_logistic
from dataworth.methods.base import Pool, Targets
from dataworth.methods.classes import held_out, negatives_option, two_classes
from dataworth.methods.length import tokens_option
from dataworth.methods.linear import (
    HashedScore,
    hash_option,
    mechanism_option,
    minimum_option,
    ngrams_option,
)
from dataworth.options import option
from dataworth.registry import register

log = logging.getLogger("dataworth")


@register
@dataclass(frozen=True)
class Classifier(HashedScore):
    """Log odds of a logistic regression on hashed n-grams, of each target against the pool."""

    name: ClassVar[str] = "classifier"
    unit = "nats"
    mean = True  # the regression is on shares of n-grams; its logit is of the whole document
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    ngrams: int = ngrams_option()
    buckets: int = option(
        2**17, help="Buckets that n-grams are hashed into.", minimum=2, maximum=2**32 - 1
    )
    tokens: str = tokens_option()
    hash: Literal["fast", "sha256"] = hash_option()
    strength: float = option(
        0.1, help="Inverse strength of the penalty on the weights: the loss's factor.", above=0
    )
    negatives: int = negatives_option()
    seeds: int = option(
        1, help="Samples of negatives; the log odds are the mean of their classifiers'.", minimum=1
    )
    calibrate: float = option(
        0.2,
        help="Share of the documents that is held out to calibrate the log odds (Platt); 0: none.",
        minimum=0,
        maximum=0.9,
    )
    minimum: int = minimum_option()
    mechanism: str = mechanism_option("top_k")

    def __post_init__(self) -> None:
        HashedNgrams(self.ngrams, self.buckets, self.tokens, self.hash)

    @classmethod
    def heuristic(cls) -> Classifier:
        """Heuristic classification, the baseline of the DSIR paper: a noisy threshold.

        A document of probability s is accepted with (2 - s)^-9, as GPT-3's were; one in ten is held
        out of the training. The paper's classifier is fastText's.
        """
        return cls(calibrate=0.1, mechanism="pareto(alpha=9.0)")

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Train a classifier for each target and sample. DataworthError for one class only."""
        weights = np.zeros((self.buckets + 1, len(targets.names)))
        for t, name in enumerate(targets.names):
            for number in range(self.seeds):
                weights[:, t] += self._train(pool, targets, name, number) / self.seeds
        return {"weights": weights[:-1].copy(), "bias": weights[-1].copy()}

    def _train(self, pool: Pool, targets: Targets, name: str, number: int) -> NDArray[np.float64]:
        """Return the weights of a calibrated classifier, the intercept last."""
        documents, labels = two_classes(self.name, pool, targets, name, self.negatives, number)
        held = held_out(documents, labels, self.calibrate, pool.seed)
        every, train = Shares.of(self.feature, documents), np.flatnonzero(~held)
        rows, known = every.take(train), labels[train]
        penalty = (rows.mean(balanced(known)) + 1 / self.buckets) / self.strength
        solution = train_logistic(rows, known, balanced(known), penalty)
        if held.any():
            out = np.flatnonzero(held)
            logits = every.take(out).times(solution)
            slope, shift = calibrate(logits, labels[out], balanced(labels[out]))
            if slope > 0:
                solution *= slope
                solution[-1] += shift
            else:
                log.warning(
                    "%s: on documents held out the classifier does not tell the target %r from the "
                    "pool; its log odds are not calibrated",
                    *(self.name, name),
                )
        return solution
