"""The options of steps that read two vectors of each document, of an image and of its caption."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import ConfigError
from dataworth.features.embeddings import Vectors
from dataworth.features.pairs import PairVectors, marks_of, open_pairs, unit_at
from dataworth.methods.base import Batch, Score, State
from dataworth.options import option

_DECIMALS = 9  # the rest hangs on the batch in which sums ran


@dataclass(frozen=True)
class Paired(Score):
    """Base of the steps over pairs of vectors; a document without a pair is dropped."""

    name: ClassVar[str]
    needs_target: ClassVar[bool] = False
    reasons: ClassVar[tuple[str, ...]] = ("without a pair of vectors",)
    pairs: str = option(
        help="A Parquet file with the documents' texts (captions), such as the pool's own; "
        "documents are found by the text.",
        content=True,
    )
    image: str = option(
        "image",
        help="Its column of image vectors, or an .npy file with a row for each of its rows.",
        content=True,
    )
    text: str = option(
        "caption", help="Its column of caption vectors, or an .npy file.", content=True
    )
    key: str = option("text", help="Its column of texts.")

    def check(self) -> None:
        """Raise ConfigError for files that are not there or vectors that do not fit."""
        for name in (self.pairs, *(n for n in (self.image, self.text) if n.endswith(".npy"))):
            if not Path(name).is_file():
                raise ConfigError(f"{self.name}: there is no file {name!r}")
        image, text = self._open().image, self._open().text
        if image.shape[1] != text.shape[1]:
            raise ConfigError(
                f"{self.name}: image vectors have {image.shape[1]} numbers and caption vectors "
                f"{text.shape[1]}: both must come from one model"
            )

    def _open(self) -> PairVectors:
        names = (self.pairs, self.image, self.text)
        return open_pairs(*names, self.key, marks_of(*names))

    @abstractmethod
    def of_pairs(
        self, image: Vectors, text: Vectors, uid: NDArray[np.uint64], state: State
    ) -> NDArray[np.float64]:
        """Return the utility of each pair of unit vectors, [n]."""

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the utility, [n, 1]; none for a document without a pair."""
        found, uid = self._open(), batch.documents.uid
        rows = found.rows(batch.documents)
        uids = np.flatnonzero(rows >= 0)
        values = np.full((len(rows), 1), np.nan)
        if len(uids):
            image, text = (unit_at(side, rows[uids]) for side in (found.image, found.text))
            utilities = self.of_pairs(image, text, uid[uids], state)
            values[uids, 0] = np.round(utilities, _DECIMALS)
        return values
