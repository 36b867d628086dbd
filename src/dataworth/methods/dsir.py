"""DSIR: data selection with importance resampling on hashed n-grams.

Xie, Santurkar, Ma and Liang, "Data Selection for Language Models via Importance Resampling",
NeurIPS 2023. The log importance weight of a document is the log-likelihood ratio of its n-grams
under two multinomials over hash buckets, the target's and the pool's; the multinomial coefficients
cancel.

The defaults depart from the paper's package, as measured (docs/methods/dsir.md): the weight is
divided by the number of n-grams (`normalise`), the temperature of the resampling is found from the
data (`mechanism`), the target's model has a little smoothing (`smoothing`), the pool's model is
fitted on a random sample of documents (`raw`), the hash is a fast one of 64 bits, and several
targets have a weight each. `DSIR.reference()` has none of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.units import Unit
from dataworth.engine.local import Tick
from dataworth.errors import ConfigError, DataworthError
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import (
    JOINT,
    Context,
    Fitted,
    Step,
    Targets,
    survivors,
)
from dataworth.methods.length import least_length, tokens_option
from dataworth.methods.linear import (
    LinearNgrams,
    buckets_option,
    hash_option,
    load_linear,
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
class DSIR:
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
    normalise: Literal["length", "none"] = option(
        "length",
        help='"length": the mean over the n-grams (nats per n-gram); "none": the sum, which is the '
        "paper's weight (nats) and grows with the document.",
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
            normalise="none",
            targets="joint",
            minimum=100,
            mechanism="gumbel_top_k(temperature=1.0)",
        )

    @property
    def feature(self) -> HashedNgrams:
        """The feature of these settings."""
        return HashedNgrams(self.ngrams, self.buckets, self.tokens, self.hash)

    @property
    def filters(self) -> tuple[Step, ...]:
        """The least length, as a filter with a drop reason of its own.

        It decides what may be chosen; the pool's model is of the pool with its short documents, as
        in the package.
        """
        return least_length(self.minimum, self.tokens)

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> LinearNgrams:
        """Fit both multinomials. DataworthError for a target without an n-gram."""
        raw = self._raw_counts(pool, context)
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
        bias = np.zeros(len(names))
        return LinearNgrams(self, self.feature, names, weights, bias, **self._form, facts=facts)

    @property
    def _form(self) -> dict[str, Any]:
        mean = self.normalise == "length"
        return {"mean": mean, "unit": "nats per n-gram" if mean else "nats"}

    def _raw_counts(self, pool: Corpus, context: Context) -> NDArray[np.int64]:
        counts: NDArray[np.int64] | None = None
        whole = context.survey.complete
        if self.raw == "sample" or whole:
            counts = self.feature.count(context.sample()).counts
        # A sample without a word says nothing of the rest: giants, for one, are never in it.
        if not whole and (counts is None or not counts.any()):
            work = _Count(pool, self.feature, tuple(context.before))
            counts = context.engine.fold(
                work, np.add, pool.units, progress=context.progress, name=f"fit {self.name}"
            )
        if counts is None or not counts.any():
            raise DataworthError(
                "dsir: no document of the pool has a word, so there is nothing to fit; see the "
                "drop reasons and bad lines"
            )
        return counts

    def _target_counts(self, targets: Targets) -> tuple[list[str], list[NDArray[np.int64]]]:
        if not targets.names:
            raise ConfigError("dsir needs a target: give examples of what the model should learn")
        names = targets.names
        counts = [self.feature.count(targets.fit[name]).counts for name in names]
        for name, count in zip(names, counts, strict=True):
            if not count.any():
                raise DataworthError(f"dsir: the target {name!r} has no word in it")
        if self.targets == "joint" and len(names) > 1:
            return [JOINT], [np.sum(counts, axis=0)]
        return names, counts

    @staticmethod
    def load(step: DSIR, folder: Path) -> LinearNgrams:
        """The fitted step from its folder."""
        return load_linear(step, step.feature, folder, **step._form)


def _probabilities(counts: NDArray[np.int64], smoothing: float) -> NDArray[np.float64]:
    """(c_b + λ) / (Σ c + λ B)."""
    shares: NDArray[np.float64] = (counts + smoothing) / (counts.sum() + smoothing * len(counts))
    return shares


@dataclass(frozen=True)
class _Count:
    """The n-grams of a unit's documents that the earlier steps keep."""

    pool: Corpus
    feature: HashedNgrams
    before: tuple[Fitted, ...]

    def __call__(self, unit: Unit, tick: Tick) -> NDArray[np.int64]:
        total = np.zeros(self.feature.buckets, np.int64)
        for block in self.pool.blocks(unit):
            documents: Documents = survivors(block.documents, self.before)
            total += self.feature.count(documents).counts
            tick(len(block.documents), block.raw_bytes)
        return total
