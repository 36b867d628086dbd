"""SoftDedup: documents are drawn the less often, the more common their n-grams are in the pool.

He et al., "SoftDedup", ACL 2024, arXiv 2407.06654: commonness p(x) is the geometric mean of the
probabilities of a document's words under a 4-gram model of the pool with Kneser-Ney smoothing, and
the weight is in proportion to 1 / p(x), equal within segments of equal size. How many segments, and
that a segment has the mean of its commonness, is as the paper is remembered, not checked. To draw
by these weights without replacement is Gumbel top-k at temperature 1, on the logarithm of weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import DataworthError
from dataworth.features.ngram_lm.fitting import fit_ngram_model
from dataworth.features.ngram_lm.model import NgramModel
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.methods.keeping import sorted_losses
from dataworth.methods.length import tokens_option
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class SoftDedup(Score):
    """Logarithm of the weight that a document is drawn with: larger where it is less common."""

    name: ClassVar[str] = "softdedup"
    unit = "nats, log weight"
    needs_target: ClassVar[bool] = False
    reasons: ClassVar[tuple[str, ...]] = ("without a word",)
    ngrams: int = option(4, help="The longest n-gram (paper: 4).", minimum=1)
    tokens: str = tokens_option()
    segments: int = option(
        20,
        help="Segments of the pool that have one weight each; 0: each document its own.",
        minimum=0,
    )
    mechanism: str = option(
        "gumbel_top_k(temperature=1)", help="How to choose where nothing else is asked for."
    )

    def __post_init__(self) -> None:
        HashedNgrams(1, 2, self.tokens)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Fit the model on the pool's sample, and the segments.

        Where the sample is not the whole pool, the segments are of its other half: documents that
        the model was fitted on look more common than the pool's others.
        """
        sample = pool.sample()
        half = len(sample) if pool.complete or len(sample) < 2 else len(sample) // 2
        fitted, rest = sample.take(np.arange(half)), sample.take(np.arange(half, len(sample)))
        try:
            model = fit_ngram_model(fitted, self.ngrams, self.tokens)
        except DataworthError as error:
            raise DataworthError(f"{self.name}: the pool's sample: {error}") from error
        if not self.segments:
            return model.arrays()
        losses = sorted_losses(self.name, model.score(rest if len(rest) else fitted).nats)
        parts = [part for part in np.array_split(losses, self.segments) if len(part)]
        weights = [-np.log(np.exp(-part).mean()) for part in parts]
        cuts = [part[0] for part in parts[1:]]
        return {**model.arrays(), "cuts": np.array(cuts), "weights": np.array(weights)}

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the logarithms of the weights [n, 1]."""
        model = state.once("model", lambda: NgramModel.read(state.array, self.tokens))
        losses = model.score(batch.documents).nats
        if self.segments:
            weights = state["weights"][np.searchsorted(state["cuts"], losses, "right")]
            losses = np.where(np.isnan(losses), np.nan, weights)
        return losses[:, None]
