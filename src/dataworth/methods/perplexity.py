"""Perplexity: the loss of a language model on a document, low, high or in the middle.

Marion et al., "When Less is More", 2023, arXiv 2309.04564: of web text the middle of the
distribution trains best (the specification marks the details as remembered, not checked). Lowest
first are POINTS (Liu et al., 2024, arXiv 2409.04828) and DCLM's baseline; which end is best hangs
on the pool (Ankner et al., 2024, arXiv 2405.20541), so choose it on small models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dataworth.corpus.documents import Documents
from dataworth.methods.base import Batch, Pool, State, Targets
from dataworth.methods.keeping import keep_option, keep_unit, kept, sorted_losses
from dataworth.methods.modelled import ModelMeasure, Values, model_option
from dataworth.options import option
from dataworth.registry import register

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader


@register
@dataclass(frozen=True)
class Perplexity(ModelMeasure):
    """The mean loss in nats per token, whose exponential is the perplexity; without a target."""

    name: ClassVar[str] = "perplexity"
    needs_target: ClassVar[bool] = False
    measured: ClassVar[str] = "nats per token"
    mechanism: ClassVar[str] = "top_k"
    model: str = model_option(help="The folder of a causal language model, best of clean text.")
    keep: Literal["low", "middle", "high"] = keep_option("middle")
    sample: int = option(1000, help="Documents that keep=middle ranks among.", minimum=1)

    @property
    def unit(self) -> str:
        """The unit of the utilities."""
        return keep_unit(self.keep, self.measured)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Measure the pool's sample where ranks are needed; tell the time."""
        learned = super().fit(pool, targets)
        if self.keep == "middle":
            sample = super().utilities(Batch(pool.sample(self.sample)), State(learned))
            learned["losses"] = sorted_losses(self.name, sample)
        return learned

    def measure(self, reader: Reader, documents: Documents) -> tuple[Values, Any]:
        """Nats summed over tokens [n], and tokens that are predicted [n]."""
        return reader.losses(documents)

    def utilities(self, batch: Batch, state: State) -> Values:
        """Utilities [n, 1]."""
        return kept(self.keep, super().utilities(batch, state), state.get("losses"))
