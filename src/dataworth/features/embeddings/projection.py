"""Hashed n-grams projected onto a few hundred random directions: an embedding without a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.kernels.simd import eager, kernel
from dataworth.errors import ConfigError
from dataworth.features.embeddings.base import (
    Texts,
    VectorFeature,
    Vectors,
    as_documents,
    batches,
)
from dataworth.features.ngrams import HashedNgrams

WEIGHTS = {"count": 0, "log": 1, "once": 2}
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@kernel
def _mixed(value):  # type: ignore[no-untyped-def]
    """Finalise as SplitMix64 does."""
    value = (value ^ (value >> np.uint64(30))) * _M1
    value = (value ^ (value >> np.uint64(27))) * _M2
    return value ^ (value >> np.uint64(31))


@eager(
    "void(Array(int64, 1, 'C', readonly=True), Array(uint32, 1, 'C', readonly=True), uint64, int64,"
    " float32[:, ::1])"
)
def _project(spans, buckets, key, weighting, out):  # type: ignore[no-untyped-def]
    words = np.uint64(out.shape[1] // 64)
    for row in range(len(spans) - 1):
        grams = np.sort(buckets[spans[row] : spans[row + 1]])
        for i in range(out.shape[1]):
            out[row, i] = 0.0
        length = 0.0
        at = 0
        while at < len(grams):
            stop = at + 1
            while stop < len(grams) and grams[stop] == grams[at]:
                stop += 1
            count = np.float32(stop - at)
            if weighting == 1:
                count = np.float32(np.log(count)) + np.float32(1.0)
            elif weighting == 2:
                count = np.float32(1.0)
            length += np.float64(count) * np.float64(count)
            base = (np.uint64(grams[at]) * words) + np.uint64(1)
            for word in range(words):
                bits = _mixed((base + np.uint64(word)) * _GOLDEN + key)
                first = np.uint64(word) * np.uint64(64)
                for i in range(np.uint64(64)):
                    sign = np.float32(1.0) - np.float32(2.0) * np.float32(
                        (bits >> i) & np.uint64(1)
                    )
                    out[row, first + i] += sign * count
            at = stop
        if length > 0:
            # The n-grams' counts have length 1, so inner products stand for cosines.
            scale = np.float32(1.0 / np.sqrt(length * out.shape[1]))
            for i in range(out.shape[1]):
                out[row, i] *= scale


def _ngrams() -> HashedNgrams:
    return HashedNgrams(ngrams=2, buckets=2**32 - 1, tokens="mixed")


@dataclass(frozen=True)
class NgramProjection(VectorFeature):
    """A random projection of a document's hashed n-gram counts (Achlioptas 2003: signs ±1/√d).

    Inner products are those of the normalised counts in expectation, with a standard deviation of
    at most √(2/d). The signs are hashes of (seed, bucket): nothing is stored and nothing depends on
    a corpus. `dimensions`: d, a multiple of 64. `ngrams`: what is counted. `weighting`: how often
    an n-gram counts that occurs c times: "count" c, "log" 1 + ln c, "once" 1.
    """

    dimensions: int = 256
    ngrams: HashedNgrams = field(default_factory=_ngrams)
    weighting: str = "log"
    seed: int = 0

    name = "ngram_projection"

    def __post_init__(self) -> None:
        if self.dimensions < 64 or self.dimensions % 64:
            raise ConfigError(f"dimensions must be a multiple of 64, not {self.dimensions}")
        if self.weighting not in WEIGHTS:
            raise ConfigError(f"weighting must be {', '.join(WEIGHTS)}, not {self.weighting!r}")

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.dimensions

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine the projections."""
        return {
            "dimensions": self.dimensions,
            "ngrams": self.ngrams.identity,
            "weighting": self.weighting,
            "seed": self.seed,
        }

    def embed(self, texts: Texts) -> Vectors:
        """Project texts, float32 [n, dimensions]; zeros for a text without a token."""
        documents = as_documents(texts)
        out = np.empty((len(documents), self.dimensions), np.float32)
        key = np.uint64((self.seed * 0x9E3779B97F4A7C15 + 0x70726F6A) % 2**64)
        for start, stop in batches(documents):
            spans, buckets = self.ngrams.rows(documents.take(np.arange(start, stop)))
            part: NDArray[np.float32] = out[start:stop]
            _project(spans, buckets, key, WEIGHTS[self.weighting], part)
        return out
