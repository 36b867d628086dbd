"""TracIn: gradients of document and target at several checkpoints of one training, multiplied.

Pruthi, Liu, Kale and Sundararajan, "Estimating Training Data Influence by Tracing Gradient
Descent", NeurIPS 2020. The utility is the sum over checkpoints of the learning rate there times
the inner product of the two gradients: what a step of plain descent on the document would have
done to the target's loss at each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.methods.base import Pool, State, Targets
from dataworth.methods.modelled import (
    ModelScore,
    Values,
    layers_option,
    models_option,
    per_option,
    target_gradients,
    tell_cost,
)
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class TracIn(ModelScore):
    """The fall of the target's loss by steps on the document, over several checkpoints."""

    name: ClassVar[str] = "tracin"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    models: tuple[str, ...] = models_option(
        help="Folders of the checkpoints, of Hugging Face or of dataworth.lm; models of several "
        "seeds do as well."
    )
    learning_rates: tuple[float, ...] = option(
        (), help="At each of them; none: 1 divided by their number.", above=0
    )
    layers: tuple[str, ...] = layers_option()
    per: Literal["token", "document"] = per_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rates and len(self.learning_rates) != len(self.models):
            raise ConfigError(
                f"{self.name}: {len(self.models)} models have {len(self.learning_rates)} learning "
                "rates"
            )

    @property
    def rates(self) -> tuple[float, ...]:
        """The weight of each checkpoint."""
        return self.learning_rates or (1 / len(self.models),) * len(self.models)

    @property
    def unit(self) -> str:
        """The unit of the utility."""
        return "nats saved per token" if self.per == "token" else "nats saved"

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Compute the targets' gradients at each checkpoint.

        Raises DataworthError for a target without a token.
        """
        vectors = {}
        for number, (source, rate) in enumerate(zip(self.models, self.rates, strict=True)):
            reader = self.of(source, cut=False).reader
            with reader.working():
                if not number:
                    tell_cost(self, reader, pool, targets, scored=len(self.models))
                gradients = target_gradients(self.name, reader, targets)
            vectors[f"vectors_{number}"] = rate * gradients
        return self.known(**vectors)

    def values(self, documents: Documents, state: State) -> tuple[Values, NDArray[np.int64]]:
        """Return utilities [n, targets], and tokens that are predicted [n]."""
        import torch

        total = np.zeros((len(documents), len(state.targets)))
        tokens = np.zeros(len(documents), np.int64)
        for number, model in enumerate(self.models_of(state)):
            size = model.reader.engine.size
            vectors = torch.from_numpy(self.vectors(state, f"vectors_{number}", size))
            scores, tokens = model.reader.scores(documents, vectors)
            if self.per == "token":  # models may have tokenizers of their own
                scores = scores / np.maximum(tokens, 1)[:, None]
            total += scores
        return total, tokens
