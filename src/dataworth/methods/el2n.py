"""EL2N: how far the model's prediction is from what came, the mean over a document's tokens.

Paul, Ganguli and Dziugaite, "Deep Learning on a Data Diet: Finding Important Examples Early in
Training", NeurIPS 2021: the Euclidean length of softmax(logits) minus the one-hot label, early in
training, the mean over several models. For a language model the labels are the next tokens. Between
0 (right and certain) and the root of 2 (wrong and certain); forward passes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.methods.modelled import ModelMeasure, models_option, prefer_option
from dataworth.registry import register

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader


@register
@dataclass(frozen=True)
class EL2N(ModelMeasure):
    """The length of prediction minus truth, the mean over tokens and models; without a target."""

    name: ClassVar[str] = "el2n"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    measured: ClassVar[str] = "length"
    mechanism: ClassVar[str] = "top_k"
    models: tuple[str, ...] = models_option(
        help="Folders of models early in training, of several seeds."
    )
    prefer: Literal["low", "high"] = prefer_option("high")

    def measure(
        self, reader: Reader, documents: Documents
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Lengths of the error summed over tokens [n], and tokens that are predicted [n]."""
        return reader.errors(documents)
