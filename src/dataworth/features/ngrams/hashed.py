"""Hashed n-gram counts of documents: the feature of DSIR, KL reduction and overlap measures."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.errors import ConfigError
from dataworth.features.ngrams import kernels, scratch
from dataworth.features.ngrams.tokens import MODES
from dataworth.features.ngrams.unicode import UNICODE, unicode_table
from dataworth.features.tokenizers import load_tokenizer

_TOKEN = 0x746F6B65  # the stream of `hash_uid` for ids of a tokenizer file
# Entries of the SHA-256 cache of each thread and feature, 12 bytes each.
_REMEMBERED = 1 << 20
# Working memories that a thread keeps: a run alternates between a few features.
_KEPT = 4
_LEAST_BYTES, _MOST_BYTES = 1 << 16, 1 << 20
_local = threading.local()


@dataclass(frozen=True)
class NgramCounts:
    """n-gram counts of a batch, summed.

    `counts` int64 [buckets]; `tokens` and `grams` int64 [n]: tokens and n-gram occurrences of each
    document.
    """

    counts: NDArray[np.int64]
    tokens: NDArray[np.int64]
    grams: NDArray[np.int64]


@dataclass(frozen=True)
class NgramScores:
    """Weighted sums over n-grams: `sums` float64 [n, T], `tokens` and `grams` int64 [n]."""

    sums: NDArray[np.float64]
    tokens: NDArray[np.int64]
    grams: NDArray[np.int64]


@dataclass(frozen=True)
class HashedNgrams:
    """1- to n-grams of tokens, hashed into buckets (DSIR, section 3: n=2, 10,000).

    `tokens`: of the lower-cased text "wordpunct" (the regular expression of the reference package),
    "mixed" (the same, but a character of a script written without spaces is a token) or
    "characters" (every character but spaces); or the path of a Hugging Face `tokenizer.json`, which
    gets the text as it is, and whose truncation, padding and special tokens are left out.
    `hash`: "fast" (64-bit, see kernels.py) or "sha256" (the published buckets).
    """

    ngrams: int = 2
    buckets: int = 10_000
    tokens: str = "wordpunct"
    hash: str = "fast"

    def __post_init__(self) -> None:
        if self.ngrams < 1:
            raise ConfigError(f"ngrams must be at least 1, not {self.ngrams}")
        if not 1 < self.buckets < 2**32:
            raise ConfigError(f"buckets must be between 2 and 2^32, not {self.buckets}")
        if self.hash not in ("fast", "sha256"):
            raise ConfigError(f"hash must be fast or sha256, not {self.hash!r}")
        if self.tokens not in MODES:
            if not Path(self.tokens).is_file():
                raise ConfigError(
                    f"tokens must be one of {', '.join(MODES)} or the path of a tokenizer.json; "
                    f"there is no file {self.tokens!r}"
                )
            if self.hash == "sha256":
                raise ConfigError("hash=sha256 is defined on words: not with a tokenizer file")

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that determine the numbers, as JSON."""
        tokens = self.tokens
        if tokens not in MODES:
            tokens = "blake2b:" + hashlib.blake2b(Path(tokens).read_bytes()).hexdigest()[:32]
        return {
            "ngrams": self.ngrams,
            "buckets": self.buckets,
            "tokens": tokens,
            "hash": self.hash,
            "unicode": UNICODE,
        }

    def _arguments(self, documents: Documents) -> tuple[Any, ...]:
        """Return the arguments that every kernel takes first."""
        longest = int(documents.text_bytes.max()) if len(documents) else 0
        return (
            documents.data,
            documents.starts,
            documents.ends,
            unicode_table(),
            MODES[self.tokens],
            self.hash == "sha256",
            self.ngrams,
            np.uint64(self.buckets),
            self._scratch(longest),
        )

    def _scratch(self, longest: int) -> tuple[Any, ...]:
        """Return this thread's working memory, kept between batches for its SHA-256 cache."""
        kept: dict[HashedNgrams, tuple[int, tuple[Any, ...]]] = vars(_local).setdefault("kept", {})
        size, memory = kept.pop(self, (0, ()))
        if not memory:
            size = _LEAST_BYTES
            cache = scratch.cache_for(_REMEMBERED if self.hash == "sha256" else 1)
            memory = scratch.scratch_for(size, self.ngrams, cache)
        larger = memory
        if size < longest:
            larger = scratch.scratch_for(longest, self.ngrams, scratch.cache_of(memory))
            if longest <= _MOST_BYTES:  # a giant's memory goes with it
                size, memory = longest, larger
        kept[self] = size, memory  # the last one used comes last
        if len(kept) > _KEPT:
            del kept[next(iter(kept))]
        return larger

    def count(self, documents: Documents) -> NgramCounts:
        """Sum of the documents' n-gram counts."""
        n = len(documents)
        if self.tokens not in MODES:
            ids, spans, tokens = self._tokenizer_buckets(documents)
            return NgramCounts(
                np.bincount(ids, minlength=self.buckets).astype(np.int64), tokens, np.diff(spans)
            )
        counts = np.zeros(self.buckets, np.int64)
        tokens, grams = np.empty(n, np.int64), np.empty(n, np.int64)
        kernels.count(*self._arguments(documents), counts, tokens, grams)
        return NgramCounts(counts, tokens, grams)

    def score(self, documents: Documents, weights: NDArray[np.float64]) -> NgramScores:
        """Sum over each document's n-grams each column of `weights` float64 [buckets, T]."""
        n = len(documents)
        if self.tokens not in MODES:
            ids, spans, tokens = self._tokenizer_buckets(documents)
            # Each sum by itself: differences of a running sum would hang on the whole batch.
            row = np.repeat(np.arange(n), np.diff(spans))
            sums = np.empty((n, weights.shape[1]))
            for target, column in enumerate(weights.T):
                sums[:, target] = np.bincount(row, column[ids], n)
            return NgramScores(sums, tokens, np.diff(spans))
        sums = np.empty((n, weights.shape[1]))
        tokens, grams = np.empty(n, np.int64), np.empty(n, np.int64)
        weights = np.ascontiguousarray(weights, np.float64)
        kernels.score(*self._arguments(documents), weights, sums, tokens, grams)
        return NgramScores(sums, tokens, grams)

    def rows(self, documents: Documents) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Return the bucket of every n-gram: (spans int64 [n+1], buckets uint32 [spans[-1]])."""
        if self.tokens not in MODES:
            ids, spans, _ = self._tokenizer_buckets(documents)
            return spans, ids
        spans = self._spans(self.lengths(documents))
        out = np.empty(int(spans[-1]), np.uint32)
        kernels.list_buckets(*self._arguments(documents), out)
        return spans, out

    def _spans(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bounds of each document's n-grams, from its number of tokens: int64 [n+1]."""
        shorter = np.arange(self.ngrams)[None, :]
        grams = np.maximum(tokens[:, None] - shorter, 0).sum(1)
        return _spans(grams)

    def lengths(self, documents: Documents) -> NDArray[np.int64]:
        """Return the number of tokens of each document, int64 [n]."""
        if self.tokens not in MODES:
            return self._tokenizer_buckets(documents)[2]
        out = np.empty(len(documents), np.int64)
        kernels.lengths(*self._arguments(documents), out)
        return out

    def hashes(self, documents: Documents) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Hash the tokens of each document to 64 bits: (spans int64 [n+1], uint64 [spans[-1]])."""
        if self.tokens not in MODES:
            found = load_tokenizer(self.tokens).encode_batch_fast(
                documents.texts(), add_special_tokens=False
            )
            counts = np.array([len(item) for item in found], np.int64)
            ids = np.fromiter((id_ for item in found for id_ in item.ids), np.uint64)
            return _spans(counts), hash_uid(0, ids, _TOKEN)
        spans = _spans(self.lengths(documents))
        out = np.empty(int(spans[-1]), np.uint64)
        kernels.hash_tokens(*self._arguments(documents), out)
        return spans, out

    def words(self, documents: Documents) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return all documents' tokens as UTF-8, each with a space behind it, and the ends [T]."""
        if self.tokens not in MODES:
            found = load_tokenizer(self.tokens).encode_batch_fast(
                documents.texts(), add_special_tokens=False
            )
            tokens = [token.encode() for item in found for token in item.tokens]
            sizes = np.array([len(token) + 1 for token in tokens], np.int64)
            text = b"".join(token + b" " for token in tokens)
            return np.frombuffer(text, np.uint8), np.cumsum(sizes) - 1
        ends = np.empty(int(self.lengths(documents).sum()), np.int64)
        room = int(documents.text_bytes.sum()) * 3 // 2 + len(ends)
        out = np.empty(room, np.uint8)
        kernels.write_tokens(*self._arguments(documents), out, ends)
        return out[: ends[-1] + 1 if len(ends) else 0], ends

    def grams(self, text: str) -> list[tuple[str, int]]:
        """Return each n-gram of a text in words, with its bucket, for explanations."""
        documents = Documents.from_texts([text])
        _, ids = self.rows(documents)
        if self.tokens in MODES:
            words = self._words(documents)
        else:
            words = load_tokenizer(self.tokens).encode(text, add_special_tokens=False).tokens
        names = []
        for last in range(len(words)):
            for size in range(1, min(last + 1, self.ngrams) + 1):
                names.append(" ".join(words[last + 1 - size : last + 1]))
        return list(zip(names, ids.tolist(), strict=True))

    def _words(self, documents: Documents) -> list[str]:
        """Return the tokens of a single document."""
        room = int(documents.text_bytes[0]) * 2 + 256
        starts, ends = np.empty(room, np.uint32), np.empty(room, np.uint32)
        lowered, size = np.empty(room, np.uint8), np.zeros(1, np.int64)
        total = kernels.cut(*self._arguments(documents), starts, ends, lowered, size)
        text = lowered[: size[0]].tobytes()
        return [text[a:b].decode() for a, b in zip(starts[:total], ends[:total], strict=True)]

    def _tokenizer_buckets(
        self, documents: Documents
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
        """Return buckets of n-grams of a tokenizer's ids: (buckets, spans [n+1], tokens [n])."""
        encoded = load_tokenizer(self.tokens).encode_batch_fast(
            documents.texts(), add_special_tokens=False
        )
        tokens = np.fromiter((len(item) for item in encoded), np.int64, len(encoded))
        ids = np.fromiter((id_ for item in encoded for id_ in item.ids), np.int64)
        spans = self._spans(tokens)
        out = np.empty(int(spans[-1]), np.uint32)
        kernels.id_buckets(ids, tokens, self.ngrams, np.uint64(self.buckets), out)
        return out, spans, tokens


def _spans(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the starts of each document's entries, from their numbers: int64 [n+1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
