"""DFN: the cosine of an image's vector with its caption's, by a network made for filtering.

Fang, Jose, Jain, Schmidt, Toshev and Shankar 2023, "Data filtering networks", arXiv 2309.17425: a
small contrastive model trained on trusted pairs scores the pool by this cosine, and the top share
is kept (about 15 %, remembered). With the vectors of any CLIP model it is the CLIP score of
DataComp. How well a network filters is another thing than its own accuracy: choose it by what a
model trained on its selection does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.features.embeddings import Vectors
from dataworth.methods.base import State
from dataworth.methods.paired import Paired
from dataworth.registry import register


@register
@dataclass(frozen=True)
class DFN(Paired):
    """Cosine of image and caption."""

    name: ClassVar[str] = "dfn"
    version: ClassVar[int] = 1
    reads_pool: ClassVar[bool] = False
    unit = "cosine"

    def of_pairs(
        self, image: Vectors, text: Vectors, uid: NDArray[np.uint64], state: State
    ) -> NDArray[np.float64]:
        """Return the cosines."""
        return np.asarray(np.einsum("nd,nd->n", image, text), np.float64)
