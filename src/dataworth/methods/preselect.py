"""PreSelect: documents whose losses order the models as their benchmark scores do.

Shum et al., "Predictive Data Selection: The Data That Predicts Is the Data That Teaches", 2025,
arXiv 2503.00808: a document is good if every pair of models is ordered as by their scores; as many
of the others are bad, those with the fewest right pairs (remembered, not checked; ties by the
table's order). A classifier tells them apart and scores the pool, of which the best 10 % are kept.
Losses are of the whole text where all models have one tokenizer, else in bits per character.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import InputError
from dataworth.features.correlations import concordance
from dataworth.features.loss_table import LossTable
from dataworth.methods.from_losses import FromLosses
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class PreSelect(FromLosses):
    """Log odds that a document predicts the models' order."""

    name: ClassVar[str] = "preselect"
    least: float = option(
        1.0, help="Share of pairs that are right in a good document.", above=0.5, maximum=1
    )

    def labels(self, table: LossTable, sizes: NDArray[np.float64]) -> NDArray[np.int8]:
        """Return 1 for a column with enough right pairs, -1 for as many of the worst others."""
        right, pairs = concordance(table.losses, table.errors)
        good = right >= self.least * pairs
        if not good.any():
            raise InputError(
                f"{self.losses}: none of its documents in the pool orders the models as their "
                f"scores do (the best has {right.max():,} of {pairs:,} pairs right); lower `least`"
            )
        worst = np.argsort(np.where(good, pairs + 1, right), kind="stable")
        labels = good.astype(np.int8)
        labels[worst[: min(int(good.sum()), int((~good).sum()))]] = -1
        return labels
