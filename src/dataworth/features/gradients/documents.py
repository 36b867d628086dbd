"""Gradients of documents by a causal language model, as a feature that can be stored.

    column = feature_column(corpus, DocumentGradients(model, tokenizer, Sparse(4096)), folder)
    scores = score_rows(Stored(column), Held(queries))

A document longer than the model's context is taken in windows that share one token, so that each of
its tokens is predicted once; its gradient is the sum over the windows. Of chats, read as the text
that their template made, what the assistant says counts.
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from dataworth.corpus.documents import Documents
from dataworth.engine.device import exclusive
from dataworth.errors import ConfigError
from dataworth.features.embeddings.running import one_thread
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.preconditioners.base import Preconditioner
from dataworth.features.gradients.projection import Projection, Sparse
from dataworth.features.gradients.reading import Readings
from dataworth.features.gradients.rows import EXTRA, encode
from dataworth.features.gradients.task import CausalLM, Reduction
from dataworth.lm.chats import Read

_ONE = threading.Lock()  # for models that cannot be copied
_HELD = 1 << 24  # numbers that whole gradients may have at a time


def windows(ids: list[int], context: int, most: int = 0) -> list[list[int]]:
    """Cut ids into pieces of at most `context`, in which each id but the first is predicted once.

    `most`: so many pieces, from the beginning; 0 for all.
    """
    step = context - 1
    pieces = [ids[start : start + context] for start in range(0, max(len(ids) - 1, 0), step)]
    return pieces[:most] if most else pieces


def model_identity(model: nn.Module) -> str:
    """Return sixteen hexadecimal digits that identify a model's parameters and buffers."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class DocumentGradients:
    """The projected gradient of each document's loss: a feature for `flow.features`.

    `model`: anything that takes ids and gives logits. `tokenizer`: what makes its ids; `first`: an
    id that stands before each document, if the model was trained so. `reduction`: of the loss,
    over the document's tokens. `context`: tokens the model sees at once; `most`: windows of a
    document that count, 0 for all. `step`: whose `train` is applied before projecting (a step of
    the optimizer). `patterns`: of modules, as in `Task.modules`. A document with nothing to predict
    has a gradient of length 0. Several threads may ask at once.
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
        self._readings = Readings(tokenizer, (first, None))
        self._local = threading.local()

    @property
    def dimension(self) -> int:
        """Numbers of a stored row."""
        return self.projector.dimension + EXTRA

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that determine the stored rows."""
        text = self.tokenizer.to_str().encode()
        return {
            "model": model_identity(self.engine.model),
            "tokenizer": hashlib.blake2b(text, digest_size=8).hexdigest(),
            "blocks": self.engine.blocks.fingerprint,
            "context": self.context,
            "most": self.most,
            "first": self.first,
            "chats": "assistant",
            "reduction": self.reduction,
            "step": None if self.step is None else self.step.describe(),
            **self.projection.settings,
        }

    def working(self) -> AbstractContextManager[None]:
        """Run torch on one thread for each worker."""
        return one_thread("lm")

    def values(self, documents: Documents) -> NDArray[np.float32]:
        """Return rows to store, float32 [n, k + 2]. Of chats the assistant's words count."""
        read = self._readings.read(documents)
        with exclusive(self.engine.device):
            return encode(self._gradients(read).cpu().numpy())

    def gradients(self, texts: list[str]) -> Tensor:
        """Return the projected gradients of texts, [n, k]."""
        return self._gradients(self._readings.read(Documents.from_texts(texts)))

    def _worker(self) -> tuple[Gradients, Any, AbstractContextManager[Any]]:
        """Return this thread's engine and projector, and the lock held while they run.

        The engine has a copy of the model with the same weights in memory; a model that cannot be
        copied is shared, and one thread at a time runs it.
        """
        worker: Any = getattr(self._local, "found", None)
        if worker is None:
            engine, held = self.engine, cast(AbstractContextManager[Any], _ONE)
            with suppress(RuntimeError, TypeError, AttributeError):
                engine, held = Gradients(twin(self.engine.model), self.engine.task), nullcontext()
            projector = self.projection.bind(engine.blocks, engine.device)
            worker = self._local.found = engine, projector, held
        return cast(tuple[Gradients, Any, AbstractContextManager[Any]], worker)

    def _gradients(self, read: Sequence[Read]) -> Tensor:
        engine, projector, held = self._worker()
        # A step is not linear: it needs the whole gradient of a document, of so many at once.
        few = max(1, len(read) if self.step is None else _HELD // engine.size)
        with held:
            parts = [
                self._some(read[start : start + few], engine, projector)
                for start in range(0, max(len(read), 1), few)
            ]
        return torch.cat(parts)

    def _some(self, read: Sequence[Read], engine: Gradients, projector: Any) -> Tensor:
        items: list[Any] = []
        owner: list[int] = []
        counted = torch.zeros(len(read), dtype=engine.dtype)
        for row, one in enumerate(read):
            if one.silent:
                continue
            for number, piece in enumerate(windows(one.ids, self.context, self.most)):
                start = number * (self.context - 1)
                mask = None if one.said is None else one.said[start : start + len(piece)]
                predicted = len(piece) - 1 if mask is None else sum(mask[1:])
                if predicted:
                    items.append(piece if mask is None else (piece, np.array(mask, np.bool_)))
                    owner.append(row)
                    counted[row] += predicted
        predicted_tokens = counted.to(engine.device)
        owners = torch.tensor(owner, dtype=torch.int64)
        width = projector.dimension if self.step is None else engine.size
        out = torch.zeros(len(read), width, dtype=engine.dtype, device=engine.device)
        for rows, batch in engine.task.examples(items, size=64, tokens=self.tokens):
            factors = engine.factors(batch)
            gradients = projector(factors) if self.step is None else factors.gradients()
            out.index_add_(0, owners[torch.from_numpy(rows)].to(engine.device), gradients)
            del factors  # or the next batch's would be made beside them
        if self.reduction == "mean":
            out /= predicted_tokens.clamp_min(1)[:, None]
        if self.step is None:
            return out
        trained: Tensor = self.step.train(out) * (predicted_tokens > 0)[:, None]
        flat: Tensor = projector.flat(trained)
        return flat

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()


def twin(model: nn.Module) -> nn.Module:
    """Return the same model with the same weights in memory: hooks and freezing are its own."""
    kept: dict[int, Any] = {
        id(value): nn.Parameter(value.detach(), requires_grad=value.requires_grad)
        for value in model.parameters()
    }
    kept |= {id(value): value for value in model.buffers()}
    return copy.deepcopy(model, kept)
