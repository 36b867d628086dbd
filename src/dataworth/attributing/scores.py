"""The step of an attribution: the scores of all documents for each query, as columns of the table.

`matrix:attribution:queries` holds a document's scores, float32 [queries], and `tokens:attribution`
the tokens of it that are predicted; a document without any has scores of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Column, Documents
from dataworth.errors import DataworthError
from dataworth.features.gradients.queries import TOGETHER, fit_vectors, mapped
from dataworth.features.gradients.solving import Curvature, residual_of, solve
from dataworth.methods.base import Batch, Pool, State, Targets
from dataworth.methods.modelled import ModelScore, Values
from dataworth.options import option
from dataworth.options.calls import Solver
from dataworth.table.table import MATRIX

QUERIES = "queries"
"""Name of the target that the queries are."""


@dataclass(frozen=True)
class QueryScores(ModelScore):
    """The estimated fall of each query's loss from one more copy of a document.

    The options are those of `Curvature` and `Reading`. `identity`: of the model, wherever it lies;
    `tokens`: that all documents have, by which the curvature is scaled.
    """

    name: ClassVar[str] = "attribution"
    scores: ClassVar[str] = f"{MATRIX}{name}:{QUERIES}"
    counts: ClassVar[str] = f"tokens:{name}"
    model: str = option("", help="The folder of the model.", run_only=True)
    identity: str = ""
    layers: tuple[str, ...] = ()
    solver: Solver = "ekfac"
    damping: float = 0.1
    sample: int = 256
    steps: int = 20
    seed: int = 0
    factor_width: int = 2048
    tokens: float = 0.0

    @property
    def unit(self) -> str:
        """Unit of the scores."""
        return "cosine" if self.solver == "cosine" else "nats saved"

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return the scores and the tokens."""
        scores = Column(self.scores, pa.list_(pa.float32()), self.unit, self.name)
        return scores, Column(self.counts, pa.int64(), "tokens", self.name)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Fit the curvature on the pool's sample, and apply it to each query's gradient.

        Raises InputError for a query without a token.
        """
        assert pool.folder is not None
        how = Curvature(
            self.solver, self.damping, self.sample, self.steps, self.seed, self.factor_width
        )
        reader = self.of(self.model).reader
        with reader.working():
            found = solve(reader, pool.sample(), how, self.tokens)
            with TemporaryDirectory(prefix=".partial-", dir=pool.folder) as scratch:
                path = Path(scratch) / "vectors.npy"
                fit_vectors(reader, targets.fit[QUERIES], found, path)
                vectors = np.load(path, mmap_mode="r")  # which lasts without its name
        # After the vectors: only now it is known how far they were solved.
        about: dict[str, Any] = {"about": found.describe(), "unit": found.unit}
        residual = residual_of(found)
        if residual is not None:
            about["residual"] = float(f"{residual:.3g}")
        return self.known(vectors=vectors, **about)

    def values(self, documents: Documents, state: State) -> tuple[Values, NDArray[np.int64]]:
        """Return the scores [n, queries], and tokens that are predicted [n]."""
        (model,) = self.models_of(state)
        reader = model.reader
        vectors = mapped(state.array("vectors", np.float32, (None, reader.engine.size)))
        together = max(1, TOGETHER // reader.engine.size)
        if self.solver != "cosine":
            return reader.scores(documents, vectors, together=together)
        values, lengths, tokens = reader.scores_and_lengths(documents, vectors, together=together)
        return values / np.maximum(lengths, 1e-30)[:, None], tokens

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return the scores and the tokens by column."""
        values, tokens = self.asked(batch, state)
        with np.errstate(over="ignore"):  # told below
            scores = values.astype(np.float32)
        if not np.isfinite(scores).all():
            raise DataworthError(f"{self.name}: scores are not finite; try another dtype or model")
        return {self.scores: scores, self.counts: tokens}
