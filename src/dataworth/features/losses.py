"""The loss of every document under a causal language model, as a feature.

Perplexity filters, loss trajectories and the study of embeddings read it; a document's loss is
computed once. `nats / tokens` is the loss a token, `nats / ln 2 / bytes` the bits a byte.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.engine.device import AUTO, HELP, check_device, exclusive, find_device
from dataworth.features.embeddings.base import folder_identity, model_folder
from dataworth.features.embeddings.causal import load
from dataworth.features.embeddings.running import check_running, one_thread
from dataworth.features.feature import FeatureColumn
from dataworth.options import option


@dataclass(frozen=True)
class DocumentLosses:
    """A feature: nats summed over a document's tokens, tokens, and bytes of text that they cover.

    `model`: a folder that `dataworth.lm` wrote, any folder of a transformers model, or a name on
    the Hugging Face hub. `window`: the document is cut after so many tokens; 0: all count, and the
    end token after them. `context`: tokens that are seen at once, 0: as many as the model was made
    for, 2,048 at most; a longer document is read in windows that overlap by half
    (`dataworth.lm.evaluation`).
    `precision`: "float32" or "bfloat16", which is faster where processors have it, and less exact.
    `device`: auto (CUDA if there, else the CPU), cpu, cuda, cuda:1 or mps.

    Losses mean something for documents that the model was not trained on.
    """

    model: str
    window: int = 0
    context: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    batch_tokens: int = 2048
    device: str = option(AUTO, help=HELP, run_only=True)

    name: ClassVar[str] = "document_losses"
    columns: ClassVar[tuple[str, ...]] = ("nats", "tokens", "bytes")
    dimension: ClassVar[int] = 3
    dtype: ClassVar[str] = "float64"

    def __post_init__(self) -> None:
        check_running(self.precision, self.batch_tokens, window=self.window, context=self.context)
        check_device(self.device)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine the losses."""
        return {
            "files": folder_identity(Path(self._folder)),
            "window": self.window,
            "context": self.context,
            "precision": self.precision,
            "batch_tokens": self.batch_tokens,
        }

    def working(self) -> AbstractContextManager[None]:
        """Run torch on one thread for each worker."""
        return one_thread("lm")

    def values(self, documents: Documents) -> NDArray[np.float64]:
        """Compute float64 [n, 3]: nats, tokens, bytes."""
        texts = documents.texts()
        if not texts:
            return np.empty((0, 3))
        model = load(self._folder, self.device)  # says what to install if lm's packages are missing
        from dataworth.features.gradients.reading import LONGEST
        from dataworth.lm.evaluation import OVERLAP
        from dataworth.lm.predictions import predict
        from dataworth.lm.tokenizer import check_vocabulary, edges, load_tokenizer

        tokenizer = load_tokenizer(self._folder)
        check_vocabulary(tokenizer, int(model.vocabulary), self._folder)
        start, end = edges(tokenizer, self._folder)
        items, sizes = [], []
        for text, found in zip(
            texts, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True
        ):
            if self.window and len(found.ids) >= self.window:
                items.append([start, *found.ids[: self.window]])
                covered = text[: found.offsets[self.window - 1][1]]
            else:
                items.append([start, *found.ids, end])
                covered = text
            sizes.append(len(covered.encode("utf-8")))
        with exclusive(find_device(self.device)):
            predictions = predict(
                model,
                items,
                [1] * len(items),
                self.context or min(model.context, LONGEST),
                OVERLAP,
                self.batch_tokens,
                1,
                self.precision,
            )
        nats = [float(one.sum()) for one, _ in predictions]
        return np.stack([nats, [len(one) for one, _ in predictions], sizes], axis=1)

    @property
    def _folder(self) -> str:
        return str(model_folder(self.model, "document losses"))


def per_token(losses: FeatureColumn) -> NDArray[np.float64]:
    """Return the loss in nats per token of every document, float64 [rows]."""
    nats, tokens = losses.column("nats"), losses.column("tokens")
    return np.asarray(nats / np.maximum(tokens, 1), np.float64)


def bits_per_byte(losses: FeatureColumn) -> NDArray[np.float64]:
    """Return every document's bits per byte, float64 [rows]; comparable between tokenizers."""
    nats, size = losses.column("nats"), losses.column("bytes")
    return np.asarray(nats / np.log(2) / np.maximum(size, 1), np.float64)
