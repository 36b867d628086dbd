"""The directions that vectors of one corpus have in common, and vectors without them.

Averages over words or positions share a large common part: the cosine of any two is near 1, and
what tells documents apart is lost in it. Taking away the corpus mean, and if wanted its first
principal components, mends that (Arora et al. 2017, section 4; Mu and Viswanath 2018: remembered,
not checked). It is fitted on a corpus, so it is decided once and kept beside the vectors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.engine.files import (
    atomic,
    check_array,
    damaged,
    read_arrays,
    read_object,
    write_json,
)
from dataworth.errors import ConfigError
from dataworth.features.embeddings.base import Vectors, unit_rows
from dataworth.features.feature import FeatureColumn, fingerprint


@dataclass(frozen=True)
class Centring:
    """`vector` → `vector - mean`, without the parts along `components`, of length 1 if `unit`.

    `mean` float32 [d]; `components` float32 [k, d], orthonormal; `documents`: how many it was
    fitted on; `store`: the fingerprint of the vectors' feature, or nothing.
    """

    mean: Vectors
    components: Vectors
    unit: bool = True
    documents: int = 0
    store: str = ""

    def __call__(self, vectors: NDArray[np.floating[Any]]) -> Vectors:
        """Take the shared part away from vectors, float32 [n, d]."""
        out = np.asarray(vectors, np.float32) - self.mean
        if len(self.components):
            out -= (out @ self.components.T) @ self.components
        return unit_rows(out) if self.unit else out

    def matrix(self, column: FeatureColumn) -> Vectors:
        """Return a column's rows, centred, in memory; ConfigError if fitted on another column."""
        known = fingerprint(column.feature)
        if self.store and self.store != known:
            raise ConfigError(
                f"{column.folder}: has the fingerprint {known}, the centring was fitted on "
                f"{self.store}: fit it on this column"
            )
        out = np.empty((len(column), column.dimension), np.float32)
        for first, block in column.blocks():
            out[first : first + len(block)] = self(block)
        return out

    def save(self, folder: Path) -> None:
        """Write `centring.npz` and `centring.json` into a folder, such as the column's."""
        with atomic(folder / "centring.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, mean=self.mean, components=self.components)
        facts = {"unit": self.unit, "documents": self.documents, "store": self.store}
        write_json(folder / "centring.json", {**facts, "components": len(self.components)})

    @staticmethod
    def load(folder: Path) -> Centring:
        """Return what `save` wrote. RunError if there is none, or a damaged one."""
        path, remedy = folder / "centring.npz", "fit the centring again"
        facts = read_object(folder / "centring.json", remedy)
        arrays = read_arrays(path, remedy)
        with damaged(path, remedy):
            mean, components = arrays["mean"], arrays["components"]
            check_array(mean, mean.dtype, (None,))
            check_array(components, mean.dtype, (None, len(mean)))
            if mean.dtype.kind != "f":
                raise ValueError(f"holds {mean.dtype}")
        with damaged(folder / "centring.json", remedy):
            known = bool(facts["unit"]), int(facts["documents"]), str(facts["store"])
        return Centring(mean, components, *known)


def fit_centring(
    vectors: FeatureColumn | NDArray[np.floating[Any]], components: int = 0, *, unit: bool = True
) -> Centring:
    """Fit the mean of some vectors, and their first principal components.

    Sums are float64 and run in the order of the rows, so the result does not depend on how they
    were computed. Raises ConfigError if there are no rows, or not as many dimensions as components.
    """
    dimension = vectors.dimension if isinstance(vectors, FeatureColumn) else vectors.shape[1]
    if not len(vectors):
        raise ConfigError("centring needs at least one vector")
    if not 0 <= components <= dimension:
        raise ConfigError(f"components must lie between 0 and {dimension}, not {components}")
    mean = np.zeros(dimension)
    for block in _blocks(vectors):
        mean += block.sum(axis=0, dtype=np.float64)
    mean /= len(vectors)
    directions = np.empty((0, dimension))
    if components:
        spread = np.zeros((dimension, dimension))
        for block in _blocks(vectors):
            centred = block.astype(np.float64) - mean
            spread += centred.T @ centred
        _, axes = np.linalg.eigh(spread)
        directions = axes.T[::-1][:components]
    store = fingerprint(vectors.feature) if isinstance(vectors, FeatureColumn) else ""
    return Centring(
        np.asarray(mean, np.float32),
        np.ascontiguousarray(directions, np.float32),
        unit,
        len(vectors),
        store,
    )


def _blocks(vectors: FeatureColumn | NDArray[np.floating[Any]]) -> Iterable[NDArray[Any]]:
    if isinstance(vectors, FeatureColumn):
        return (block for _, block in vectors.blocks(8192))
    return (vectors[start : start + 8192] for start in range(0, len(vectors), 8192))
