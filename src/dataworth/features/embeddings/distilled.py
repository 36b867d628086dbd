"""Static models of model2vec: a vector for each token, distilled from a sentence model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dataworth.errors import ConfigError, MissingExtra
from dataworth.features.embeddings.base import (
    Texts,
    VectorFeature,
    Vectors,
    as_documents,
    batches,
    folder_identity,
    model_folder,
)
from dataworth.features.embeddings.sentence import SentenceModel


@dataclass(frozen=True)
class DistilledVectors(VectorFeature):
    """A static model of model2vec: a vector for each token, distilled from a sentence model.

    `model`: a folder that `StaticModel.save_pretrained` wrote, or a name on the Hugging Face hub.
    All of a text counts. Needs the extra `embed`; without a network a folder can be made of any
    sentence model at hand by `distil`.
    """

    model: str

    name = "distilled_vectors"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._model.dim)

    @property
    def settings(self) -> dict[str, Any]:
        """What the vectors depend on."""
        return {"files": folder_identity(model_folder(self.model, "distilled vectors"))}

    def embed(self, texts: Texts) -> Vectors:
        """The model's vectors, float32 [n, dimension]."""
        documents = as_documents(texts)
        out = np.empty((len(documents), self.dimension), np.float32)
        for start, stop in batches(documents):
            part = documents.take(np.arange(start, stop)).texts()
            out[start:stop] = self._model.encode(
                part, max_length=None, use_multiprocessing=False, show_progress_bar=False
            )
        return out

    @property
    def _model(self) -> Any:
        return _load_distilled(str(model_folder(self.model, "distilled vectors")))


def distil(
    model: str, folder: str | Path, *, dimensions: int = 256, sif: float = 1e-4
) -> DistilledVectors:
    """Make a static model of a sentence model, in a folder that model2vec loads.

    `model`: as in `SentenceModel`; "" is MiniLM (about a minute of one core). Each token's vector
    is the mean of its last hidden states when it stands alone between the special tokens; then the
    first principal `dimensions`; then the weight a / (a + p), p by Zipf's law over the token's
    number. This is model2vec's own recipe, whose `distill` asks for an older transformers.
    """
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise MissingExtra("distilling a static model", "embed") from error
    loaded = SentenceModel(model)._loaded
    tokens = range(loaded.tokenizer.get_vocab_size())
    if not 1 <= dimensions <= loaded.dimension:
        raise ConfigError(f"distil: dimensions must lie between 1 and {loaded.dimension}")
    rows = [
        loaded.means([[*loaded.head, token, *loaded.tail] for token in tokens[start : start + 512]])
        for start in range(0, len(tokens), 512)
    ]
    vectors = np.concatenate(rows).astype(np.float64)
    vectors -= vectors.mean(axis=0)
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    vectors = vectors @ axes[:, ::-1][:, :dimensions]
    share = 1 / np.arange(2, len(tokens) + 2)
    share /= share.sum()
    vectors *= (sif / (sif + share))[:, None]
    static = StaticModel(
        vectors.astype(np.float32), loaded.tokenizer, normalize=True, max_length=None
    )
    static.save_pretrained(str(folder))
    return DistilledVectors(str(folder))


@cache
def _load_distilled(folder: str) -> Any:
    try:
        from model2vec import StaticModel
        from safetensors import SafetensorError
    except ImportError as error:
        raise MissingExtra("a static model of model2vec", "embed") from error
    try:
        return StaticModel.from_pretrained(folder)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ConfigError(f"{folder}: holds no static model of model2vec ({error})") from error
