"""Self-influence: what training on a document does to the document's own loss.

Koh and Liang 2017, section 5.4; TracIn's section 4.1 (Pruthi et al. 2020) uses it to find wrong
labels. It is large for what is unlike the rest: noise and mislabelled examples among it, but also
what is rare and right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.methods.base import Context, Targets, check_choice
from dataworth.methods.modelled import (
    Model,
    Reads,
    Untargeted,
    as_texts,
    check_models,
    identified,
    load_modelled,
    models_again,
    pool_documents,
    tell_cost,
)
from dataworth.registry import register

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader

SOLVERS = ("identity", "diagonal", "kfac", "ekfac")


@register
@dataclass(frozen=True)
class SelfInfluence(Reads):
    """The fall of a document's own loss, a token, from one more copy of it; without a target.

    `model`, `solver`, `layers`, `damping`, `sample`, `trained`, `factor_width`, `windows`,
    `context`, `batch_tokens`, `device`, `dtype`, `chats`: as in `influence`.
    `prefer`: "low" keeps what is like the rest (the utility is the negative), "high" what is not.
    """

    name: ClassVar[str] = "self_influence"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    mechanism: ClassVar[str] = "top_k"
    model: str = ""
    solver: Literal["identity", "diagonal", "kfac", "ekfac"] = "ekfac"
    prefer: Literal["low", "high"] = "low"
    layers: tuple[str, ...] = ()
    damping: float = 0.1
    sample: int = 256
    trained: int = 0
    factor_width: int = 2048

    def __post_init__(self) -> None:
        as_texts(self, "layers")
        check_models(self.name, [self.model])
        check_choice(self.name, "solver", self.solver, SOLVERS)
        check_choice(self.name, "prefer", self.prefer, ("low", "high"))
        if min(self.damping, self.trained) < 0 or min(self.sample, self.factor_width) < 1:
            raise ConfigError(
                f"{self.name}: damping and trained are 0 or more, sample and factor_width at least "
                "1"
            )
        self.check_reading(self.name)

    def fit(self, pool: Corpus, targets: Targets, context: Context) -> FittedSelfInfluence:
        """Fit the curvature on the pool's sample."""
        from dataworth.features.gradients.solving import Curvature, pack, solve

        reader = self.of(self.model, cut=False).reader
        sample = context.sample()
        how = Curvature(
            self.solver,
            self.damping,
            self.sample,
            seed=context.seed,
            factor_width=self.factor_width,
        )
        with reader.working():
            passes = how.passes(reader.engine.size) * min(self.sample, len(sample))
            none = Targets({})
            tell_cost(self.name, reader, pool, none, context, passes=passes, windows=self.windows)
            tokens = float(self.trained)
            if not tokens and how.fitted:
                mean = reader.items(how.chosen(sample)).tokens.mean()
                tokens = float(mean) * pool_documents(pool, context)
            arrays, about = pack(solve(reader, sample, how, tokens))
        models = identified(self, [self.model])
        return FittedSelfInfluence(self, models, arrays, {"about": about})

    @staticmethod
    def load(step: SelfInfluence, folder: Path) -> FittedSelfInfluence:
        """The fitted step from its folder."""
        facts, arrays = load_modelled(folder)
        models = models_again(step, facts, [step.model])
        return FittedSelfInfluence(step, models, arrays, {"about": facts["about"]})


class FittedSelfInfluence(Untargeted):
    """The step, ready to use; its arrays are the curvature."""

    def __init__(
        self,
        step: SelfInfluence,
        models: list[Model],
        arrays: dict[str, NDArray[Any]],
        facts: dict[str, Any],
    ) -> None:
        super().__init__(step, models, "nats per token", arrays, facts)

    def measure(
        self, reader: Reader, documents: Documents
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The fall of each document's summed loss [n], and tokens that are predicted [n]."""
        from dataworth.features.gradients.solving import unpack

        engine = reader.engine
        preconditioner = unpack(self.arrays, engine.blocks, self.facts["about"], engine.device)
        found, tokens = reader.self_scores(documents, preconditioner)
        return found * preconditioner.scale, tokens
