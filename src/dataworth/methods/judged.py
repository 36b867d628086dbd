"""What methods have in common that ask a model behind an endpoint, and learn to rate as it does.

Documents are asked about while fitting alone: there the budget is one, and what was answered is
kept in the run's folder. A linear rater on an embedding carries the judgements to all documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from dataworth.corpus.documents import Documents
from dataworth.engine.device import AUTO, HELP
from dataworth.errors import DataworthError, RunError
from dataworth.features.embeddings import unit_rows
from dataworth.features.endpoint import Endpoint
from dataworth.features.feature import fingerprint
from dataworth.features.preferences import Values, choose_ridge, fit_shares
from dataworth.methods.base import Score, State
from dataworth.methods.embedding_similarity import EmbeddingSimilarity
from dataworth.options import option

OPEN, CLOSE = "\n<<<\n", "\n>>>\n"
"""What stands around a text in a prompt."""


@dataclass(frozen=True, kw_only=True)
class Judged(Endpoint, Score):
    """Base of the steps that ask a model about documents, by way of a rater or directly."""

    needs_target: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    embedder: Literal["sentence", "words", "ngrams"] = option(
        "sentence",
        help='What the rater reads of a text: "sentence": a sentence-transformers model; "words": '
        'word vectors; "ngrams": hashed n-grams, which need no model.',
    )
    vectors: str = option(
        "",
        help="Folder or name of the embedder's model; all-MiniLM-L6-v2 for an empty one of "
        "sentences.",
        content=True,
    )
    device: str = option(AUTO, help=HELP, run_only=True)

    def __post_init__(self) -> None:
        """Raise ConfigError for options that do not go together."""
        super().__post_init__()
        self._embedding  # noqa: B018  (checks its options)

    @cached_property
    def _embedding(self) -> EmbeddingSimilarity:
        return EmbeddingSimilarity(self.embedder, model=self.vectors, device=self.device)

    def check(self) -> None:
        """Raise MissingExtra without the extras, ConfigError without a key or the embedder."""
        super().check()
        self._embedding.check()

    @property
    def embedder_now(self) -> str:
        """The digits that tell the embedder, with its model, from another."""
        return fingerprint(self._embedding.feature)

    def embed(self, texts: Sequence[str]) -> Values:
        """Return the features of texts that the rater reads: unit vectors, float64 [n, d]."""
        with self._embedding.working():
            vectors = self._embedding.feature.embed(Documents.from_texts(texts))
        return unit_rows(vectors).astype(np.float64)

    def train(self, inputs: Values, shares: Values) -> tuple[Values, Values, float]:
        """Return a rater's weights [d], its logits for rows held out [m], and the ridge chosen."""
        from threadpoolctl import threadpool_limits

        # One thread: sums are the same on any machine's number of cores, and faster on a busy one.
        with threadpool_limits(1):
            ridge, logits = choose_ridge(inputs, shares)
            return fit_shares(inputs, shares, ridge), logits, ridge

    def rated(self, texts: Sequence[str], weights: Values) -> Values:
        """Return the rater's logits for texts, [n, k], from its weights [k, d]."""
        features = self.embed(texts)
        # Row by row: a product of matrices would round by how many rows there are.
        columns = [(features * one).sum(1) for one in weights]
        return np.stack(columns, 1) if columns else np.zeros((len(texts), 0))

    def check_embedder(self, state: State) -> None:
        """Raise RunError for another embedder than the rater was trained on."""
        if state.once("embedder now", lambda: self.embedder_now) != state["embedder"]:
            raise RunError(
                f"{self.name}: the rater was trained with another embedding model; put that one "
                "back, or fit the step again in another folder"
            )

    def too_few(self, what: str, answers: Sequence[Any]) -> DataworthError:
        """Return the error for a judge whose answers are of no use, with one of them."""
        said = next((answer.text for answer in answers if answer.text), "")
        return DataworthError(
            f"{self.name}: {what}; {self.judge} answers "
            + (f"such as {' '.join(said.split())[:80]!r}" if said else "nothing but refusals")
            + ": ask another model"
        )


def distinct(documents: Documents) -> Documents:
    """Return documents without repeated texts: nothing is paid for twice."""
    _, first = np.unique(documents.uid, return_index=True)
    return documents.take(np.sort(first))


def chunks(text: str, size: int) -> list[str]:
    """Return a text in pieces of `size` characters, the last one shorter; one at least."""
    return [text[start : start + size] for start in range(0, max(len(text), 1), size)]
