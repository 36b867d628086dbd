"""Sequence classifier: a model of transformers with a head, such as FineWeb-Edu's.

A head of one logit is a regression, whose number is the utility (FineWeb-Edu rates educational
value from 0 to 5 and keeps 3 and more; Penedo et al. 2024, arXiv 2406.17557); of several, the
probability of a label. FineWeb-Edu looks at the first window of a document alone, which is the
default here too. No code of the folder is run, and weights are safetensors only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.engine.device import AUTO, HELP, Dtype, check_device
from dataworth.errors import ConfigError, check_extra
from dataworth.features.heads import Head, load_head
from dataworth.lm.folders import facts_of
from dataworth.methods.base import Batch, Score, State
from dataworth.methods.linear import mechanism_option
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class SequenceClassifier(Score):
    """The rating of a document, or the probability of a label, by a model's head."""

    name: ClassVar[str] = "sequence_classifier"
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    version: ClassVar[int] = 1
    model: str = option(help="The model's folder: weights as safetensors.", content=True)
    label: str = option(
        "", help="The label whose probability is wanted; the second of two unless given."
    )
    windows: int = option(
        1,
        help="Windows of a document that are read, from its beginning; their logits are averaged. "
        "0: all of it.",
        minimum=0,
    )
    window: int = option(
        0, help="Tokens of a window, special ones included; 0: the model's context.", minimum=0
    )
    dtype: Dtype = option("float32", help="Numbers in which the model runs.")
    batch_tokens: int = option(
        4096,
        help="Tokens, padding included, that run at once: changes float32 results in the last "
        "digits only.",
        minimum=1,
        run_only=True,
    )
    device: str = option(AUTO, help=HELP, run_only=True)
    mechanism: str = mechanism_option("top_k")

    def __post_init__(self) -> None:
        check_device(self.device, self.dtype, where=self.name)

    @property
    def unit(self) -> str:
        """The unit of the utilities: "rating" of one logit, else "probability"."""
        return "rating" if len(self._labels) == 1 else "probability"

    @property
    def _config(self) -> dict[str, Any]:
        """The model's configuration. ConfigError for a folder that has none."""
        if not (Path(self.model) / "config.json").is_file():
            raise ConfigError(
                f"{self.name}: {self.model!r} is no folder of a model (it has no config.json)"
            )
        return facts_of(Path(self.model) / "config.json")

    @property
    def _labels(self) -> list[str]:
        """The labels, as transformers counts them: two where the configuration is silent."""
        named = self._config.get("id2label")
        named = named if isinstance(named, dict) else {"0": "LABEL_0", "1": "LABEL_1"}
        return [str(named[key]) for key in sorted(named, key=int)]

    def check(self) -> None:
        """Raise MissingExtra without the extra lm, ConfigError for a model or label of no use."""
        check_extra(self.name, "lm")
        labels = self._labels
        if len(labels) == 1 and self.label:
            raise ConfigError(
                f"{self.name}: {self.model} has one logit, a rating: leave label={self.label} out"
            )
        if (self.label and self.label not in labels) or (not self.label and len(labels) > 2):
            shown = ", ".join(labels[:8]) + (" …" if len(labels) > 8 else "")
            raise ConfigError(f"{self.name}: give label=, one of the model's labels: {shown}")
        self._head()

    def _head(self) -> Head:
        return load_head(str(Path(self.model).resolve()), self.device, self.dtype)

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        """Return the rating or the probability, [n, 1]."""
        head = state.once("head", self._head)
        logits = head.logits(
            batch.documents.texts(),
            window=self.window,
            windows=self.windows,
            batch_tokens=self.batch_tokens,
        )
        if logits.shape[1] == 1:
            return logits
        at = head.labels.index(self.label) if self.label else 1
        if head.model.config.problem_type == "multi_label_classification":
            return 0.5 * (1 + np.tanh(0.5 * logits[:, [at]]))
        return np.exp(logits[:, [at]] - np.logaddexp.reduce(logits, 1, keepdims=True))
