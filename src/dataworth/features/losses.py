"""The loss of every document under a causal language model, as a store.

Perplexity filters, loss trajectories and the study of embeddings read it; a document's loss is
computed once. `nats / tokens` is the loss a token, `nats / ln 2 / bytes` the bits a byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.features.embeddings.base import folder_identity, model_folder
from dataworth.features.embeddings.causal import load
from dataworth.features.embeddings.running import one_thread
from dataworth.features.store import Store

_SPARE = 8  # tokens beyond the window that are kept, so that cutting a text changes none within


@dataclass(frozen=True)
class DocumentLosses:
    """A feature: nats summed over a document's tokens, tokens, and bytes of text that they cover.

    `model`: a folder that `dataworth.lm` wrote, any folder of a transformers model, or a name on
    the Hugging Face hub. `window`: only the first so many tokens count; 0: all, and the end token
    after them. `context`: tokens that are seen at once, 0: as many as the model was made for;
    a longer document is read in windows that overlap by half (`dataworth.lm.evaluation`).

    Losses mean something for documents that the model was not trained on.
    """

    model: str
    window: int = 0
    context: int = 0
    batch_tokens: int = 2048

    name: ClassVar[str] = "document_losses"
    columns: ClassVar[tuple[str, ...]] = ("nats", "tokens", "bytes")
    dimension: ClassVar[int] = 3
    dtype: ClassVar[str] = "float64"

    def __post_init__(self) -> None:
        if self.window < 0 or self.context < 0 or self.batch_tokens < 1:
            raise ConfigError(
                "document losses: window and context must be 0 or more, batch_tokens at least 1, "
                f"not {self.window}, {self.context}, {self.batch_tokens}"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What the losses depend on."""
        return {
            "files": folder_identity(Path(self._folder)),
            "window": self.window,
            "context": self.context,
            "batch_tokens": self.batch_tokens,
        }

    def working(self) -> AbstractContextManager[None]:
        """One thread for each worker."""
        return one_thread("lm")

    def values(self, documents: Documents) -> NDArray[np.float64]:
        """float64 [n, 3]: nats, tokens, bytes."""
        texts = documents.texts()
        if not texts:
            return np.empty((0, 3))
        model = load(self._folder)  # says what to install if lm's packages are missing
        from dataworth.lm.evaluation import document_losses
        from dataworth.lm.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(self._folder)
        if self.window:
            return self._beginnings(model, tokenizer, texts)
        found = document_losses(
            model,
            tokenizer,
            texts,
            batch_tokens=self.batch_tokens,
            context=self.context or None,
        )
        return np.stack([found.nats, found.tokens, found.bytes], axis=1).astype(np.float64)

    def _beginnings(self, model: Any, tokenizer: Any, texts: Sequence[str]) -> NDArray[np.float64]:
        """The same over the first `window` tokens, without running the model on the rest."""
        from dataworth.lm.evaluation import token_losses

        parts, ends = _prefixes(tokenizer, texts, self.window)
        losses = token_losses(
            model,
            tokenizer,
            parts,
            batch_tokens=self.batch_tokens,
            context=self.context or None,
        )
        out = np.empty((len(texts), 3))
        for row, (text, end, loss) in enumerate(zip(texts, ends, losses, strict=True)):
            first = loss[: self.window]
            out[row] = first.sum(), len(first), len(text[:end].encode("utf-8"))
        return out

    @property
    def _folder(self) -> str:
        return str(model_folder(self.model, "document losses"))


def _prefixes(tokenizer: Any, texts: Sequence[str], window: int) -> tuple[list[str], list[int]]:
    """Beginnings of texts with the same first `window` tokens, and the character these end at."""
    found = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    parts, ends = [], []
    for text, whole in zip(texts, found, strict=True):
        long = len(whole.ids) > window + _SPARE
        part = text[: whole.offsets[window + _SPARE - 1][1]] if long else text
        if long:
            # Tokens may depend on what follows; then the whole text has to be run.
            again = tokenizer.encode(part, add_special_tokens=False)
            if again.ids[:window] != whole.ids[:window]:
                part = text
        parts.append(part)
        ends.append(whole.offsets[window - 1][1] if len(whole.ids) >= window else len(text))
    return parts, ends


def per_token(store: Store) -> NDArray[np.float64]:
    """The loss a token of every document in a store of losses, nats, float64 [rows]."""
    nats, tokens = store.column("nats"), store.column("tokens")
    return np.asarray(nats / np.maximum(tokens, 1), np.float64)


def bits_per_byte(store: Store) -> NDArray[np.float64]:
    """Bits a byte of every document, float64 [rows]; comparable between tokenizers."""
    nats, size = store.column("nats"), store.column("bytes")
    return np.asarray(nats / np.log(2) / np.maximum(size, 1), np.float64)
