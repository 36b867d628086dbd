"""MinHash: near-duplicates by the shingles that texts share, closed to clusters, one copy of each.

Broder 1997. Bands and rows as FineWeb has them (Penedo et al. 2024: 5-grams, 14 bands of 8): of
pairs of Jaccard similarity s, a share of 1 - (1 - s^8)^14 meets in a band, 0.92 at 0.8 and 0.56 at
0.7. FineWeb joins all that meet; here candidates are compared first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Column
from dataworth.engine.grouping import Groups, Pairs, connect
from dataworth.errors import ConfigError
from dataworth.features.sketches import (
    ShingleSet,
    Sketch,
    band_keys,
    estimated_jaccard,
    exact_jaccard,
)
from dataworth.methods.base import (
    Batch,
    Computed,
    Pool,
    State,
    Targets,
    copy_columns,
    matrix,
)
from dataworth.options import option
from dataworth.registry import register

_MOST_NUMBERS = 4096  # of a sketch


@register
@dataclass(frozen=True)
class MinHash:
    """Keep one document of each cluster of near-duplicates."""

    name: ClassVar[str] = "minhash"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    answers: ClassVar[Literal["pairs"]] = "pairs"
    reasons: ClassVar[tuple[str, ...]] = ("near-duplicate",)
    shingle: int = option(
        5,
        help="Words of a shingle, lower-cased, without punctuation; a shorter text is one shingle, "
        "and one without a word is not compared.",
        minimum=1,
    )
    bands: int = option(
        14,
        help="Of the sketch; documents that agree in all rows of a band are candidates.",
        minimum=1,
    )
    rows: int = option(8, help="Of each band.", minimum=1)
    threshold: float = option(0.7, help="The least Jaccard similarity.", above=0, maximum=1)
    verify_by: Literal["estimated", "exact", "none"] = option(
        "estimated",
        help='The similarity of candidates is taken from their sketches ("estimated") or their '
        'shingles ("exact"); "none" joins them all.',
    )
    survives: Literal["longest", "shortest", "first"] = option(
        "longest",
        help='Most bytes, fewest, or ("first") the least uid, which is chance; ties go to the '
        "least uid.",
    )

    def __post_init__(self) -> None:
        if self.bands * self.rows > _MOST_NUMBERS:
            raise ConfigError(
                f"{self.name}: bands times rows is at most {_MOST_NUMBERS}, not "
                f"{self.bands * self.rows}"
            )

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop`, and the cluster: the uid of the document that stays."""
        return copy_columns(self.name)

    @property
    def sketch(self) -> Sketch:
        """The sketch, of all bands."""
        return Sketch(self.shingle, self.bands * self.rows)

    @property
    def carries(self) -> tuple[str | Computed, ...]:
        """The numbers or texts that candidates are compared by."""
        if self.verify_by == "exact":
            return (ShingleSet(self.shingle),)
        return (self.sketch,) if self.verify_by == "estimated" else ()

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Learn nothing."""
        return {}

    def keys(self, batch: Batch, state: State) -> NDArray[np.uint64]:
        """Return a key for each band."""
        sketch = batch.values(self.sketch)
        return np.where(sketch.any(1, keepdims=True), band_keys(sketch, self.bands), np.uint64(0))

    def rank(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return text bytes, signed by `survives`, [n]: the least of a cluster stays."""
        sign = {"longest": -1.0, "shortest": 1.0, "first": 0.0}[self.survives]
        return np.asarray(sign * batch.documents.text_bytes, np.float64)

    def resolve(self, groups: Groups, state: State) -> Pairs:
        """Candidates: who shares a band."""
        return connect(groups)

    def verify(self, pairs: Groups, state: State) -> NDArray[np.bool_]:
        """Tell which candidate pairs reach `threshold` by the similarity of `verify_by`, [g]."""
        if self.verify_by == "none":
            return np.ones(len(pairs), np.bool_)
        if self.verify_by == "exact":
            return exact_jaccard(pairs.carried["shingles"]) >= self.threshold
        sketch = matrix(pairs.carried["sketch"])
        return estimated_jaccard(sketch[0::2], sketch[1::2]) >= self.threshold
