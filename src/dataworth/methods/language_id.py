"""Identification of a document's language, by py3langid or by a fastText model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from dataworth.corpus.documents import Column
from dataworth.errors import check_extra
from dataworth.features.line_classifier import PREFIX, load
from dataworth.methods.base import DROP, Batch, Pool, State, Targets, drop_column
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class LanguageId:
    """Keep documents of some languages, and tell each one's language.

    Without `model` py3langid decides (Lui and Baldwin 2012, 97 languages, in the package), of the
    text's first `characters`; with it a fastText model such as lid.176.bin (Joulin et al. 2016).
    FineWeb and DCLM keep English from a confidence of 0.65 on (fastText).
    """

    name: ClassVar[str] = "language_id"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    reasons: ClassVar[tuple[str, ...]] = ("language", "language in doubt")
    keep: tuple[str, ...] = option((), help="Codes such as en; without any, all are kept.")
    confidence: float = option(
        0.65, help="With `keep`, the least confidence.", minimum=0, maximum=1
    )
    model: str = option("", help="A fastText model's file; without it, py3langid.", content=True)
    characters: int = option(10_000, help="Of a text's beginning that are looked at.", minimum=1)

    def check(self) -> None:
        """Raise MissingExtra, or ConfigError for a model that is not there."""
        check_extra(self.name, "classify" if self.model else "langid")
        if self.model:
            load(self.name, self.model)

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop`, the language and the confidence."""
        language = Column(f"language:{self.name}", pa.string(), "code", self.name)
        confidence = Column(f"confidence:{self.name}", pa.float32(), "probability", self.name)
        return (drop_column(self.name), language, confidence)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Learn nothing."""
        return {}

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return the columns."""
        classify = state.once("classify", self._classifier)
        answers = [classify(text[: self.characters]) for text in batch.documents.texts()]
        languages = [language for language, _ in answers]
        confidence = np.array([value for _, value in answers], np.float32)
        other = np.array([bool(self.keep) and name not in self.keep for name in languages], bool)
        doubt = bool(self.keep) & (confidence < np.float32(self.confidence))
        return {
            DROP: np.where(other, 1, 2 * doubt).astype(np.uint8),
            f"language:{self.name}": pa.array(languages, pa.string()),
            f"confidence:{self.name}": confidence,
        }

    def _classifier(self) -> Callable[[str], tuple[str, float]]:
        """Return a function from a text to its language and the confidence."""
        if not self.model:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier

            identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

            def by_bytes(text: str) -> tuple[str, float]:
                language, probability = identifier.classify(text)
                return str(language), float(probability)

            return by_bytes
        loaded = load(self.name, self.model)

        def by_model(text: str) -> tuple[str, float]:
            labels, values = loaded.predict(text.replace("\n", " "))
            return labels[0].removeprefix(PREFIX), min(float(values[0]), 1.0)

        return by_model
