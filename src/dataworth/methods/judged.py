"""The base of methods that ask a model behind an endpoint, and learn to rate as it does.

Documents are asked about while fitting alone: there the budget is one, and what was answered is
kept in the run's folder. A linear rater on an embedding carries the judgements to all documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dataworth.corpus.documents import Documents
from dataworth.errors import DataworthError
from dataworth.features.endpoint import Endpoint
from dataworth.features.preferences import Values, choose_ridge, fit_shares
from dataworth.methods.base import Batch, Score, State
from dataworth.methods.embedded import Embedded

OPEN, CLOSE = "\n<<<\n", "\n>>>\n"
"""What stands around a text in a prompt."""


@dataclass(frozen=True, kw_only=True)
class Judged(Endpoint, Embedded, Score):
    """Base of the steps that ask a model about documents, by way of a rater or directly.

    `judge` is the model that is asked, `embedder` with its `model` what the rater reads.
    """

    needs_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ConfigError for options that do not go together."""
        Endpoint.__post_init__(self)
        Embedded.__post_init__(self)

    def check(self) -> None:
        """Raise MissingExtra without the extras, ConfigError without a key or the embedder."""
        Endpoint.check(self)
        Embedded.check(self)

    def read(self, texts: Sequence[str], state: State) -> Values:
        """Return what the rater reads of texts, [n, d]; see `Embedded.unit_vectors`."""
        batch = Batch(Documents.from_texts(texts))
        return self.unit_vectors(batch, state).astype(np.float64)

    def train(self, inputs: Values, shares: Values) -> tuple[Values, Values, float]:
        """Return a rater's weights [d], its logits for rows held out [m], and the ridge chosen."""
        from threadpoolctl import threadpool_limits

        # One thread: sums are the same on any machine's number of cores, and faster on a busy one.
        with threadpool_limits(1):
            ridge, logits = choose_ridge(inputs, shares)
            return fit_shares(inputs, shares, ridge), logits, ridge

    def too_few(self, what: str, answers: Sequence[Any]) -> DataworthError:
        """Return the error for a judge whose answers are of no use, with one of them."""
        said = next((answer.text for answer in answers if answer.text), "")
        return DataworthError(
            f"{self.name}: {what}; {self.judge} answers "
            + (f"such as {' '.join(said.split())[:80]!r}" if said else "nothing but refusals")
            + ": ask another model"
        )


def weighted(features: Values, weights: Values) -> Values:
    """Return features times weights [d], [n], row by row.

    A product of matrices would round by how many rows there are.
    """
    return np.asarray((features * weights).sum(1), np.float64)


def distinct(documents: Documents) -> Documents:
    """Return documents without repeated texts: nothing is paid for twice."""
    _, first = np.unique(documents.uid, return_index=True)
    return documents.take(np.sort(first))
