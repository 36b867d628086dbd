"""Self-influence: what training on a document does to the document's own loss.

Koh and Liang 2017, section 5.4; TracIn's section 4.1 (Pruthi et al. 2020) uses it to find wrong
labels. It is large for what is unlike the rest: noise and mislabelled examples among it, but also
what is rare and right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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
    prefer_option,
    sample_option,
    tell_cost,
    trained_option,
)
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class SelfInfluence(ModelScore):
    """The fall of a document's own loss, a token, from one more copy of it; without a target."""

    name: ClassVar[str] = "self_influence"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    mechanism: ClassVar[str] = "top_k"
    measured: ClassVar[str] = "nats per token"
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

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Fit the curvature on the pool's sample."""
        from dataworth.features.gradients.solving import Curvature, pack, solve

        reader = self.of(self.model, cut=False).reader
        sample = pool.sample()
        how = Curvature(
            self.solver, self.damping, self.sample, seed=pool.seed, factor_width=self.factor_width
        )
        with reader.working():
            passes = how.passes(reader.engine.size) * min(self.sample, len(sample))
            tell_cost(self, reader, pool, Targets({}), passes=passes)
            tokens = float(self.trained)
            if not tokens and how.fitted:
                mean = reader.items(how.chosen(sample)).tokens.mean()
                tokens = float(mean) * pool.documents
            arrays, about = pack(solve(reader, sample, how, tokens))
        return self.known(about=about, **arrays)

    def values(self, documents: Documents, state: State) -> tuple[Values, NDArray[np.int64]]:
        """Return utilities [n, 1], and tokens that are predicted [n]."""
        from dataworth.features.gradients.solving import unpack

        (model,) = self.models_of(state)
        reader = model.reader
        engine = reader.engine
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        preconditioner = unpack(arrays, engine.blocks, state["about"], engine.device)
        saved, tokens = reader.self_scores(documents, preconditioner)
        per_token = saved * preconditioner.scale / np.maximum(tokens, 1)
        return self._sign * per_token[:, None], tokens
