"""Embeddings out of a causal language model: its input table, or its last hidden states.

Both are averages over positions, padding left out (Sam et al. 2025, arXiv 2502.02494: "token
embeddings" and "output embeddings", averaged; which layer and pooling are remembered, not checked).
The model is a folder that `dataworth.lm` wrote, or any causal model that transformers loads.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.engine.device import AUTO, HELP, check_device, exclusive, find_device
from dataworth.errors import MissingExtra
from dataworth.features.embeddings.averages import average_rows
from dataworth.features.embeddings.base import (
    Texts,
    VectorFeature,
    Vectors,
    as_documents,
    as_texts,
    batches,
    flat_ids,
    folder_identity,
    kept_by_folder,
    model_folder,
)
from dataworth.features.embeddings.running import (
    PRECISIONS,
    check_running,
    even_batches,
    one_thread,
)
from dataworth.options import option

_WHAT = "causal model"


@dataclass(frozen=True)
class TokenAverage(VectorFeature):
    """The mean of the model's input embeddings of a document's tokens: no forward pass.

    `model`: a folder or a name on the Hugging Face hub. All of a document counts.
    """

    model: str

    name = "token_average"

    @property
    def dimension(self) -> int:
        """Length of a vector: the model's hidden size."""
        return int(_table(self._folder).shape[1])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine the vectors."""
        return {"files": folder_identity(Path(self._folder))}

    def embed(self, texts: Texts) -> Vectors:
        """Average the input embeddings of each text's tokens, float32 [n, dimension]."""
        documents = as_documents(texts)
        table = _table(self._folder)
        out = np.empty((len(documents), table.shape[1]), np.float32)
        for start, stop in batches(documents):
            part = documents.take(np.arange(start, stop)).texts()
            spans, ids = token_ids(self._folder, part)
            out[start:stop] = average_rows(spans, ids, table)
        return out

    @property
    def _folder(self) -> str:
        return str(model_folder(self.model, _WHAT))


@dataclass(frozen=True)
class StateAverage(VectorFeature):
    """The mean over positions of the model's last hidden states, after its final norm.

    `model`: a folder or a name on the Hugging Face hub. A document is run in windows of `window`
    tokens (0: the model's context), each by itself; `windows` of them count (0: all), so that
    windows=1 looks at the beginning alone. Positions weigh the same. `precision`, `batch_tokens`,
    `device`: as in `SentenceModel`.
    """

    model: str
    window: int = 0
    windows: int = 1
    precision: str = "float32"
    batch_tokens: int = 2048
    device: str = option(AUTO, help=HELP, run_only=True)

    name = "state_average"

    def __post_init__(self) -> None:
        check_running(self.precision, self.batch_tokens, window=self.window, windows=self.windows)
        check_device(self.device)

    @property
    def dimension(self) -> int:
        """Length of a vector: the model's hidden size."""
        return int(load(self._folder).embeddings().shape[1])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine the vectors."""
        return {
            "files": folder_identity(Path(self._folder)),
            "window": self.window,
            "windows": self.windows,
            "precision": self.precision,
            "batch_tokens": self.batch_tokens,
        }

    def working(self) -> AbstractContextManager[None]:
        """Run torch on one thread for each worker."""
        return one_thread("lm")

    def embed(self, texts: Texts) -> Vectors:
        """Average the last hidden states of each text, float32 [n, dimension]."""
        given = as_texts(texts)
        model = load(self._folder, self.device)
        spans, ids = token_ids(self._folder, given)
        room = int(model.context)
        pieces, owner = _windows(spans, min(self.window or room, room), self.windows)
        out = np.zeros((len(given), self.dimension), np.float64)
        sizes = pieces[:, 1] - pieces[:, 0]
        with exclusive(find_device(self.device)):
            for rows in even_batches(sizes, self.batch_tokens):
                np.add.at(out, owner[rows], _state_sums(model, ids, pieces[rows], self.precision))
        total = np.bincount(owner, sizes, len(given))[:, None]
        return np.asarray(out / np.maximum(total, 1), np.float32)

    @property
    def _folder(self) -> str:
        return str(model_folder(self.model, _WHAT))


def _windows(
    spans: NDArray[np.int64], size: int, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut documents into windows: (places int64 [pieces, 2], document int64 [pieces])."""
    places: list[tuple[int, int]] = []
    owner: list[int] = []
    for row, (start, stop) in enumerate(zip(spans[:-1].tolist(), spans[1:].tolist(), strict=True)):
        last = stop if most == 0 else min(stop, start + most * size)
        for at in range(start, last, size):
            places.append((at, min(at + size, last)))
            owner.append(row)
    return np.array(places, np.int64).reshape(-1, 2), np.array(owner, np.int64)


def _state_sums(
    model: Any, ids: NDArray[np.int32], pieces: NDArray[np.int64], precision: str
) -> NDArray[np.float64]:
    """Sum the last hidden states of some windows over positions, float64 [n, hidden]."""
    import torch

    sizes = pieces[:, 1] - pieces[:, 0]
    padded = np.zeros((len(pieces), int(sizes.max())), np.int64)
    for row, (start, stop) in enumerate(pieces.tolist()):
        padded[row, : stop - start] = ids[start:stop]
    # A causal model does not look ahead, so padding at the end changes nothing before it.
    place = model.embeddings().device
    mask = torch.from_numpy(np.arange(padded.shape[1]) < sizes[:, None]).to(place)
    number = PRECISIONS[precision](torch)
    with torch.inference_mode(), torch.autocast(place.type, number, enabled=precision != "float32"):
        states = model.hidden(torch.from_numpy(padded).to(place)).float()
        summed: NDArray[np.float64] = (states * mask[..., None]).sum(1).cpu().double().numpy()
    return summed


def token_ids(folder: str, texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the ids of a model's own tokenizer, as `flat_ids` gives them."""
    return flat_ids(_tokenizer(folder), texts)


@kept_by_folder
def _tokenizer(folder: str) -> Any:
    from dataworth.lm.tokenizer import load_tokenizer

    return load_tokenizer(folder)


def load(folder: str, device: str = "cpu") -> Any:
    """Load a causal model (`dataworth.lm.llama.LanguageModel`), one for each device.

    MissingExtra without lm, ConfigError for a device that is not there.
    """
    return _load(folder, str(find_device(device)))


@kept_by_folder
def _load(folder: str, device: str) -> Any:
    try:
        from dataworth.lm.model import load_model
    except ImportError as error:
        raise MissingExtra("a causal model", "lm") from error
    model = load_model(folder, device)
    model.as_module().eval()
    return model


@kept_by_folder
def _table(folder: str) -> Vectors:
    """Return the input embeddings, float32 [vocabulary, hidden], which the CPU averages."""
    table: Vectors = load(folder).embeddings().detach().float().numpy()
    return np.ascontiguousarray(table)
