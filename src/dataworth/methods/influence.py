"""Influence functions: what one more copy of a document would do to the target's loss.

Koh and Liang, "Understanding Black-box Predictions via Influence Functions", ICML 2017; for
language models Grosse et al., "Studying Large Language Model Generalization with Influence
Functions", arXiv 2308.03296.

The utility of a document d for a target t is the gradient of the target's loss, times the inverse
of the damped Gauss-Newton matrix, times the gradient of the document's loss. The matrix is
approximated (`solver`) and fitted on documents of the pool. Gradients are of the model as it is: a
model that was trained on random documents of the pool for a while, not a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.methods.base import Pool, State, Targets
from dataworth.methods.modelled import (
    PER_TOKEN,
    ModelScore,
    Values,
    damping_option,
    factor_width_option,
    layers_option,
    model_option,
    sample_option,
    target_gradient,
    tell_cost,
    trained_option,
)
from dataworth.methods.per_query import PerQuery
from dataworth.options import option
from dataworth.registry import register

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader

Solver = Literal[
    "identity",
    "cosine",
    "diagonal",
    "adam",
    "kfac",
    "ekfac",
    "ekfac_cg",
    "adam_cg",
    "lissa",
    "dense",
]
SOLVERS: tuple[str, ...] = get_args(Solver)


@register
@dataclass(frozen=True)
class Influence(PerQuery, ModelScore):
    """The estimated fall of the target's loss from training on the document.

    The solvers: "identity" (the plain inner product of gradients: one step of learning rate 1),
    "cosine" (the same without norms), "diagonal", "kfac", "ekfac", "ekfac_cg" (slower, nearer to
    the inverse), "lissa" (slower still), or "dense" (exact; up to 8,192 parameters); for models
    that have their optimizer's moments beside them (`dataworth proxy`): "adam" (one step of Adam),
    or "adam_cg" (conjugate gradients with the damping that the model's training is like).
    """

    name: ClassVar[str] = "influence"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    model: str = model_option()
    solver: Solver = option("ekfac", help="The preconditioner of the gradients.")
    layers: tuple[str, ...] = layers_option()
    damping: float = damping_option()
    sample: int = sample_option()
    steps: int = option(
        20,
        help="Steps of ekfac_cg and adam_cg; lissa takes ten times as many, each on a batch.",
        minimum=1,
    )
    trained: int = trained_option()
    per: Literal["token", "document", "gradient"] = option(
        "token",
        help='"token": nats for each token of the document, so that a budget of tokens goes where '
        'it helps most; "document": for the whole document; "gradient": for each unit of the norm '
        "of its gradient, as a cosine does.",
        was=PER_TOKEN,
    )
    factor_width: int = factor_width_option()

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Fit the curvature and apply it to each target's gradient.

        Raises DataworthError for a target without a token.
        """
        import torch

        from dataworth.features.gradients.solving import check_solver

        names = targets.names
        reader = self.of(self.model, cut=False).reader
        with reader.working():
            check_solver(reader, self.solver)
            how = self._curvature(pool)
            passes = how.passes(reader.engine.size, len(names))
            passes *= min(self.sample, len(pool.sample()))
            tell_cost(self, reader, pool, targets, passes=passes)
            preconditioner = self._solve(reader, pool)
            queries, shares = self._queries(reader, targets)
            vectors = np.empty((len(queries), reader.engine.size), np.float32)
            for row, query in enumerate(queries):
                vector = torch.from_numpy(query())[None].to(reader.engine.device)
                solved = preconditioner.apply(vector) * preconditioner.scale
                vectors[row] = solved[0].cpu().numpy()
            # Only now it is known how far the vectors were solved.
            about = preconditioner.describe()
        asked: dict[str, Any] = {}
        if self.per_query:
            counts = [len(own) for own in shares]
            asked = {"queries": counts, "shares": np.concatenate(shares)}
        return self.known(vectors=vectors, about=about, **asked)

    def _queries(
        self, reader: Reader, targets: Targets
    ) -> tuple[list[Callable[[], NDArray[np.float32]]], list[NDArray[np.float64]]]:
        """Return what gives the gradient of each query, and the queries' shares of each target.

        A query is a target, or with `per_query` an example of one; its share is that of its tokens.
        """
        queries: list[Callable[[], NDArray[np.float32]]] = []
        shares: list[NDArray[np.float64]] = []
        for name in targets.names:
            documents = targets.fit[name]
            asked = [documents]
            if self.per_query:
                asked = [documents.take(np.array([row])) for row in range(len(documents))]
            queries += [partial(target_gradient, self.name, reader, one, name) for one in asked]
            tokens = reader.items(documents).tokens if self.per_query else np.ones(1)
            shares.append(tokens / tokens.sum())
        return queries, shares

    def reduce(self, values: Values, target: int, state: State) -> Values:
        """Return the mean over a target's queries, weighted by their tokens, [n]."""
        shares = state.array("shares", np.float64, (None,))
        own: NDArray[np.float64] = np.split(shares, np.cumsum(state["queries"])[:-1])[target]
        reduced: Values = values @ own
        return reduced

    def _curvature(self, pool: Pool) -> Any:
        from dataworth.features.gradients.solving import Curvature

        return Curvature(
            self.solver, self.damping, self.sample, self.steps, pool.seed, self.factor_width
        )

    def _solve(self, reader: Any, pool: Pool) -> Any:
        from dataworth.features.gradients.solving import solve

        sample, how = pool.sample(), self._curvature(pool)
        tokens = float(self.trained)
        if not tokens and how.fitted:
            some = how.chosen(sample)
            tokens = reader.items(some).tokens.mean() * pool.documents
        return solve(reader, sample, how, tokens)

    @property
    def unit(self) -> str:
        """The unit of the utility."""
        if self.solver == "cosine":
            return "cosine"
        per = {"token": " per token", "gradient": " per length of the gradient", "document": ""}
        return f"nats saved{per[self.per]}"

    def values(self, documents: Documents, state: State) -> tuple[Values, NDArray[np.int64]]:
        """Return utilities [n, targets], and tokens that are predicted [n]."""
        import torch

        (model,) = self.models_of(state)
        reader = model.reader
        vectors = torch.from_numpy(state.array("vectors", np.float32, (None, reader.engine.size)))
        if self.solver == "cosine" or self.per == "gradient":
            values, lengths, tokens = reader.scores_and_lengths(documents, vectors)
            return values / np.maximum(lengths, 1e-30)[:, None], tokens
        values, tokens = reader.scores(documents, vectors)
        if self.per == "token":
            values = values / np.maximum(tokens, 1)[:, None]
        return values, tokens
