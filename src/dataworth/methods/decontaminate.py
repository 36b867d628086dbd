"""Decontamination: documents that hold n-grams of benchmarks are dropped.

13 words in a row as GPT-3 (Brown et al. 2020, appendix C; remembered), with the folding of the
contamination measure: case, accents, format characters and signs do not matter. A text of 8 to 12
words is one n-gram; shorter ones cannot be looked for. `share` follows PaLM (8-grams, 70 % of an
example; remembered).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Column, Documents
from dataworth.errors import ConfigError
from dataworth.features.grams import Words, ngrams_of, words_of
from dataworth.features.rows import benchmark_texts
from dataworth.methods.base import DROP, Batch, Pool, State, Targets, drop_column
from dataworth.options import option
from dataworth.registry import register

_LEAST = 8  # words of a text that is shorter than an n-gram
_MOST_BENCHMARKS = 255
_FILTER_BITS = 22


@register
@dataclass(frozen=True)
class Decontaminate:
    """Drop documents that hold n-grams of a benchmark; the reason names the benchmark.

    The column `overlap` is the largest share of an example's different n-grams that a document
    holds. n-grams that more than `common` documents of the pool's sample hold and more than one
    example are common phrases (licences, templates), and do not count.
    """

    name: ClassVar[str] = "decontaminate"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    benchmarks: tuple[str, ...] = option(
        help="Files of the benchmarks: text (examples apart by an empty line), JSON lines or "
        "Parquet (of a row all strings), or YAML tasks of lm-eval with local `data_files`.",
        content=True,
    )
    n: int = option(13, help="Words of an n-gram.", minimum=1)
    share: float = option(
        0.0,
        help="Drop for this share of an example's different n-grams; 0: for any.",
        minimum=0,
        maximum=1,
    )
    common: int = option(
        10, help="Documents of the sample that a phrase may be in before it is common.", minimum=0
    )

    def __post_init__(self) -> None:
        if not 0 < len(self.benchmarks) <= _MOST_BENCHMARKS:
            raise ConfigError(
                f"{self.name}: benchmarks names {len(self.benchmarks)} files; name 1 to "
                f"{_MOST_BENCHMARKS}"
            )

    @property
    def reasons(self) -> tuple[str, ...]:
        """A reason to drop a document for each benchmark, by its file's name."""
        return tuple(f"holds text of {Path(path).name}" for path in self.benchmarks)

    def check(self) -> None:
        """Raise ConfigError for a benchmark that is not there."""
        for path in self.benchmarks:
            if not Path(path).is_file():
                raise ConfigError(f"{self.name}: {path}: there is no such benchmark file")

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop` and `overlap`."""
        overlap = Column(f"overlap:{self.name}", pa.float32(), "share of n-grams", self.name)
        return (drop_column(self.name), overlap)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Collect the benchmarks' n-grams, without those that are common in the pool's sample."""
        texts, owner = [], []
        for number, path in enumerate(self.benchmarks):
            examples = benchmark_texts(Path(path))
            texts += examples
            owner += [number] * len(examples)
        words = words_of(Documents.from_texts(texts), punctuation=False)
        sizes = np.where(words.counts >= self.n, self.n, words.counts)
        wanted = sizes >= min(_LEAST, self.n)
        hashes, items = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for size in np.unique(sizes[wanted]).tolist():
            windows = ngrams_of(words, size)
            item = np.repeat(np.arange(len(words)), windows.counts)
            own = sizes[item] == size
            hashes.append(windows.hashes[own])
            items.append(item[own])
        distinct, place = np.unique(np.concatenate(hashes), return_inverse=True)
        pairs = np.unique(np.stack([place, np.concatenate(items)], 1), axis=0)
        state: dict[str, Any] = {
            "grams": distinct,
            "sizes": np.unique(sizes[wanted]),
            "pair_gram": pairs[:, 0],
            "pair_item": pairs[:, 1],
            "owner": np.array(owner, np.int64),
        }
        rows, hits = _matches(words_of(pool.sample(), punctuation=False), state)
        held = np.unique(np.stack([hits, rows], 1), axis=0)[:, 0]
        many = np.bincount(held, minlength=len(distinct)) > self.common
        several = np.bincount(pairs[:, 0], minlength=len(distinct)) > 1
        counts = ~(many & several)[pairs[:, 0]]
        state["pair_gram"], state["pair_item"] = pairs[counts, 0], pairs[counts, 1]
        return state

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return `drop` and the overlap."""
        words = words_of(batch.documents, punctuation=False)
        rows, found = _matches(words, state)
        held = np.unique(np.stack([rows, found], 1), axis=0)
        # Each n-gram with every example that has it.
        first = np.searchsorted(state["pair_gram"], held[:, 1])
        many = np.searchsorted(state["pair_gram"], held[:, 1], "right") - first
        row = np.repeat(held[:, 0], many)
        inside = np.arange(int(many.sum())) - np.repeat(np.cumsum(many) - many, many)
        item = state["pair_item"][np.repeat(first, many) + inside]
        pairs, count = np.unique(np.stack([row, item], 1), axis=0, return_counts=True)
        whole = np.bincount(state["pair_item"], minlength=len(state["owner"]))
        share = count / np.maximum(whole[pairs[:, 1]], 1)
        overlap = np.zeros(len(words))
        np.maximum.at(overlap, pairs[:, 0], share)
        drop = np.zeros(len(words), np.uint8)
        bad = share >= max(self.share, np.finfo(float).tiny)
        for k in np.flatnonzero(bad)[::-1].tolist():  # the benchmark that is named first stays
            code = state["owner"][pairs[k, 1]] + 1
            drop[pairs[k, 0]] = min(drop[pairs[k, 0]] or code, code)
        return {DROP: drop, f"overlap:{self.name}": overlap.astype(np.float32)}


def _matches(words: Words, state: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (document, n-gram) of every occurrence of a benchmark's n-gram."""
    all_rows, all_grams = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    grams = state["grams"]
    likely = np.zeros(1 << _FILTER_BITS, np.bool_)
    likely[(grams >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)] = True
    for size in state["sizes"].tolist():
        here = ngrams_of(words, size)
        bits = (here.hashes >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)
        at = np.flatnonzero(likely[bits])
        place = np.minimum(np.searchsorted(grams, here.hashes[at]), len(grams) - 1)
        same = grams[place] == here.hashes[at]
        all_grams.append(place[same])
        all_rows.append(np.searchsorted(here.spans, at[same], side="right") - 1)
    return np.concatenate(all_rows), np.concatenate(all_grams)
