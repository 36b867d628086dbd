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

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.methods.base import Pool, State, Targets
from dataworth.methods.modelled import (
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
from dataworth.options import option
from dataworth.registry import register

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
class Influence(ModelScore):
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
    normalise: Literal["length", "none", "gradient"] = option(
        "length",
        help='"length": nats for each token of the document, so that a budget of tokens goes where '
        'it helps most; "none": for the whole document; "gradient": for each unit of the norm of '
        "its gradient, as a cosine does.",
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
            vectors = np.empty((len(names), reader.engine.size), np.float32)
            for row, name in enumerate(names):
                gradient = torch.from_numpy(target_gradient(self.name, reader, targets, name))
                vector = gradient[None].to(reader.engine.device)
                solved = preconditioner.apply(vector) * preconditioner.scale
                vectors[row] = solved[0].cpu().numpy()
            # Only now it is known how far the vectors were solved.
            about = preconditioner.describe()
        return self.known(vectors=vectors, about=about)

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
        """Of the utility."""
        if self.solver == "cosine":
            return "cosine"
        per = {"length": " per token", "gradient": " per length of the gradient", "none": ""}
        return f"nats saved{per[self.normalise]}"

    def values(self, documents: Documents, state: State) -> tuple[Values, NDArray[np.int64]]:
        """Return utilities [n, targets], and tokens that are predicted [n]."""
        import torch

        (model,) = self.models_of(state)
        reader = model.reader
        vectors = torch.from_numpy(self.vectors(state, "vectors", reader.engine.size))
        if self.solver == "cosine" or self.normalise == "gradient":
            values, lengths, tokens = reader.scores_and_lengths(documents, vectors)
            return values / np.maximum(lengths, 1e-30)[:, None], tokens
        values, tokens = reader.scores(documents, vectors)
        if self.normalise == "length":
            values = values / np.maximum(tokens, 1)[:, None]
        return values, tokens
