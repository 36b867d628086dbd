"""The options of steps that read an embedding of each document, and the embedding itself.

What all documents of the pool have in common is taken away first, or all cosines are near 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.engine.device import AUTO, HELP, check_device, find_device
from dataworth.errors import ConfigError, DataworthError, RunError, check_extra
from dataworth.features.embeddings import (
    Clusters,
    DistilledVectors,
    NgramProjection,
    SentenceModel,
    StateAverage,
    TokenAverage,
    Vectors,
    WordVectors,
    kmeans,
    unit_rows,
)
from dataworth.features.feature import fingerprint
from dataworth.methods.base import Batch, Pool, State
from dataworth.options import option

_EXTRAS = {"distilled": "embed", "sentence": "embed", "states": "lm", "tokens": "lm"}
_A_CLUSTER = 32  # documents of the sample for each cluster, at least


@dataclass(frozen=True)
class Embedded:
    """Base of the steps that read an embedding: unit vectors, without the sample's mean."""

    name: ClassVar[str]
    embedder: Literal["distilled", "sentence", "words", "states", "tokens", "ngrams"] = option(
        "distilled",
        help='"distilled": a static model made of a sentence model; "sentence": a '
        'sentence-transformers model; "words": word vectors; "states": a language model\'s last '
        'hidden states; "tokens": its input embeddings; "ngrams": hashed n-grams, which need no '
        "model.",
    )
    model: str = option(
        "",
        help="Folder or name of the embedder's model; an empty one is all-MiniLM-L6-v2 for "
        '"sentence", and what is distilled from it for "distilled".',
        content=True,
    )
    centre: bool = option(True, help="Take away the mean of the pool's sample.")
    device: str = option(AUTO, help=HELP, run_only=True)

    def __post_init__(self) -> None:
        check_device(self.device, where=self.name)
        if self.embedder in ("states", "tokens") and not self.model:
            raise ConfigError(f"{self.name}: embedder={self.embedder} needs model=FOLDER")

    @cached_property
    def feature(self) -> Any:
        """The embedder, which is a feature too."""
        if self.embedder == "distilled":
            return DistilledVectors(self.model)
        if self.embedder == "sentence":
            return SentenceModel(self.model, device=self.device)
        if self.embedder == "words":
            return WordVectors(self.model)
        if self.embedder == "states":
            return StateAverage(self.model, device=self.device)
        return TokenAverage(self.model) if self.embedder == "tokens" else NgramProjection()

    @property
    def slow(self) -> bool:
        """Tell if the embedder is a model that runs on each document."""
        return self.embedder in ("sentence", "states")

    def check(self) -> None:
        """Raise MissingExtra for an embedder whose extra is missing, ConfigError for its model."""
        if self.embedder in _EXTRAS:
            check_extra(f"{self.name}(embedder={self.embedder})", _EXTRAS[self.embedder])
        if self.slow:  # the others run on the CPU: torch, which takes seconds, is not imported
            find_device(self.device)
        fingerprint(self.feature)

    def embed(self, documents: Documents) -> Vectors:
        """Return the embedder's vectors, [n, d]. RunError if they are not all finite numbers."""
        return self._vectors(Batch(documents))

    def _vectors(self, batch: Batch) -> Vectors:
        vectors: Vectors = batch.values(self.feature)
        wrong = len(vectors) - int(np.count_nonzero(np.isfinite(vectors).all(1)))
        if wrong:
            raise RunError(
                f"{self.name}: the embedding model gives {wrong} of {len(vectors)} documents "
                "numbers that are not finite; it is damaged, or runs in too low a precision: give "
                "another model="
            )
        return vectors

    def learn_mean(self, vectors: Vectors) -> dict[str, Any]:
        """Return the part of a state that `unit_vectors` reads, from the vectors of the sample."""
        mean = np.zeros(self.feature.dimension, np.float32)
        if self.centre and len(vectors):
            mean = vectors.mean(0, dtype=np.float64).astype(np.float32)
        return {"mean": mean, "embedder": fingerprint(self.feature)}

    def unit_vectors(self, batch: Batch, state: State) -> Vectors:
        """Return the centred vectors of length 1, [n, d]; zeros where nothing was known.

        Raises RunError for another embedder than was fitted with.
        """
        if state.once("embedder now", lambda: fingerprint(self.feature)) != state["embedder"]:
            raise RunError(
                f"{self.name}: was fitted with another embedding model; put that one back, or fit "
                "the step again in another folder"
            )
        mean = state.array("mean", np.float32, (self.feature.dimension,))
        return unit_rows(self._vectors(batch) - mean)


def sample_clusters(
    step: Embedded, pool: Pool, clusters: int, rounds: int = 100
) -> tuple[dict[str, Any], Vectors, Clusters]:
    """Return the mean of the pool's sample, its unit vectors, and their spherical k-means.

    There are at most `clusters`, and one for every 32 documents of the sample. DataworthError for
    a sample without a document.
    """
    sample = pool.sample()
    if not len(sample):
        raise DataworthError(
            f"{step.name}: the sample of the pool has no document to cluster; see the drop reasons"
        )
    embedded = step.embed(sample)
    learned = step.learn_mean(embedded)
    vectors = unit_rows(embedded - learned["mean"])
    k = min(clusters, max(1, len(vectors) // _A_CLUSTER))
    fitted = kmeans(vectors, k, seed=pool.seed, rounds=rounds)
    centroids = unit_rows(fitted.centroids)
    return {**learned, "centroids": centroids}, vectors, fitted


def nearest_centroid(
    step: Embedded, batch: Batch, state: State
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the nearest centroid of each document and its cosine with it, [n] each."""
    centroids = state.array("centroids", np.float32, (None, step.feature.dimension))
    cosines = step.unit_vectors(batch, state) @ centroids.T
    nearest = cosines.argmax(1)
    return nearest, cosines[np.arange(len(nearest)), nearest].astype(np.float64)
