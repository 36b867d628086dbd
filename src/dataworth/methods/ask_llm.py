"""Ask-LLM: the probability with which a language model answers that a document is worth it.

Sachdeva et al., "How to Train Data-Efficient LLMs", 2024, arXiv 2402.09668: the
document stands in a question, and its score is P("yes") at the next token, the label with its
leading space; one forward pass. The paper asks Flan-T5 (encoder and decoder); here any causal
language model that lies in a folder. The question is in words of our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.methods.modelled import ModelMeasure, model_option, prefer_option
from dataworth.options import option
from dataworth.registry import register

if TYPE_CHECKING:
    from dataworth.features.gradients.language import Reader

PROMPT = (
    "###\n{text}\n###\n\nIs the text between the marks ### worth training a language model on? "
    "Such a text is well formed and holds knowledge of the world that can be used; nothing in it "
    "is harmful, hateful or obscene.\n\nOptions: yes, no\n\nAnswer:"
)


@register
@dataclass(frozen=True)
class AskLLM(ModelMeasure):
    """P("yes") by a causal language model, asked about one document; without a target."""

    name: ClassVar[str] = "ask_llm"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    reads_pool: ClassVar[bool] = False
    measured: ClassVar[str] = "probability"
    mechanism: ClassVar[str] = "top_k"
    model: str = model_option()
    template: str = option(
        "",
        help="A file with a prompt of your own, with {text} in it, such as one with the marks of a "
        "chat model; a document is cut at its end so that all fits into the context.",
        content=True,
    )
    answer: str = option(
        " yes", help="The answer whose probability counts, with the space before it."
    )
    prefer: Literal["low", "high"] = prefer_option("high")

    def check(self) -> None:
        """Raise ConfigError for a template that cannot be used; see the base for the model."""
        super().check()
        self._around()

    def _around(self) -> tuple[str, str]:
        """Return what stands before and after the document."""
        text = PROMPT
        if self.template:
            try:
                text = Path(self.template).read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is not UTF-8"
                raise ConfigError(
                    f"{self.name}: template {self.template} cannot be read ({reason})"
                ) from error
        before, mark, after = text.partition("{text}")
        if not mark:
            raise ConfigError(f"{self.name}: template {self.template} has no {{text}} in it")
        return before, after

    def measure(
        self, reader: Reader, documents: Documents
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return P(answer) of each document [n], and 1 [n], or 0 for one without a token."""
        encode = reader.tokenizer.encode
        before, after, answer = (
            encode(text, add_special_tokens=False).ids for text in (*self._around(), self.answer)
        )
        before = [*([] if reader.edges[0] is None else [reader.edges[0]]), *before]
        room = reader.context - len(before) - len(after) - len(answer)
        if room < 1 or not answer:
            raise ConfigError(
                f"{self.name}: a context of {reader.context:,} tokens has no room for a document "
                f"beside the prompt of {len(before) + len(after):,} tokens; write a shorter "
                "template, or take another model"
            )
        texts = [encode(text, add_special_tokens=False).ids[:room] for text in documents.texts()]
        asked = np.array([bool(ids) for ids in texts], np.int64)
        items = []
        for ids in texts:
            whole = [*before, *ids, *after, *answer]
            counts = np.zeros(len(whole), np.bool_)
            counts[len(whole) - len(answer) :] = True
            items.append((whole, counts))
        nats = np.zeros(len(documents))
        examples = reader.engine.task.examples(
            items, documents.uid, size=reader.batch_windows, tokens=reader.batch_tokens
        )
        for rows, batch in examples:
            nats[rows] = reader.engine.losses(batch).double().cpu().numpy()
        return np.exp(-nats) * asked, asked
