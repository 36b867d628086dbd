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
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.methods.base import Context, Targets, check_choice
from dataworth.methods.modelled import (
    Model,
    Modelled,
    Reads,
    Values,
    as_texts,
    check_models,
    check_targets,
    load_modelled,
    models_again,
    pool_documents,
    target_gradient,
    tell_cost,
)
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
class Influence(Reads):
    """The estimated fall of the target's loss from training on the document.

    `model`: the folder of a causal language model, of Hugging Face or of dataworth.lm, trained on
    the pool or the like. `solver`: how directions are weighed: "identity" (the plain inner product
    of gradients: one step of learning rate 1), "cosine" (the same without lengths), "diagonal",
    "kfac", "ekfac", "ekfac_cg" (slower, nearer to the inverse), "lissa" (slower still), or "dense"
    (exact; up to 8,192 parameters); for models that have their optimizer's moments beside them
    (`dataworth proxy`): "adam" (one step of Adam), or "adam_cg" (conjugate gradients with the
    damping that the model's training is like).
    `layers`: patterns of the modules that count, such as ["*feed*"]; all, if there are none.
    `damping`: share of each block's mean curvature. `sample`: documents of the pool that the
    curvature is fitted on. `steps`: of ekfac_cg and adam_cg; lissa takes ten times as many, each on
    a batch. `trained`: tokens that the model was trained on;
    0: as many as the pool has; a factor of all utilities, no more.
    `normalise`: "length" gives nats for each token of the document, so that a budget of tokens
    goes where it helps most; "none" for the whole document; "gradient" for each unit of length of
    the document's gradient, which is what a cosine does.
    `factor_width`: of a layer's side whose factor kfac, ekfac, ekfac_cg and lissa take whole; wider
    ones go in blocks.
    `windows`: of the model's context that count of a document that is scored, from its beginning;
    0: all of it. `context`: tokens that the model sees at once; 0: as many as it was made for,
    2,048 at most. `batch_tokens`: positions that run at once; 0: as suits the model. `device`: auto
    (CUDA if there, else the CPU), cpu, cuda or cuda:1; `dtype`: the numbers of the model. `chats`:
    "model" reads chats by the chat template beside the model, if there is one; "text" as the
    template of the run makes them.
    """

    name: ClassVar[str] = "influence"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    model: str = ""
    solver: Solver = "ekfac"
    layers: tuple[str, ...] = ()
    damping: float = 0.1
    sample: int = 256
    steps: int = 20
    trained: int = 0
    normalise: Literal["length", "none", "gradient"] = "length"
    factor_width: int = 2048

    def __post_init__(self) -> None:
        as_texts(self, "layers")
        check_models(self.name, [self.model])
        check_choice(self.name, "solver", self.solver, SOLVERS)
        check_choice(self.name, "normalise", self.normalise, ("length", "none", "gradient"))
        if min(self.damping, self.trained) < 0 or min(self.sample, self.steps) < 1:
            raise ConfigError(
                f"{self.name}: damping and trained are 0 or more, sample and steps at least 1"
            )
        if self.factor_width < 1:
            raise ConfigError(f"{self.name}: factor_width is 1 or more, not {self.factor_width}")
        self.check_reading(self.name)

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> FittedInfluence:
        """Fit the curvature and apply it to each target's gradient.

        Raises DataworthError for a target without a token.
        """
        import torch

        from dataworth.features.gradients.solving import check_solver

        names = check_targets(self.name, targets)
        reader = self.of(self.model, cut=False).reader
        with reader.working():
            check_solver(reader, self.solver)
            how = self._curvature(context)
            passes = how.passes(reader.engine.size, len(names))
            passes *= min(self.sample, len(context.sample()))
            tell_cost(
                self.name, reader, pool, targets, context, passes=passes, windows=self.windows
            )
            preconditioner = self._solve(reader, pool, context)
            vectors = np.empty((len(names), reader.engine.size), np.float32)
            for row, name in enumerate(names):
                gradient = torch.from_numpy(target_gradient(self.name, reader, targets, name))
                vector = gradient[None].to(reader.engine.device)
                solved = preconditioner.apply(vector) * preconditioner.scale
                vectors[row] = solved[0].cpu().numpy()
            # Only now it is known how far the vectors were solved.
            about = preconditioner.describe()
        known = self.of(self.model, identity=reader.identity)
        return FittedInfluence(self, known, names, vectors, {"about": about})

    def _curvature(self, context: Context) -> Any:
        from dataworth.features.gradients.solving import Curvature

        return Curvature(
            self.solver, self.damping, self.sample, self.steps, context.seed, self.factor_width
        )

    def _solve(self, reader: Any, pool: Corpus, context: Context) -> Any:
        from dataworth.features.gradients.solving import solve

        sample, how = context.sample(), self._curvature(context)
        tokens = float(self.trained)
        if not tokens and how.fitted:
            some = how.chosen(sample)
            tokens = reader.items(some).tokens.mean() * pool_documents(pool, context)
        return solve(reader, sample, how, tokens)

    @property
    def unit(self) -> str:
        """Of the utility."""
        if self.solver == "cosine":
            return "cosine"
        per = {"length": " per token", "gradient": " per length of the gradient", "none": ""}
        return f"nats saved{per[self.normalise]}"

    @staticmethod
    def load(step: Influence, folder: Path) -> FittedInfluence:
        """The fitted step from its folder."""
        facts, arrays = load_modelled(folder)
        (model,) = models_again(step, facts, [step.model])
        about = {"about": facts["about"]}
        return FittedInfluence(step, model, facts["targets"], arrays["vectors"], about)


class FittedInfluence(Modelled):
    """The step, ready to use; `vectors` float32 [targets, P] multiply the gradients."""

    step: Influence

    def __init__(
        self,
        step: Influence,
        model: Model,
        targets: list[str],
        vectors: NDArray[np.float32],
        facts: dict[str, Any],
    ) -> None:
        super().__init__(step, [model], targets, step.unit, {"vectors": vectors}, facts)

    def values(self, documents: Documents) -> tuple[Values, NDArray[np.int64]]:
        """Utilities [n, targets], and tokens that are predicted [n]."""
        import torch

        reader = self.models[0].reader
        vectors = torch.from_numpy(self.vectors("vectors", reader.engine.size))
        if self.step.solver == "cosine" or self.step.normalise == "gradient":
            values, lengths, tokens = reader.scores_and_lengths(documents, vectors)
            return values / np.maximum(lengths, 1e-30)[:, None], tokens
        values, tokens = reader.scores(documents, vectors)
        if self.step.normalise == "length":
            values = values / np.maximum(tokens, 1)[:, None]
        return values, tokens
