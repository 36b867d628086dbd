"""DSIR: data selection with importance resampling on hashed n-grams.

Xie, Santurkar, Ma and Liang, "Data Selection for Language Models via Importance Resampling",
NeurIPS 2023. The log importance weight of a document is the log-likelihood ratio of its n-grams
under two multinomials over hash buckets, the target's and the pool's; the multinomial coefficients
cancel.

The defaults depart from the paper's package, as measured (docs/methods/dsir.md): the weight is
divided by the number of n-grams (`per`), the temperature of the resampling is found from the
data (`mechanism`), the target's model has a little smoothing (`smoothing`), the pool's model is
fitted on a random sample of documents (`raw`), the hash is a fast one of 64 bits, and several
targets have a weight each. `DSIR.reference()` has none of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import DataworthError
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import JOINT, Pool, Targets
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

# Added to every probability before the logarithm (reference package).
FLOOR = 1e-8


@register
@dataclass(frozen=True)
class DSIR(HashedScore):
    """Log importance weights under hashed n-gram multinomials."""

    name: ClassVar[str] = "dsir"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    ngrams: int = ngrams_option()
    buckets: int = buckets_option()
    tokens: str = tokens_option()
    hash: Literal["fast", "sha256"] = hash_option()
    smoothing: float = option(
        0.1,
        help="Pseudo-count λ of each bucket in the target's model; the package's default is 0.",
        minimum=0,
    )
    raw: Literal["sample", "all"] = option(
        "sample", help="Documents of the pool that its model is fitted on: a random sample or all."
    )
    per: Literal["ngram", "document"] = option(
        "ngram",
        help='"ngram": the mean over the n-grams (nats per n-gram); "document": the sum, which is '
        "the paper's weight (nats) and grows with the document.",
        was=("normalise", {"length": "ngram", "none": "document"}),
    )
    targets: Literal["separate", "joint"] = option(
        "separate", help='A weight for each target, or one for the text of all ("joint").'
    )
    minimum: int = minimum_option()
    mechanism: str = mechanism_option("gumbel_top_k(temperature=auto)")

    def __post_init__(self) -> None:
        HashedNgrams(self.ngrams, self.buckets, self.tokens, self.hash)

    @classmethod
    def reference(cls) -> DSIR:
        """The published package `data-selection`: its buckets, weights and eligible documents.

        It also fits on the whole target: give `holdout=0` to have the same weights.
        """
        return cls(
            hash="sha256",
            smoothing=0.0,
            raw="all",
            per="document",
            targets="joint",
            minimum=100,
            mechanism="gumbel_top_k(temperature=1.0)",
        )

    @property
    def mean(self) -> bool:
        """Tell if the weight is divided by the number of n-grams."""
        return self.per == "ngram"

    @property
    def unit(self) -> str:
        """The unit of the weights."""
        return "nats per n-gram" if self.mean else "nats"

    def utility_names(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Return the targets, or one name for all of them together."""
        return (JOINT,) if self.targets == "joint" and len(targets) > 1 else tuple(targets)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Fit both multinomials. DataworthError for a target without an n-gram."""
        raw = self._raw_counts(pool)
        names, counts = self._target_counts(targets)
        log_raw = np.log(_probabilities(raw, 0.0) + FLOOR)
        weights = np.empty((self.buckets, len(names)))
        for t, count in enumerate(counts):
            weights[:, t] = np.log(_probabilities(count, self.smoothing) + FLOOR) - log_raw
        facts = {
            "raw_ngrams": int(raw.sum()),
            "target_ngrams": {
                name: int(count.sum()) for name, count in zip(names, counts, strict=True)
            },
        }
        return {"weights": weights, "bias": np.zeros(len(names)), **facts}

    def _raw_counts(self, pool: Pool) -> NDArray[np.int64]:
        counts: NDArray[np.int64] | None = None
        if self.raw == "sample" or pool.complete:
            counts = self._count(pool.sample())
        # A sample without a word says nothing of the rest: giants, for one, are never in it.
        if not pool.complete and (counts is None or not counts.any()):
            counts = pool.fold(self._count, np.add, f"fit {self.name}")
        if counts is None or not counts.any():
            raise DataworthError(
                "dsir: no document of the pool has a word, so there is nothing to fit; see the "
                "drop reasons and bad lines"
            )
        return counts

    def _count(self, documents: Documents) -> NDArray[np.int64]:
        return self.feature.count(documents).counts

    def _target_counts(self, targets: Targets) -> tuple[list[str], list[NDArray[np.int64]]]:
        names = targets.names
        counts = [self._count(targets.fit[name]) for name in names]
        for name, count in zip(names, counts, strict=True):
            if not count.any():
                raise DataworthError(f"dsir: the target {name!r} has no word in it")
        if self.targets == "joint" and len(names) > 1:
            return [JOINT], [np.sum(counts, axis=0)]
        return names, counts


def _probabilities(counts: NDArray[np.int64], smoothing: float) -> NDArray[np.float64]:
    """Return the smoothed probabilities (c_b + λ) / (Σ c + λ B)."""
    shares: NDArray[np.float64] = (counts + smoothing) / (counts.sum() + smoothing * len(counts))
    return shares
