"""Classification and regression heads of transformers: logits of texts, in windows.

A text is cut into windows of the model's context, each with the special tokens that the tokenizer
puts round a text, so the first window is what transformers makes of the text with truncation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.engine.device import exclusive, find_device, find_dtype
from dataworth.errors import ConfigError, MissingExtra
from dataworth.features.embeddings.base import kept_by_folder
from dataworth.features.embeddings.running import even_batches, one_thread


class Head:
    """A model with a head, ready to run, for any number of threads: nothing in it changes."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model.eval()
        self.labels = [str(model.config.id2label[i]) for i in range(model.config.num_labels)]
        # A tokenizer of its own: the model's changes its truncation from call to call.
        backend = tokenizer.backend_tokenizer
        self.tokenizer = type(backend).from_str(backend.to_str())
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.pad = tokenizer.pad_token_id
        self.types = "token_type_ids" in tokenizer.model_input_names
        empty = self.tokenizer.encode("").ids
        mask = self.tokenizer.encode("a").special_tokens_mask
        before = mask.index(0) if 0 in mask else len(empty)
        self.first, self.last = empty[:before], empty[before:]
        self.longest = min(int(tokenizer.model_max_length), _positions(model.config))

    def cut(
        self, texts: Sequence[str], window: int, windows: int
    ) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Cut texts into windows: token ids, special ones too, and each one's text [pieces]."""
        room = min(window or self.longest, self.longest) - len(self.first) - len(self.last)
        room = max(room, 1)
        pieces: list[list[int]] = []
        owner: list[int] = []
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        for row, one in enumerate(encoded):
            count = max(1, -(-len(one.ids) // room))
            for start in range(0, min(count, windows or count) * room, room):
                pieces.append([*self.first, *one.ids[start : start + room], *self.last])
                owner.append(row)
        return pieces, np.array(owner, np.int64)

    def logits(
        self, texts: Sequence[str], *, window: int = 0, windows: int = 1, batch_tokens: int = 4096
    ) -> NDArray[np.float64]:
        """Return the logits of texts, float64 [n, labels]: the mean over their windows.

        Parameters
        ----------
        window : tokens of a window, special ones included; 0: the model's context.
        windows : how many from the beginning of a text; 0: all of it.
        batch_tokens : tokens, padding included, that run at once.
        """
        pieces, owner = self.cut(texts, window, windows)
        sizes = np.fromiter((len(piece) for piece in pieces), np.int64, len(pieces))
        out = np.zeros((len(texts), len(self.labels)))
        with one_thread("lm"), exclusive(self.model.device):
            # Without a token for padding every text runs alone.
            for rows in even_batches(sizes, 1 if self.pad is None else batch_tokens):
                np.add.at(out, owner[rows], self._run([pieces[row] for row in rows.tolist()]))
        return np.asarray(out / np.maximum(np.bincount(owner, minlength=len(texts)), 1)[:, None])

    def _run(self, pieces: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        import torch

        longest = max(max(len(piece) for piece in pieces), 1)
        ids = np.full((len(pieces), longest), self.pad or 0, np.int64)
        mask = np.zeros(ids.shape, np.int64)
        for row, piece in enumerate(pieces):
            ids[row, : len(piece)] = piece
            mask[row, : len(piece)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self.types:
            inputs["token_type_ids"] = np.zeros_like(ids)
        with torch.inference_mode():
            device = self.model.device
            tensors = {name: torch.from_numpy(one).to(device) for name, one in inputs.items()}
            logits: NDArray[np.float64] = self.model(**tensors).logits.double().cpu().numpy()
        return logits


def _positions(config: Any) -> int:
    """Return how many tokens a model can be given; RoBERTa's count from behind the padding."""
    config = getattr(config, "text_config", None) or config
    longest = int(getattr(config, "max_position_embeddings", 0) or 1 << 30)
    offset = int(config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
    return longest - offset


@kept_by_folder
def load_head(folder: str, device: str, dtype: str) -> Head:
    """Return the model of a folder; no code of the folder is run, and no pickle is read.

    Raises ConfigError for a folder without safetensors, or whose model has no head.
    """
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as error:
        raise MissingExtra("a sequence classifier", "lm") from error
    if not list(Path(folder).glob("*.safetensors")):
        raise ConfigError(
            f"{folder}: has no weights as .safetensors; save the model with "
            "save_pretrained(folder, safe_serialization=True)"
        )
    target = find_device(device)
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        model, facts = AutoModelForSequenceClassification.from_pretrained(
            folder,
            use_safetensors=True,
            output_loading_info=True,
            dtype=find_dtype(dtype, target),
            **local,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, **local)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{folder}: holds no sequence classifier ({reason})") from error
    missing = sorted(facts["missing_keys"])
    if missing:
        raise ConfigError(
            f"{folder}: holds no sequence classifier: the weights have no {missing[0]}; give a "
            "model that was trained with its head"
        )
    if not tokenizer.is_fast:
        raise ConfigError(f"{folder}: has no tokenizer.json; save its tokenizer as a fast one")
    return Head(model.to(target), tokenizer)
