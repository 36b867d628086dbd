"""The base of methods that learn from many public models' losses which text predicts benchmarks.

A table has the losses of the models on some documents, or on domains. The method labels its columns
as good or bad, and a classifier on hashed n-grams, trained on their documents, scores the pool.
The papers train fastText; ours is the logistic regression that other classifiers here are.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError, InputError
from dataworth.features.loss_table import LossTable, read_loss_table
from dataworth.features.ngrams import HashedNgrams
from dataworth.features.ngrams.logistic import Shares, balanced, train_logistic
from dataworth.methods.base import Pool, Targets
from dataworth.methods.length import tokens_option
from dataworth.methods.linear import LinearScore
from dataworth.options import option


@dataclass(frozen=True, kw_only=True)
class FromLosses(LinearScore):
    """Base: log odds of a classifier of documents that a table of losses calls good, of bad ones.

    A step says by `labels` which columns of the table are good and which are bad.
    """

    unit = "nats"
    mean = True
    needs_target: ClassVar[bool] = False
    mechanism: ClassVar[str] = "top_k"
    losses: str = option(
        "",
        help="A table in CSV or Parquet: a row for each model, named in the column `model`, and a "
        "column for each document or domain; or turned round.",
        content=True,
    )
    scores: str = option(
        "",
        help="A table of the models' benchmark scores: the column `model`, and one a benchmark.",
        content=True,
    )
    metric: Literal["accuracy", "error"] = option("accuracy", help="What the scores are.")
    names: str = option(
        "",
        help="The field of the pool that the losses are named by, such as a domain (give it to "
        "--group-by or --id-field); none: the documents' uids, 16 hexadecimal digits each.",
    )
    ngrams: int = option(2, help="The longest n-gram of the classifier.", minimum=1)
    buckets: int = option(
        2**17, help="Buckets that n-grams are hashed into.", minimum=2, maximum=2**32 - 1
    )
    tokens: str = tokens_option()
    strength: float = option(0.1, help="Inverse strength of the penalty on weights.", above=0)

    def __post_init__(self) -> None:
        if not self.losses or not self.scores:
            raise ConfigError(
                f"{self.name}: needs losses=TABLE and scores=TABLE, of models that were evaluated"
            )
        HashedNgrams(self.ngrams, self.buckets, self.tokens)

    @property
    def feature(self) -> HashedNgrams:
        """The n-grams."""
        return HashedNgrams(self.ngrams, self.buckets, self.tokens)

    def check(self) -> None:
        """Raise InputError for tables that cannot be used."""
        read_loss_table(self.losses, self.scores, metric=self.metric)

    @abstractmethod
    def labels(self, table: LossTable, sizes: NDArray[np.float64]) -> NDArray[np.int8]:
        """Return 1 for a good column, -1 for a bad one, 0 for others, int8 [D].

        `sizes`: bytes of the pool that belong to each column.
        """

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Train the classifier. InputError if the table does not fit the pool."""
        table = read_loss_table(self.losses, self.scores, metric=self.metric)
        named = pool.fold(_Named(self.name, self.names, table.columns), _together, self.name)
        documents, column = named or (Documents.from_texts([]), np.zeros(0, np.int64))
        order = np.argsort(documents.uid, kind="stable")  # no order of files counts
        documents = documents.take(order)
        there, column = np.unique(column[order], return_inverse=True)
        if not len(there):
            raise InputError(
                f"{self.losses}: names no document of the pool; its columns are to be "
                + (f"values of the field {self.names!r}" if self.names else "uids (`names=FIELD`)")
            )
        known = [table.columns[number] for number in there]
        table = replace(table, columns=tuple(known), losses=table.losses[:, there])
        sizes = np.bincount(column, documents.text_bytes, len(there)).astype(np.float64)
        labels = self.labels(table, sizes)[column]
        rows = np.flatnonzero(labels)
        good = labels[rows] > 0
        if good.all() or not good.any():
            raise InputError(
                f"{self.losses}: all documents of the pool that it names are called "
                f"{'good' if good.any() else 'bad'}, so there is nothing to tell apart"
            )
        shares, weight = Shares.of(self.feature, documents.take(rows)), balanced(good)
        penalty = (shares.mean(weight) + 1 / self.buckets) / self.strength
        solution = train_logistic(shares, good, weight, penalty)
        return {"weights": solution[:-1, None].copy(), "bias": solution[-1:].copy()}


@dataclass(frozen=True)
class _Named:
    """Documents → those that the table names, and the column of each, int64 [n]."""

    step: str
    field: str
    columns: tuple[str, ...]

    def __call__(self, documents: Documents) -> tuple[Documents, NDArray[np.int64]]:
        column_of = {name: number for number, name in enumerate(self.columns)}
        if not self.field:
            names = [f"{uid:016x}" for uid in documents.uid.tolist()]
        elif self.field in documents.columns:
            names = documents.columns[self.field].to_pylist()
        else:
            raise ConfigError(
                f"{self.step}: the pool is read without the field {self.field!r}; give it to "
                "--group-by or --id-field"
            )
        column = np.array([column_of.get(name, -1) for name in names], np.int64)
        whole = replace(documents, columns={}, spans=None)
        return whole.take(np.flatnonzero(column >= 0)).compact(), column[column >= 0]


def _together(
    left: tuple[Documents, NDArray[np.int64]], right: tuple[Documents, NDArray[np.int64]]
) -> tuple[Documents, NDArray[np.int64]]:
    return Documents.concatenate([left[0], right[0]]), np.concatenate([left[1], right[1]])
