"""Moore-Lewis with two causal language models: the loss under the pool's minus the target's.

The difference of Moore and Lewis, "Intelligent Selection of Language Model Training Data", ACL
2010, with models of any kind, such as one that was trained on the pool and the same one trained
further on the target. It is also the reducible loss of RHO, with the signs of a selection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError, DataworthError
from dataworth.methods.base import State
from dataworth.methods.modelled import ModelScore, Values, models_option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class MooreLewisModels(ModelScore):
    """Nats per token that a model of the target saves against one of the pool."""

    name: ClassVar[str] = "moore_lewis_models"
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    measured: ClassVar[str] = "nats per token"
    even: ClassVar[float | None] = 0.0
    mechanism: ClassVar[str] = "top_k"
    models: tuple[str, ...] = models_option(
        help="Folders of two causal language models of one tokenizer: the target's, the pool's."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.models) != 2:
            raise ConfigError(
                f"{self.name}: needs two models, the target's and the pool's, not "
                f"{len(self.models)}: models=[TARGET, POOL]"
            )

    def check(self) -> None:
        """Raise MissingExtra or ConfigError for models that are not there or do not go together."""
        super().check()
        from dataworth.lm.tokenizer import load_tokenizer

        first, second = (load_tokenizer(source).get_vocab() for source in self.models)
        if first != second:
            raise ConfigError(
                f"{self.name}: {self.models[0]} and {self.models[1]} have different tokenizers, so "
                "their losses per token cannot be compared; take models of one tokenizer"
            )

    def values(self, documents: Documents, state: State) -> tuple[Values, Any]:
        """Return utilities [n, 1], and tokens that are predicted [n]."""
        target, pool = (model.reader.losses(documents) for model in self.models_of(state))
        nats, tokens = target
        if (tokens != pool[1]).any():
            raise DataworthError(
                f"{self.name}: the two models read a document as different tokens; give context= "
                "the shorter of their contexts, and chats=text if one has a chat template"
            )
        return ((pool[0] - nats) / tokens.clip(1))[:, None], tokens
