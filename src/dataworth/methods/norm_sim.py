"""NormSim: how near a pair's vector is to those of a target, by a norm of the similarities.

Wang et al. 2024, arXiv 2405.19547: ‖X v‖_p with the unit vectors X of the target. p = inf is the
greatest cosine, as the paper says (not that of the absolute values); p = 2 is the root of
v' X' X v, whose square is the variance alignment score up to the number of vectors. The paper first
keeps the best by another score, such as `clip_loss`, and orders these by NormSim.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import ConfigError
from dataworth.features.embeddings import Vectors, unit_rows
from dataworth.features.pairs import vectors_of
from dataworth.methods.base import Pool, State, Targets
from dataworth.methods.paired import Paired
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True, kw_only=True)
class NormSim(Paired):
    """Norm of the cosines with the target's vectors."""

    name: ClassVar[str] = "norm_sim"
    version: ClassVar[int] = 1
    reads_pool: ClassVar[bool] = False
    unit = "cosine"
    like: str = option(
        help="The target's vectors: an .npy file, or a Parquet file with the column `image` (or "
        "`text`, by `side`).",
        content=True,
    )
    norm: Literal["inf", "2"] = option("inf", help="p of the norm.")
    side: Literal["image", "text"] = option("image", help="Which vector of a pair is compared.")

    def check(self) -> None:
        """Raise ConfigError for files that are not there or vectors that do not fit."""
        super().check()
        if not Path(self.like).is_file():
            raise ConfigError(f"{self.name}: there is no file {self.like!r}")
        width = getattr(self._open(), self.side).shape[1]
        target = self._target()
        if target.shape[1] != width or not len(target):
            raise ConfigError(
                f"{self.name}: {self.like} has {len(target)} vectors of {target.shape[1]} numbers, "
                f"the pairs have {width}: both must come from one model"
            )

    def _target(self) -> NDArray[Any]:
        column = self.image if self.side == "image" else self.text
        own = self.like if self.like.endswith(".npy") else column
        return vectors_of(own, Path(self.like))

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Read the target's vectors: all of them, or their second moment."""
        target = unit_rows(self._target())
        if self.norm == "inf":
            return {"target": target}
        wide = target.astype(np.float64)
        return {"target": np.asarray(wide.T @ wide, np.float32)}

    def of_pairs(
        self, image: Vectors, text: Vectors, uid: NDArray[np.uint64], state: State
    ) -> NDArray[np.float64]:
        """Return the norms."""
        vectors = (image if self.side == "image" else text).astype(np.float64)
        target = state.array("target", np.float32, (None, vectors.shape[1]))
        if self.norm == "2":
            square = np.einsum("nd,de,ne->n", vectors, target.astype(np.float64), vectors)
            return np.asarray(np.sqrt(np.maximum(square, 0)), np.float64)
        best = np.full(len(vectors), -1.0)
        for start in range(0, len(target), 1024):
            np.maximum(best, (vectors @ target[start : start + 1024].T).max(1), out=best)
        return best
