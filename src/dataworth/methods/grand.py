"""GraNd: the length of a document's gradient.

Paul, Ganguli and Dziugaite, "Deep Learning on a Data Diet: Finding Important Examples Early in
Training", NeurIPS 2021: the expected norm of the loss gradient early in training, the mean over
several models. For a language model the loss is the mean over the document's tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.methods.modelled import ModelMeasure, layers_option, models_option, prefer_option
from dataworth.registry import register

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader


@register
@dataclass(frozen=True)
class GraNd(ModelMeasure):
    """The gradient norm of a document's mean loss, averaged over models; no target."""

    name: ClassVar[str] = "grand"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    measured: ClassVar[str] = "gradient length, nats"
    mechanism: ClassVar[str] = "top_k"
    models: tuple[str, ...] = models_option(
        help="Folders of models early in training, of several seeds."
    )
    prefer: Literal["low", "high"] = prefer_option("high")
    layers: tuple[str, ...] = layers_option()

    def measure(
        self, reader: Reader, documents: Documents
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Lengths of the gradient of the summed loss [n], and tokens that are predicted [n]."""
        return reader.lengths(documents)
