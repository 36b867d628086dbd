"""Gradients of documents by a causal language model, as a feature that can be stored.

    store = build(corpus, DocumentGradients(model, tokenizer, Sparse(4096)), folder)
    scores = score_rows(Stored(store), Held(queries))

A document longer than the model's context is taken in windows that share one token, so that each of
its tokens is predicted once; its gradient is the sum over the windows.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.features.embeddings.running import one_thread
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.preconditioners.base import Preconditioner
from dataworth.features.gradients.projection import Projection, Sparse
from dataworth.features.gradients.rows import EXTRA, encode
from dataworth.features.gradients.task import CausalLM, Reduction

# Hooks sit on the one model that all threads share.
_ONE = threading.Lock()


def windows(ids: list[int], context: int, most: int = 0) -> list[list[int]]:
    """Pieces of at most `context` ids in which each id but the first is predicted once.

    `most`: so many pieces, from the beginning; 0 for all.
    """
    step = context - 1
    pieces = [ids[start : start + context] for start in range(0, max(len(ids) - 1, 0), step)]
    return pieces[:most] if most else pieces


def model_identity(model: nn.Module) -> str:
    """Sixteen hexadecimal digits of a model's parameters and buffers."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class DocumentGradients:
    """The projected gradient of each document's loss: a feature for `features.store.build`.

    `model`: anything that takes ids and gives logits. `tokenizer`: what makes its ids; `first`: an
    id that stands before each document, if the model was trained so. `reduction`: of the loss,
    over the document's tokens. `context`: tokens the model sees at once; `most`: windows of a
    document that count, 0 for all. `step`: whose `train` is applied before projecting (a step of
    the optimizer). `patterns`: of modules, as in `Task.modules`. A document with nothing to predict
    has a gradient of length 0.
    """

    name = "gradients"
    dtype = "float16"
    columns: tuple[str, ...] = ()

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        projection: Projection | None = None,
        *,
        context: int = 256,
        most: int = 0,
        first: int | None = None,
        reduction: Reduction = "sum",
        step: Preconditioner | None = None,
        patterns: tuple[str, ...] | None = None,
        tokens: int = 4096,
    ) -> None:
        if context < 2 or most < 0:
            raise ConfigError("a context has at least 2 tokens, and windows are 0 (all) or more")
        self.tokenizer = tokenizer
        self.projection = projection or Sparse()
        self.context, self.most, self.first = context, most, first
        self.reduction, self.step, self.tokens = reduction, step, tokens
        # Windows are added up; what a mean is divided by is known for the whole document only.
        self.engine = Gradients(model, CausalLM("sum", "sum", patterns))
        self.projector = self.projection.bind(self.engine.blocks, self.engine.device)

    @property
    def dimension(self) -> int:
        """Numbers of a stored row."""
        return self.projector.dimension + EXTRA

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the rows depend on."""
        text = self.tokenizer.to_str().encode()
        return {
            "model": model_identity(self.engine.model),
            "tokenizer": hashlib.blake2b(text, digest_size=8).hexdigest(),
            "blocks": self.engine.blocks.fingerprint,
            "context": self.context,
            "most": self.most,
            "first": self.first,
            "reduction": self.reduction,
            "step": None if self.step is None else self.step.describe(),
            **self.projection.settings,
        }

    def working(self) -> AbstractContextManager[None]:
        """One thread for each worker."""
        return one_thread("lm")

    def values(self, documents: Documents) -> NDArray[np.float32]:
        """Stored rows of documents, float32 [n, k + 2]."""
        return encode(self.gradients(documents.texts()).cpu().numpy())

    def gradients(self, texts: list[str]) -> Tensor:
        """The projected gradients of texts, [n, k]."""
        start = [] if self.first is None else [self.first]
        encoded = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        ids = [start + item.ids for item in encoded]
        with _ONE:
            return self._gradients(ids)

    def _gradients(self, ids: list[list[int]]) -> Tensor:
        engine = self.engine
        pieces = [
            (row, piece)
            for row, document in enumerate(ids)
            for piece in windows(document, self.context, self.most)
        ]
        owner = torch.tensor([row for row, _ in pieces], dtype=torch.int64)
        predicted = torch.zeros(len(ids), dtype=engine.dtype, device=engine.device)
        predicted.index_add_(
            0,
            owner.to(engine.device),
            torch.tensor([len(piece) - 1.0 for _, piece in pieces]).to(predicted),
        )
        share = torch.ones_like(predicted)
        if self.reduction == "mean":
            share = 1 / predicted.clamp_min(1)
        examples = engine.task.examples([p for _, p in pieces], size=64, tokens=self.tokens)
        # A step is not linear: it needs the whole gradient of a document at once.
        width = self.projector.dimension if self.step is None else engine.size
        out = torch.zeros(len(ids), width, dtype=engine.dtype, device=engine.device)
        for rows, batch in examples:
            factors = engine.factors(batch)
            part = self.projector(factors) if self.step is None else factors.gradients()
            out.index_add_(0, owner[torch.from_numpy(rows)].to(engine.device), part)
            del factors  # or the next batch's would be made beside them
        out *= share[:, None]
        if self.step is None:
            return out
        return self.projector.flat(self.step.train(out) * (predicted > 0)[:, None])
