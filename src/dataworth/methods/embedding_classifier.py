"""Classifier on embeddings: a small head on frozen vectors of documents.

FineWeb2-HQ (Messmer et al. 2025, arXiv 2502.10361) trains a network of one hidden layer on
embeddings, texts of high quality against the pool; FineWeb-Edu (Penedo et al. 2024, arXiv
2406.17557) a linear regression on ratings. Here both heads can be had with both kinds of labels.

Departures: vectors are centred on the pool's sample and of length 1, times the root of their
dimension; sizes and passes of the network are ours (the published ones were not checked), and the
linear head is a ridge in closed form, where FineWeb-Edu's is trained by steps.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.errors import ConfigError, InputError
from dataworth.features.embeddings.readout import hidden_layer, read_out, ridge
from dataworth.features.ngrams.logistic import balanced
from dataworth.methods.base import Batch, Pool, Score, State, Targets
from dataworth.methods.classes import negatives_option, two_classes
from dataworth.methods.embedded import Embedded
from dataworth.methods.linear import mechanism_option
from dataworth.options import option
from dataworth.registry import register

_PARTS = {"ridge": ("w", "b"), "mlp": ("w1", "b1", "w", "b")}


@register
@dataclass(frozen=True)
class EmbeddingClassifier(Embedded, Score):
    """A head on embeddings: log odds of target against pool, or a rating."""

    name: ClassVar[str] = "embedding_classifier"
    version: ClassVar[int] = 1
    head: Literal["mlp", "ridge"] = option(
        "mlp",
        help='"mlp": one hidden layer (FineWeb2-HQ); "ridge": a linear one, in closed form, of '
        "labels 1 and -1 or of ratings (FineWeb-Edu).",
    )
    rated: str = option(
        "", help="File of rated documents, instead of target and pool.", content=True
    )
    rating: str = option("score", help="Field of the rated documents that holds the number.")
    penalty: float = option(1.0, help="Penalty on the squared weights of the ridge.", above=0)
    hidden: int = option(256, help="Units of the hidden layer.", minimum=1)
    epochs: int = option(20, help="Passes of the network over the documents.", minimum=1)
    learning_rate: float = option(1e-3, help="Step size of Adam.", above=0)
    negatives: int = negatives_option()
    mechanism: str = mechanism_option("top_k")

    @property
    def needs_target(self) -> bool:  # type: ignore[override]
        """Tell if a target is learned from: rated documents need none."""
        return not self.rated

    @property
    def unit(self) -> str:
        """The unit of the utilities."""
        if self.rated:
            return "rating"
        return "nats" if self.head == "mlp" else "between -1 and 1"

    @property
    def even(self) -> float | None:  # type: ignore[override]
        """The utility of what is as like the pool as the target."""
        return None if self.rated else 0.0

    def check(self) -> None:
        """Raise what keeps the embedder or the file of ratings from being read."""
        super().check()
        if self.rated and not Path(self.rated).exists():
            raise ConfigError(f"{self.name}: there is no file {self.rated!r} of rated documents")

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Fit a head for each target, or one on ratings. InputError for a bad rating."""
        learned = self.learn_mean(self.embed(pool.sample()))
        state = State(learned)
        for t, name in enumerate(targets.names if self.needs_target else ("",)):
            if self.rated:
                documents, values = self._ratings()
                weights = np.ones(len(values))
            else:
                documents, labels = two_classes(self.name, pool, targets, name, self.negatives)
                weights, values = balanced(labels), labels.astype(np.float64)
            vectors = self._scaled(Batch(documents), state)
            if self.head == "ridge":
                signs = values if self.rated else 2 * values - 1
                net = ridge(vectors, signs, weights, self.penalty)
            else:
                net = hidden_layer(
                    *(vectors, values, weights),
                    logistic=not self.rated,
                    hidden=self.hidden,
                    epochs=self.epochs,
                    learning_rate=self.learning_rate,
                    seed=pool.seed,
                )
            learned |= {f"{part}_{t}": value for part, value in net.items()}
        return learned

    def _scaled(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return vectors whose numbers are about 1 in size, [n, d]."""
        vectors = self.unit_vectors(batch, state).astype(np.float64)
        scaled: NDArray[np.float64] = vectors * np.sqrt(vectors.shape[1])
        return scaled

    def _ratings(self) -> tuple[Documents, NDArray[np.float64]]:
        """Return the rated documents, by uid, and their numbers."""
        corpus = Corpus.open(self.rated, fields=Fields(groups=(self.rating,)))
        documents, _ = corpus.read_all()
        documents = documents.take(np.argsort(documents.uid, kind="stable"))
        values = np.full(len(documents), np.nan)
        for row, text in enumerate(documents.columns[self.rating].to_pylist()):
            with contextlib.suppress(TypeError, ValueError):
                values[row] = float(text)
            if not np.isfinite(values[row]):
                raise InputError(
                    f"{self.rated}: the document {documents.text(row)[:40]!r} has no number as "
                    f"{self.rating!r} but {text!r}; name the field that has it (rating=FIELD)"
                )
        if len(np.unique(values)) < 2:
            raise InputError(f"{self.rated}: all ratings are alike, so there is nothing to learn")
        return documents, values

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the log odds, the discriminant or the rating of each document."""
        vectors = self._scaled(batch, state)
        columns = []
        for t in range(max(len(state.targets), 1)):
            net = {part: np.asarray(state[f"{part}_{t}"]) for part in _PARTS[self.head]}
            columns.append(read_out(net, vectors))
        return np.stack(columns, 1)
