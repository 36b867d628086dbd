"""Embedding similarity: the cosine of a document with the target's texts.

The plain baseline of selection by embeddings (so in Xia et al., "LESS", ICML 2024, as RDS with the
states of a language model). What all documents of the pool have in common is taken away first, or
all cosines are near 1.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.engine.device import AUTO, HELP, check_device, find_device
from dataworth.errors import ConfigError, RunError, check_extra
from dataworth.features.embeddings import (
    NgramProjection,
    SentenceModel,
    StateAverage,
    TokenAverage,
    WordVectors,
    unit_rows,
)
from dataworth.features.feature import fingerprint, working
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class EmbeddingSimilarity(Score):
    """The mean cosine of a document with the target's texts, or with its nearest ones."""

    name: ClassVar[str] = "embedding_similarity"
    unit = "cosine"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    embedder: Literal["sentence", "words", "states", "tokens", "ngrams"] = option(
        "sentence",
        help='"sentence": a sentence-transformers model; "words": word vectors; "states": a '
        'language model\'s last hidden states; "tokens": its input embeddings; "ngrams": hashed '
        "n-grams, which need no model.",
    )
    model: str = option(
        "",
        help="Folder or name of the embedder's model; all-MiniLM-L6-v2 for an empty one of "
        "sentences.",
        content=True,
    )
    nearest: int = option(
        0, help="How many of the target's texts count, the nearest; 0: all.", minimum=0
    )
    centre: bool = option(True, help="Take away the mean of `sample` documents of the pool.")
    sample: int = option(1000, help="Documents of the pool that the mean is of.", minimum=1)
    device: str = option(AUTO, help=HELP, run_only=True)

    def __post_init__(self) -> None:
        check_device(self.device, where=self.name)
        if self.embedder in ("states", "tokens") and not self.model:
            raise ConfigError(f"{self.name}: embedder={self.embedder} needs model=FOLDER")

    @cached_property
    def feature(self) -> Any:
        """The embedder, which is a feature too."""
        if self.embedder == "sentence":
            return SentenceModel(self.model, device=self.device)
        if self.embedder == "words":
            return WordVectors(self.model)
        if self.embedder == "states":
            return StateAverage(self.model, device=self.device)
        return TokenAverage(self.model) if self.embedder == "tokens" else NgramProjection()

    def check(self) -> None:
        """Raise MissingExtra for an embedder whose extra is missing, ConfigError for its model."""
        extra = {"sentence": "embed", "states": "lm", "tokens": "lm"}.get(self.embedder)
        if extra is not None:
            check_extra(f"{self.name}(embedder={self.embedder})", extra)
            find_device(self.device)
        fingerprint(self.feature)

    def working(self) -> AbstractContextManager[None]:
        """What the embedder needs around its work."""
        return working(self.feature)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Embed the targets, and the sample for what is taken away."""
        with self.working():
            mean = np.zeros(self.feature.dimension, np.float32)
            if self.centre:
                embedded = self.feature.embed(pool.sample(self.sample))
                mean = embedded.mean(0, dtype=np.float64).astype(np.float32)
            vectors = {
                f"target_{t}": unit_rows(self.feature.embed(targets.fit[name]) - mean)
                for t, name in enumerate(targets.names)
            }
        return {"mean": mean, "embedder": fingerprint(self.feature), **vectors}

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return a utility for each target. RunError for another embedder than was fitted with."""
        if state.once("embedder now", lambda: fingerprint(self.feature)) != state["embedder"]:
            raise RunError(
                f"{self.name}: was fitted with another embedding model; put that one back, or fit "
                "the step again in another folder"
            )
        mean = state.array("mean", np.float32, (self.feature.dimension,))
        with self.working():
            mine = unit_rows(self.feature.embed(batch.documents) - mean).astype(np.float64)
        columns = []
        for t in range(len(state.targets)):
            theirs = state.array(f"target_{t}", np.float32, (None, len(mean)))
            keep = min(self.nearest or len(theirs), len(theirs))
            if keep == len(theirs):
                columns.append(mine @ theirs.mean(0, dtype=np.float64))
            else:
                cosines = mine @ theirs.T.astype(np.float64)
                columns.append(np.partition(cosines, -keep, axis=1)[:, -keep:].mean(1))
        return np.stack(columns, 1)
