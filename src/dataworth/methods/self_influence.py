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
from dataworth.methods.base import Context, Targets
from dataworth.methods.modelled import (
    Model,
    Reads,
    Untargeted,
    damping_option,
    factor_width_option,
    identified,
    layers_option,
    load_modelled,
    model_option,
    models_again,
    pool_documents,
    prefer_option,
    sample_option,
    tell_cost,
    trained_option,
)
from dataworth.options import option
from dataworth.registry import register

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader


@register
@dataclass(frozen=True)
class SelfInfluence(Reads):
    """The fall of a document's own loss, a token, from one more copy of it; without a target."""

    name: ClassVar[str] = "self_influence"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    mechanism: ClassVar[str] = "top_k"
    model: str = model_option()
    solver: Literal["identity", "diagonal", "kfac", "ekfac"] = option(
        "ekfac", help="The preconditioner of the gradients, as in `influence`."
    )
    prefer: Literal["low", "high"] = prefer_option("low")
    layers: tuple[str, ...] = layers_option()
    damping: float = damping_option()
    sample: int = sample_option()
    trained: int = trained_option()
    factor_width: int = factor_width_option()

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
