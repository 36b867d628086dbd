"""Min-K% Prob: the mean log probability of a document's least likely tokens.

Shi et al., "Detecting Pretraining Data from Large Language Models", 2023, arXiv 2310.16789: text
that a model has seen has few very unlikely tokens, so a high mean means that the document was
probably trained on. Compare documents of about equal length only: short ones vary more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.methods.modelled import ModelMeasure, model_option, prefer_option
from dataworth.options import option
from dataworth.registry import register

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader


@register
@dataclass(frozen=True)
class MinK(ModelMeasure):
    """The mean of the lowest 20 % of log probabilities; low: what the model has not seen."""

    name: ClassVar[str] = "min_k"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    measured: ClassVar[str] = "nats per token, log probability"
    mechanism: ClassVar[str] = "top_k"
    model: str = model_option(help="The folder of the causal language model that is asked.")
    share: float = option(
        0.2, help="K: the share of a document's tokens, at least one.", above=0, maximum=1
    )
    prefer: Literal["low", "high"] = prefer_option("low")

    def measure(
        self, reader: Reader, documents: Documents
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The lowest scores summed [n], and how many they are [n]: max(1, floor(K T)) of T."""
        scores = reader.token_scores(documents, self.score_tokens)
        counts = [min(len(one), max(1, int(self.share * len(one)))) for one in scores]
        sums = [np.sort(one)[:m].sum() for one, m in zip(scores, counts, strict=True)]
        return np.array(sums, np.float64), np.array(counts, np.int64)

    @staticmethod
    def score_tokens(logits: Any, tokens: Any) -> Any:
        """Score tokens [k] by the logits [k, vocabulary] before them: their log probabilities."""
        return logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
