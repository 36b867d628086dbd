"""Documents under a causal language model, ready for the gradient engine.

    reader = Reader("model/")
    vector = reader.gradient(target)                 # of the target's summed loss, [P]
    found = reader.scores(documents, vector[None])   # inner products, [n, 1]

A document is read as it is trained on: the end token stands before it and after it. One that is
longer than the model's context is taken in windows that share one token, so that each of its tokens
is predicted once, and its gradient is the sum over them. A chat is read by the chat template beside
the model's tokenizer, if there is one; only what the assistant says counts. Losses are sums over
tokens, in nats.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.engine.device import find_device, find_dtype
from dataworth.errors import ConfigError
from dataworth.features.embeddings.base import kept_by_folder, model_folder
from dataworth.features.embeddings.running import one_thread
from dataworth.features.gradients.adapters import identity_of, loaded, thaw
from dataworth.features.gradients.batches import Batch, Examples
from dataworth.features.gradients.documents import twin, windows
from dataworth.features.gradients.engine import Gradients, evaluating
from dataworth.features.gradients.factors import Factors
from dataworth.features.gradients.losses import IGNORED
from dataworth.features.gradients.preconditioners.base import Preconditioner
from dataworth.features.gradients.preconditioners.simple import Moments
from dataworth.features.gradients.projection import Projector
from dataworth.features.gradients.reading import LONGEST, Items, Reading, Readings, by_windows
from dataworth.features.gradients.task import CausalLM
from dataworth.lm.chats import Read, chat_template
from dataworth.lm.moments import FILE as MOMENTS
from dataworth.lm.moments import load_moments
from dataworth.lm.tokenizer import check_vocabulary, edges, load_tokenizer
from dataworth.lm.trainer_state import trainer_state

_WHAT = "gradients"
_PIECE = 0x70696563  # the stream of `hash_uid` for the windows of a document
_BATCH = 4096  # positions of a batch, padding included
_LOGITS = 1 << 24  # numbers that a batch's logits may have
_HELD = 1 << 24  # numbers that a batch's gradients in the largest block may have
_HELD_GPU = 1 << 27
_NEAR = 1 << 28  # numbers of vectors that a GPU keeps while documents go past them
_MOST = 64  # windows of a batch
_TOGETHER = 4096  # documents whose tokens are in memory at a time
_PIECE_SECONDS, _TOKEN_BYTES = 30.0, 4
_SPEED = 2e10  # operations a second of one core, of a small model; of large ones several times that
_placing = threading.Lock()

Values = NDArray[np.float64]


class Reader:
    """A model, its tokenizer and the engine for its gradients.

    `source`: a folder that `dataworth.lm` wrote, one of a Hugging Face causal model, or its name,
    or a folder of an adapter (PEFT) for one: then only the adapter's parameters count.
    A reader belongs to one thread; several of one model share its weights.
    Raises ConfigError if there is no such model.
    """

    def __init__(self, source: str, reading: Reading | None = None) -> None:
        self.reading = reading = reading or Reading()
        self.folder = model_folder(source, _WHAT)
        model = loaded(self.folder)
        device = find_device(reading.device)
        if device.type != "cpu" and reading.context > int(model.context):
            _check_context(model, reading.context)
        self.model = twin(_placed(str(self.folder), device, find_dtype(reading.dtype, device)))
        thaw(self.model, self.folder)
        self._foreign = hasattr(model, "inner")  # of transformers
        self.tokenizer = load_tokenizer(self.folder)
        template = chat_template(self.tokenizer, self.folder) if reading.chats == "model" else None
        self.edges = _edges(self.tokenizer, self.folder)
        self._readings = Readings(self.tokenizer, self.edges, template)
        self.known_context = int(model.context)
        self.context = reading.context or min(self.known_context, LONGEST)
        self.engine = Gradients(self.model, CausalLM("sum", "sum", reading.layers or None))
        self.vocabulary = int(model.vocabulary)
        self._held = _HELD if device.type == "cpu" else _HELD_GPU
        check_vocabulary(self.tokenizer, self.vocabulary, self.folder)
        room = max(self.context, min(_BATCH, _LOGITS // max(self.vocabulary, 1)))
        self.batch_tokens = reading.batch_tokens or room

    @property
    def window(self) -> str:
        """In words, how much the model sees at once."""
        more = self.known_context if self.known_context > self.context else 0
        return f"windows of {self.context:,} tokens" + (
            f", though the model was made for {more:,} (context)" if more else ""
        )

    def piece(self, vectors: int = 1) -> int:
        """Return how many bytes of text are half a minute of one core, with so many vectors.

        By the number of operations, not by a clock, so that results are those of any machine: a
        pass forwards and backwards, its part of a gradient, and the products, one for a window.
        """
        whole = sum(parameter.numel() for parameter in self.model.parameters())
        token = 6.0 * whole + 2.0 * self.engine.size * (1 + vectors / self.context)
        return max(1, int(_PIECE_SECONDS * _SPEED / token * _TOKEN_BYTES))

    @cached_property
    def identity(self) -> str:
        """Tells this model from another, wherever it lies."""
        return identity_of(self.folder)

    def moments(self) -> Moments:
        """Return Adam's moments from the model's training. ConfigError if none are beside it."""
        kept = load_moments(self.folder)
        if kept is None and self._foreign:
            kept = trainer_state(self.folder, self.model)
        if kept is None:
            raise ConfigError(
                f"{self.folder}: no {MOMENTS} beside the model, so what its optimizer did is not "
                "known; `dataworth proxy` keeps it with the models that it trains, and Trainer of "
                "transformers in its checkpoints (optimizer.pt)"
            )
        blocks, names = self.engine.blocks, self.engine.parameters()

        def flat(values: Mapping[str, Any]) -> Tensor:
            whole = {
                name: torch.as_tensor(values[name], dtype=self.engine.dtype).expand(like.shape)
                for name, like in names.items()
            }
            return blocks.flatten(whole).to(self.engine.device)

        try:
            first, second = flat(kept.first), flat(kept.second)
            rates, decay = flat(kept.rates), flat(kept.decay)
        except (KeyError, RuntimeError) as error:
            raise ConfigError(
                f"{self.folder}: {MOMENTS} or optimizer.pt is of another model than the one that "
                f"lies there ({error})"
            ) from error
        return Moments(first, second, kept.step, kept.betas, kept.epsilon, rates, decay)

    @property
    def largest(self) -> int:
        """Numbers of the largest block."""
        return max(block.size for block in self.engine.blocks)

    @property
    def batch_windows(self) -> int:
        """Windows of a batch, at most: the gradients in the largest block are held for all."""
        return max(1, min(_MOST, self._held // self.largest))

    def working(self) -> AbstractContextManager[None]:
        """Run torch on one thread, so that sums run in one order on any machine."""
        return one_thread("lm")

    def items(self, documents: Documents) -> Items:
        """Cut the documents into windows."""
        items: list[Any] = []
        owner: list[int] = []
        number: list[int] = []
        tokens = np.zeros(len(documents), np.int64)
        for row, one in enumerate(self.read(documents)):
            ids, counts = one.ids, one.said
            start = 0
            for place, piece in enumerate(windows(ids, self.context, self.reading.windows)):
                item: Any = piece
                predicted = len(piece) - 1
                if counts is not None:
                    weighted = np.array(counts[start : start + len(piece)], np.bool_)
                    item, predicted = (piece, weighted), int(weighted[1:].sum())
                start += self.context - 1
                # Where nothing is said there is nothing to learn, the end token neither.
                if predicted and not one.silent:
                    items.append(item)
                    owner.append(row)
                    number.append(place)
                    tokens[row] += predicted
        rows, numbers = np.array(owner, np.int64), np.array(number, np.int64)
        uid = hash_uid(0, documents.uid[rows] + numbers.astype(np.uint64), _PIECE)
        return Items(items, rows, numbers, uid, tokens)

    def read(self, documents: Documents) -> list[Read]:
        """Return the documents as the model reads them."""
        return self._readings.read(documents)

    def examples(self, items: Items) -> Examples:
        """Return the windows in batches that fit into memory."""
        return self.engine.task.examples(
            items.items, items.uid, size=self.batch_windows, tokens=self.batch_tokens
        )

    def _near(self, vectors: Tensor) -> Tensor:
        """Move vectors to the model's device if they fit there, or each batch would move them."""
        return vectors.to(self.engine.device) if vectors.numel() <= _NEAR else vectors

    def _batches(self, items: Items) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        for rows, batch in self.examples(items):
            yield items.owner[rows], batch

    def parts(self, documents: Documents) -> Iterator[tuple[NDArray[np.int64], Items]]:
        """Yield some documents at a time: (rows, windows, with owners among these rows)."""
        for start in range(0, len(documents), _TOGETHER):
            rows = np.arange(start, min(start + _TOGETHER, len(documents)))
            yield rows, self.items(documents.take(rows))

    def losses(self, documents: Documents) -> tuple[Values, NDArray[np.int64]]:
        """Return nats summed over each document's tokens [n], and the tokens [n]."""
        nats, tokens = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
        for rows, items in self.parts(documents):
            tokens[rows] = items.tokens
            for owner, batch in self._batches(items):
                values = self.engine.losses(batch).double().cpu().numpy()
                np.add.at(nats, rows[owner], values)
        return nats, tokens

    def errors(self, documents: Documents) -> tuple[Values, NDArray[np.int64]]:
        """Return the norms |softmax - one-hot| summed over each document's tokens [n], tokens [n].

        No gradient is taken.
        """
        out, tokens = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
        for rows, items in self.parts(documents):
            tokens[rows] = items.tokens
            for owner, batch in self._batches(items):
                norms = self._errors(batch.to(self.engine.device)).double().cpu().numpy()
                np.add.at(out, rows[owner], norms)
        return out, tokens

    def _errors(self, batch: Batch) -> Tensor:
        """Return the norms |softmax - one-hot| summed over a batch's counted positions: [n]."""
        with torch.no_grad(), evaluating(self.model):
            shares = self.engine.task.outputs(self.model, batch).softmax(-1)
        counted = batch.targets != IGNORED
        right = shares.gather(-1, batch.targets.clamp_min(0).unsqueeze(-1)).squeeze(-1)
        # |p - e|^2 is |p|^2 - 2 p_right + 1; rounding may take it below 0.
        squares = shares.square().sum(-1) - 2 * right + 1
        return (squares.clamp_min(0).sqrt() * counted).sum(1)

    def token_scores(
        self, documents: Documents, score: Callable[[Tensor, Tensor], Tensor]
    ) -> list[Values]:
        """Return the scores of each document's predicted tokens, in the order of its windows.

        `score` makes them [k] of the logits [k, vocabulary] before tokens and of these tokens [k].
        """
        out: list[list[tuple[int, Values]]] = [[] for _ in range(len(documents))]
        for rows, items in self.parts(documents):
            for places, batch in self.examples(items):
                batch = batch.to(self.engine.device)
                with torch.no_grad(), evaluating(self.model):
                    logits = self.engine.task.outputs(self.model, batch)
                    counted = batch.targets != IGNORED
                    scores = score(logits[counted], batch.targets[counted]).double().cpu()
                sizes = counted.sum(1).tolist()
                for place, some in zip(places, torch.split(scores, sizes), strict=True):
                    row = int(rows[items.owner[place]])
                    out[row].append((int(items.number[place]), some.numpy()))
        in_order = (sorted(some, key=lambda one: one[0]) for some in out)
        return [np.concatenate([np.zeros(0), *(one for _, one in some)]) for some in in_order]

    def gradient(self, documents: Documents) -> tuple[Tensor, int]:
        """Return the gradient summed over all tokens of all documents [P], and the tokens."""
        engine = self.engine
        total = torch.zeros(engine.size, dtype=torch.float64, device=engine.device)
        tokens = 0
        for _, items in self.parts(documents):
            tokens += int(items.tokens.sum())
            for _, batch in self._batches(items):
                factors = engine.factors(batch)
                for index, block in enumerate(engine.blocks):
                    total[block.span] += factors.block(index).sum(0).flatten().double()
                del factors  # or the next batch's would be made beside them
        return total.to(engine.dtype), tokens

    def scores(
        self,
        documents: Documents,
        vectors: Tensor,
        *,
        of: Callable[[Factors, Tensor], Tensor] | None = None,
        together: int = 0,
    ) -> tuple[Values, NDArray[np.int64]]:
        """Return inner products of documents' gradients with vectors [q, P]: [n, q], and tokens.

        `together`: vectors that are in memory at a time, if they are mapped; 0: all.
        """
        q, vectors = len(vectors), self._near(vectors)
        step = together or max(q, 1)
        out, tokens = np.zeros((len(documents), q)), np.zeros(len(documents), np.int64)
        score = of or Factors.scores
        for rows, items in self.parts(documents):
            tokens[rows] = items.tokens
            for owner, batch in self._batches(items):
                factors = self.engine.factors(batch)
                for start in range(0, q, step):
                    some = vectors[start : start + step].to(self.engine.device)
                    values = score(factors, some).double().cpu().numpy()
                    np.add.at(out[:, start : start + step], rows[owner], values)
                del factors  # or the next batch's would be made beside them
        return out, tokens

    def lengths(self, documents: Documents) -> tuple[Values, NDArray[np.int64]]:
        """Return the gradient norm of each document [n], and tokens [n].

        Documents of one window are measured without forming a gradient where that is cheaper.
        """
        nothing = torch.zeros(0, self.engine.size, dtype=self.engine.dtype)
        _, norms, tokens = self.scores_and_lengths(documents, nothing)
        return norms, tokens

    def scores_and_lengths(
        self, documents: Documents, vectors: Tensor, *, together: int = 0
    ) -> tuple[Values, Values, NDArray[np.int64]]:
        """Return `scores` [n, q], `lengths` [n] and tokens [n] by one pass over the documents."""
        q, n, vectors = len(vectors), len(documents), self._near(vectors)
        step = together or max(q, 1)
        out, size, tokens = np.zeros((n, q)), np.zeros(n), np.zeros(n, np.int64)
        for rows, items in self.parts(documents):
            tokens[rows] = items.tokens
            single, several = by_windows(items, len(rows))
            for owner, batch in self._batches(single):
                factors = self.engine.factors(batch)
                norms = factors.squared_norms().clamp_min(0).sqrt()
                size[rows[owner]] = norms.double().cpu().numpy()
                for at in range(0, q, step):
                    some = vectors[at : at + step].to(self.engine.device)
                    scores = factors.scores(some).double().cpu().numpy()
                    out[rows[owner], at : at + step] = scores
                del factors  # or the next batch's would be made beside them
            for owners, total in self._sums(several):
                size[rows[owners]] = total.double().norm(dim=1).cpu().numpy()
                for at in range(0, q, step):
                    moved = total @ vectors[at : at + step].to(total).T
                    out[rows[owners], at : at + step] = moved.double().cpu().numpy()
        return out, size, tokens

    def _sums(self, items: Items) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Yield gradients summed over windows, for some documents: (owners [d], sums [d, P])."""
        engine = self.engine
        owners = np.unique(items.owner)
        few = max(1, self._held // engine.size)
        for start in range(0, len(owners), few):
            group = owners[start : start + few]
            of = items.take(np.flatnonzero(np.isin(items.owner, group)))
            total = torch.zeros(len(group), engine.size, dtype=engine.dtype, device=engine.device)
            for owner, batch in self._batches(of):
                places = torch.from_numpy(np.searchsorted(group, owner)).to(engine.device)
                factors = engine.factors(batch)
                for index, block in enumerate(engine.blocks):
                    total[:, block.span].index_add_(0, places, factors.block(index).flatten(1))
                del factors  # or the next batch's would be made beside them
            yield group, total

    def self_scores(
        self, documents: Documents, preconditioner: Preconditioner
    ) -> tuple[Values, NDArray[np.int64]]:
        """Return each document's score for itself [n], without the scale, and tokens [n]."""
        out, tokens = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
        engine = self.engine
        for rows, items in self.parts(documents):
            tokens[rows] = items.tokens
            single, several = by_windows(items, len(rows))
            few = max(1, self._held // engine.size)
            batches = replace(self.examples(single), size=min(few, _MOST))
            for places, batch in batches:
                gradients = engine.gradients(batch)
                scores = (preconditioner.apply(gradients) * gradients).sum(1)
                out[rows[single.owner[places]]] = scores.double().cpu().numpy()
            for owners, total in self._sums(several):
                scores = (preconditioner.apply(total) * total).sum(1)
                out[rows[owners]] = scores.double().cpu().numpy()
        return out, tokens

    def projected(
        self, documents: Documents, projector: Projector
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """Return the documents' projected gradients [n, k], and tokens [n]."""
        engine = self.engine
        out = torch.zeros(len(documents), projector.dimension, dtype=engine.dtype)
        tokens = np.zeros(len(documents), np.int64)
        for rows, items in self.parts(documents):
            tokens[rows] = items.tokens
            for owner, batch in self._batches(items):
                projections = projector(engine.factors(batch)).cpu().to(out.dtype)
                out.index_add_(0, torch.from_numpy(rows[owner]), projections)
        return out, tokens


class Readers:
    """One reader for each thread, made when it is first asked for; nothing of it is saved."""

    def __init__(self, source: str, reading: Reading) -> None:
        self.source, self.reading = source, reading
        self._local = threading.local()

    def __call__(self) -> Reader:
        """Return this thread's reader."""
        reader: Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = Reader(self.source, self.reading)
        return reader

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "reading": self.reading}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["source"], state["reading"])  # type: ignore[misc]


def _placed(folder: str, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Return the model on the device and in the dtype asked for: one for all threads."""
    with _placing:
        return _placed_once(folder, device, dtype)


@kept_by_folder
def _placed_once(folder: str, device: torch.device, dtype: torch.dtype) -> nn.Module:
    outer = loaded(Path(folder))
    whole: nn.Module = getattr(outer, "inner", outer)
    if device.type == "cpu" and dtype == torch.float32:
        return whole
    try:
        model = twin(whole).to(device=device)
        # Buffers stay: what they hold of positions would be too coarse in half precision.
        for value in model.parameters():
            value.data = value.data.to(dtype)
        return model
    except (RuntimeError, AssertionError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device {device}: torch cannot use it ({reason})") from error


def _check_context(model: Any, context: int) -> None:
    """Raise ConfigError for more positions than a model has; on a GPU they would end the process.

    Asked of the model on the CPU, which says so.
    """
    try:
        with torch.inference_mode():
            model.hidden(torch.zeros(1, context, dtype=torch.int64))
    except (IndexError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"context: the model cannot be called with {context:,} tokens, only with "
            f"{int(model.context):,} ({reason})"
        ) from error


def _edges(tokenizer: Any, folder: Path) -> tuple[int | None, int | None]:
    """Return the tokens before and after a document; None for a tokenizer without them."""
    try:
        return edges(tokenizer, folder)
    except ConfigError:
        return None, None
