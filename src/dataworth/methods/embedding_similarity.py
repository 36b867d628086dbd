"""Embedding similarity: the cosine of a document with the target's texts.

The plain baseline of selection by embeddings (so in Xia et al., "LESS", ICML 2024, as RDS with the
states of a language model). What all documents of the pool have in common is taken away first, or
all cosines are near 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine.device import AUTO, HELP, check_device, find_device
from dataworth.engine.files import check_array, read_arrays, read_object
from dataworth.errors import ConfigError, DataworthError, RunError, check_extra
from dataworth.features.embeddings import (
    NgramProjection,
    SentenceModel,
    StateAverage,
    TokenAverage,
    WordVectors,
    unit_rows,
)
from dataworth.features.feature import fingerprint, working
from dataworth.methods.base import Context, Targets, utility_column, write_arrays
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class EmbeddingSimilarity:
    """The mean cosine of a document with the target's texts, or with its nearest ones."""

    name: ClassVar[str] = "embedding_similarity"
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

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> FittedEmbeddingSimilarity:
        """Embed the targets, and the sample for what is taken away."""
        if not targets.names:
            raise ConfigError(
                f"{self.name} needs a target: give examples of what the model should learn"
            )
        with self.working():
            mean = np.zeros(self.feature.dimension, np.float32)
            if self.centre:
                sample = context.sample()
                sample = sample.take(np.arange(min(self.sample, len(sample))))
                mean = self.feature.embed(sample).mean(0, dtype=np.float64).astype(np.float32)
            vectors = {
                name: unit_rows(self.feature.embed(targets.fit[name]) - mean)
                for name in targets.names
            }
        return FittedEmbeddingSimilarity(self, vectors, mean)

    @staticmethod
    def load(step: EmbeddingSimilarity, folder: Path) -> FittedEmbeddingSimilarity:
        """The fitted step from its folder. DataworthError if the embedder is another one now."""
        facts = read_object(folder / "step.json")
        if facts["embedder"] != fingerprint(step.feature):
            raise DataworthError(
                f"{folder}: was fitted with another embedding model; put that one back, or fit the "
                "step again in another folder"
            )
        arrays = read_arrays(folder / "arrays.npz")
        mean = check_array(arrays["mean"], np.float32, (None,))
        vectors = {
            name: check_array(arrays[f"target_{i}"], np.float32, (None, len(mean)))
            for i, name in enumerate(facts["targets"])
        }
        return FittedEmbeddingSimilarity(step, vectors, mean)


class FittedEmbeddingSimilarity:
    """The step, ready to use: unit vectors float32 [texts, d] of each target, and the mean [d]."""

    def __init__(
        self,
        step: EmbeddingSimilarity,
        vectors: Mapping[str, NDArray[np.float32]],
        mean: NDArray[np.float32],
    ) -> None:
        self.step = step
        self.vectors = dict(vectors)
        self.mean = mean
        self.columns = tuple(utility_column(step.name, name, "cosine") for name in vectors)

    def annotate(self, documents: Documents) -> pa.RecordBatch:
        """A utility for each target."""
        with self.step.working():
            embedded = self.step.feature.embed(documents)
            if embedded.shape[1] != len(self.mean):
                raise RunError(
                    f"{self.step.name}: the fitted step has vectors of {len(self.mean)} numbers "
                    f"and the model of {embedded.shape[1]}; delete the step's folder in fitted/ "
                    "and run the same command again"
                )
            mine = unit_rows(embedded - self.mean).astype(np.float64)
        arrays = []
        for theirs in self.vectors.values():
            keep = min(self.step.nearest or len(theirs), len(theirs))
            if keep == len(theirs):
                found = mine @ theirs.mean(0, dtype=np.float64)
            else:
                cosines = mine @ theirs.T.astype(np.float64)
                found = np.partition(cosines, -keep, axis=1)[:, -keep:].mean(1)
            arrays.append(pa.array(found))
        return pa.RecordBatch.from_arrays(arrays, [column.name for column in self.columns])

    def save(self, folder: Path) -> None:
        """`step.json` and `arrays.npz`."""
        facts: dict[str, Any] = {
            "targets": list(self.vectors),
            "embedder": fingerprint(self.step.feature),
        }
        arrays = {f"target_{i}": vectors for i, vectors in enumerate(self.vectors.values())}
        write_arrays(folder, facts, mean=self.mean, **arrays)
