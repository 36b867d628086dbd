"""BM25: how well a document answers the target's texts as a search engine would say.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009. A baseline:
what a method that looks at gradients finds has to be better than what has the same words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Column, Documents
from dataworth.engine.files import read_arrays, read_object
from dataworth.errors import ConfigError, DataworthError
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.base import DROP, Context, Targets, utility_column, write_arrays
from dataworth.methods.length import tokens_option
from dataworth.options import option
from dataworth.registry import register

EMPTY = "without a word"


@register
@dataclass(frozen=True)
class BM25:
    """The mean BM25 score of a document for the target's texts, each of them a query.

    The rarity of a word, and the mean length, are those of the pool's random sample. A query counts
    each of its words once.
    """

    name: ClassVar[str] = "bm25"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    k1: float = option(1.2, help="How soon more of a word counts no more.", minimum=0)
    b: float = option(
        0.75, help="How far a document's length is held against it.", minimum=0, maximum=1
    )
    buckets: int = option(
        1 << 20, help="Buckets that words are hashed into.", minimum=2, maximum=2**32 - 1
    )
    tokens: str = tokens_option()

    def __post_init__(self) -> None:
        HashedNgrams(1, self.buckets, self.tokens)

    @property
    def feature(self) -> HashedNgrams:
        """Words, hashed."""
        return HashedNgrams(1, self.buckets, self.tokens)

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> FittedBM25:
        """A weight for each word and target. DataworthError for a target or pool without a word."""
        if not targets.names:
            raise ConfigError(
                f"{self.name} needs a target: give examples of what the model should learn"
            )
        sample = context.sample()
        lengths = self.feature.lengths(sample)
        if not lengths.any():
            raise DataworthError(f"{self.name}: no document of the pool's sample has a word")
        held = np.bincount(_different(self.feature, sample)[1], minlength=self.buckets)
        # Never below 0, as in Lucene.
        rarity = np.log1p((len(sample) - held + 0.5) / (held + 0.5))
        weights = np.empty((len(targets.names), self.buckets), np.float32)
        for row, name in enumerate(targets.names):
            queries = targets.fit[name]
            counts = np.bincount(_different(self.feature, queries)[1], minlength=self.buckets)
            if not counts.any():
                raise DataworthError(f"{self.name}: the target {name!r} has no word in it")
            weights[row] = rarity * counts / len(queries)
        return FittedBM25(self, targets.names, weights, float(lengths.mean()))

    @staticmethod
    def load(step: BM25, folder: Path) -> FittedBM25:
        """The fitted step from its folder."""
        facts = read_object(folder / "step.json")
        arrays = read_arrays(folder / "arrays.npz")
        weights = np.zeros((len(facts["targets"]), step.buckets), np.float32)
        weights[arrays["row"], arrays["bucket"]] = arrays["weight"]
        return FittedBM25(step, facts["targets"], weights, float(facts["mean_length"]))


def _different(
    feature: HashedNgrams, documents: Documents
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The different words of each document: (row, bucket, how often), int64 [k], by row."""
    spans, buckets = feature.rows(documents)
    row = np.repeat(np.arange(len(documents), dtype=np.int64), np.diff(spans))
    keys, counts = np.unique(row * feature.buckets + buckets, return_counts=True)
    return keys // feature.buckets, keys % feature.buckets, counts


def _sums(row: NDArray[np.int64], values: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Return the sum of each row's values, float64 [n]; of no value, bincount makes integers."""
    return np.bincount(row, values, n).astype(np.float64, copy=False)


class FittedBM25:
    """The step, ready to use: `weights` float32 [targets, buckets], the mean length in words."""

    def __init__(
        self, step: BM25, targets: list[str], weights: NDArray[np.float32], mean_length: float
    ) -> None:
        self.step = step
        self.targets = list(targets)
        self.weights = weights
        self.mean_length = mean_length
        self.columns = (
            *(utility_column(step.name, name, "BM25") for name in targets),
            Column(DROP, pa.string(), "reason", step.name),
        )

    def annotate(self, documents: Documents) -> pa.RecordBatch:
        """A utility for each target; documents without a word are dropped."""
        step, n = self.step, len(documents)
        row, bucket, often = _different(step.feature, documents)
        lengths = _sums(row, often, n)
        full = step.k1 * (1 - step.b + step.b * lengths / self.mean_length)
        part = often * (step.k1 + 1) / (often + full[row])
        empty = lengths == 0
        arrays: list[Any] = [
            pa.array(_sums(row, part * weights[bucket], n), mask=empty)
            for weights in self.weights.astype(np.float64)
        ]
        arrays.append(pa.array([EMPTY]).take(pa.array(np.zeros(n, np.int64), mask=~empty)))
        return pa.RecordBatch.from_arrays(arrays, [column.name for column in self.columns])

    def explain(self, text: str, column: str) -> list[tuple[str, float]]:
        """Each word's part of the utility, by falling size; they add up to it."""
        target = [item.name for item in self.columns].index(column)
        grams = self.step.feature.grams(text)
        often: dict[str, int] = {}
        place: dict[str, int] = {}
        for word, bucket in grams:
            often[word] = often.get(word, 0) + 1
            place[word] = bucket
        step = self.step
        full = step.k1 * (1 - step.b + step.b * len(grams) / self.mean_length)
        parts = [
            (
                word,
                count * (step.k1 + 1) / (count + full) * float(self.weights[target, place[word]]),
            )
            for word, count in often.items()
        ]
        return sorted(parts, key=lambda part: (-abs(part[1]), part[0]))

    def save(self, folder: Path) -> None:
        """`step.json` and `arrays.npz`: the weights that are not 0."""
        row, bucket = np.nonzero(self.weights)
        write_arrays(
            folder,
            {"targets": self.targets, "mean_length": self.mean_length},
            row=row,
            bucket=bucket,
            weight=self.weights[row, bucket],
        )
