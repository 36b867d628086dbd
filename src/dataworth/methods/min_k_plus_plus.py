"""Min-K%++: Min-K% Prob with each token's log probability standardised by the prediction.

Zhang et al., "Min-K%++: Improved Baseline for Detecting Pre-Training Data from Large Language
Models", 2024, arXiv 2404.02936 (formula from its code): z = (log p(x) - m) / s, where m and s are
the mean and the standard deviation of log p over the vocabulary under p itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dataworth.methods.min_k import MinK
from dataworth.registry import register

_LEAST = 1e-6  # a standard deviation below is rounding: all tokens are equally likely


@register
@dataclass(frozen=True)
class MinKPlusPlus(MinK):
    """The mean of the lowest 20 % of standardised log probabilities; low: not seen."""

    name: ClassVar[str] = "min_k_plus_plus"
    measured: ClassVar[str] = "standard deviations per token"

    @staticmethod
    def score_tokens(logits: Any, tokens: Any) -> Any:
        """Score tokens [k] by the logits [k, vocabulary] before them: z, 0 without deviation."""
        logs = logits.float().log_softmax(-1)
        shares = logs.exp()
        mean = (shares * logs).sum(-1)
        deviation = (shares * (logs - mean[:, None]).square()).sum(-1).sqrt()
        apart = logs.gather(-1, tokens[:, None])[:, 0] - mean
        return (apart / deviation.clamp_min(_LEAST)).masked_fill(deviation < _LEAST, 0.0)
