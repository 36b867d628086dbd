"""Training losses and measurements: a task is four small functions.

    lay(items, uid) -> Batch            how examples become a batch
    loss(outputs, batch) -> Tensor      the training loss, [n], or [n, positions] to be summed
    measure(outputs, batch) -> Tensor   what a query measures, smaller is better; the loss as a rule
    modules(model) -> patterns          whose parameters count; None: all that are trained

`Task` has a sensible answer for the last two. Ready-made: `CausalLM` (anything that takes token ids
and gives logits), `SequenceClassification`, `Supervised` (plain modules on pairs of x and y), and
`FunctionTask` for functions of your own.

Losses are in nats where they are log-likelihoods. The loss of an example is the sum over its
positions of what `loss` gives: a mean over tokens is the same with weights of 1 / tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataworth.errors import ConfigError, InputError
from dataworth.features.gradients.batches import Batch, Examples
from dataworth.features.gradients.checks import one_of
from dataworth.features.gradients.counter import normal, uniform
from dataworth.features.gradients.losses import CHUNK, IGNORED, cross_entropy, margin
from dataworth.lm.readout import rows_at_once

Reduction = Literal["sum", "mean"]
Measured = Literal["loss", "margin"]
Kind = Literal["squared", "cross_entropy"]


class Task(ABC):
    """The base of all tasks: `lay` and `loss` are to be written, the rest may be."""

    reduction: str = "sum"

    @abstractmethod
    def lay(self, items: Sequence[Any], uid: NDArray[np.uint64]) -> Batch:
        """Lay a batch of examples."""

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the training loss [n], or [n, positions] to be summed over positions."""

    def measure(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the queries' measure, smaller is better: [n] or [n, positions]. Here the loss."""
        return self.loss(outputs, batch)

    def modules(self, model: nn.Module) -> Sequence[str] | None:
        """Return patterns (`*.mlp.*`) of the modules that count; None for all that are trained."""
        return None

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the model's outputs, [n, ...]."""
        if isinstance(batch.inputs, Mapping):
            return _tensor(model(**batch.inputs))
        return _tensor(model(*batch.inputs))

    def sample(self, outputs: Tensor, batch: Batch, seed: int) -> Batch:
        """Draw the batch's targets from what the model believes, for the true Fisher.

        Draws are keyed by (seed, uid, position), so that batching changes none of them.
        """
        raise ConfigError(
            f"{type(self).__name__} cannot draw labels from the model: write `sample`, "
            "or use labels='true'"
        )

    def examples(
        self,
        items: Sequence[Any],
        uid: NDArray[np.uint64] | None = None,
        *,
        size: int = 16,
        tokens: int | None = None,
    ) -> Examples:
        """Return items in batches of this task."""
        return Examples(items, self.lay, uid, size, tokens, self.length)

    def length(self, item: Any) -> int:
        """Return the positions that an item takes, by which batches are sorted."""
        return 1


def _tensor(outputs: Any) -> Tensor:
    """Return the logits among what a model gives."""
    logits = getattr(outputs, "logits", None)
    if logits is None:
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
    if not isinstance(logits, Tensor):
        raise InputError(f"the model gives {type(outputs).__name__}, not a tensor or `.logits`")
    return logits


def _check_classes(targets: Tensor, classes: int) -> None:
    """Raise InputError for targets that are not numbers of classes."""
    if targets.is_floating_point():
        raise InputError(f"labels are whole numbers, not {str(targets.dtype)[6:]}")
    wrong = (targets != IGNORED) & ((targets < 0) | (targets >= classes))
    if bool(wrong.any()):
        raise InputError(
            f"there is no class {int(targets[wrong][0])}: the model has {classes:,}, from 0"
        )


def sampled_classes(outputs: Tensor, batch: Batch, seed: int) -> Batch:
    """Return the batch with classes drawn from softmax(outputs); targets of -100 stay."""
    draws = uniform(seed, _uid(batch), batch.targets[0].numel(), outputs.device).reshape(-1, 1)
    logits = outputs.reshape(len(draws), -1)
    drawn = torch.empty(len(draws), dtype=torch.int64, device=outputs.device)
    # Some rows at a time: in double precision all would take several times the logits' room.
    size = rows_at_once(CHUNK, logits.shape[1], logits.device)
    for start in range(0, len(draws), size):
        rows = slice(start, start + size)
        cumulated = logits[rows].double().softmax(-1).cumsum(-1)
        # The last entry is 1 but for rounding; a draw above it would name no class.
        drawn[rows] = (cumulated[:, :-1] < draws[rows]).sum(-1)
    drawn = drawn.reshape(batch.targets.shape)
    return replace(batch, targets=torch.where(batch.targets == IGNORED, batch.targets, drawn))


def _uid(batch: Batch) -> NDArray[np.uint64]:
    return np.arange(len(batch), dtype=np.uint64) if batch.uid is None else batch.uid


def _padded(rows: Sequence[Sequence[int] | NDArray[Any]], value: int) -> Tensor:
    width = max(len(row) for row in rows)
    out = np.full((len(rows), width), value, np.int64)
    for row, values in zip(out, rows, strict=True):
        row[: len(values)] = values
    return torch.from_numpy(out)


@dataclass(frozen=True)
class CausalLM(Task):
    """Next-token prediction by anything that takes token ids [n, positions] and gives logits.

    An item is a sequence of token ids, or `(ids, weighted)` where `weighted` says of each token
    whether its loss counts (an answer after its prompt). `reduction`: of the training loss over
    the tokens that count; `measured`: of the query's. `patterns`: see `Task.modules`. `context`:
    longer items are refused, if given.
    """

    reduction: Reduction = "sum"
    measured: Reduction = "mean"
    patterns: tuple[str, ...] | None = None
    context: int | None = None

    def __post_init__(self) -> None:
        for reduction in (self.reduction, self.measured):
            if reduction not in ("sum", "mean"):
                raise ConfigError(f"a reduction is 'sum' or 'mean', not {reduction!r}")

    def lay(self, items: Sequence[Any], uid: NDArray[np.uint64]) -> Batch:
        """Pad ids on the right: causal attention never looks there, so no mask is needed."""
        pairs = [item if isinstance(item, tuple) else (item, None) for item in items]
        targets = []
        for number, (ids, weighted) in zip(uid, pairs, strict=True):
            if len(ids) < 2 or (weighted is not None and not np.any(weighted[1:])):
                raise InputError(
                    f"the example of uid {number} has no token to predict: leave it out"
                )
            if self.context is not None and len(ids) > self.context:
                raise InputError(
                    f"the example of uid {number} has {len(ids):,} tokens and the model's context "
                    f"{self.context:,}: cut it before"
                )
            following = np.append(np.asarray(ids[1:], np.int64), IGNORED)
            if weighted is not None:
                following[:-1][~np.asarray(weighted[1:], np.bool_)] = IGNORED
            targets.append(following)
        ids = _padded([pair[0] for pair in pairs], 0)
        # The last token predicts nothing: no gradient passes its position.
        lengths = torch.tensor([len(pair[0]) - 1 for pair in pairs])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        return Batch((ids,), _padded(targets, IGNORED), None, mask, uid)

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits [n, positions, vocabulary]. InputError for ids unknown to the model."""
        assert isinstance(batch.inputs, tuple)
        (ids,) = batch.inputs
        try:
            # Hugging Face models would fill a cache of keys that nobody reads.
            if hasattr(getattr(model, "config", None), "use_cache"):
                found = _tensor(model(input_ids=ids, use_cache=False))
            else:
                found = _tensor(model(ids))
            return found[:, -ids.shape[1] :]  # a trained prompt stands before the ids
        except IndexError as error:
            raise InputError(
                f"the model cannot be called with ids up to {int(ids.max()):,} and up to "
                f"{ids.shape[1]:,} of them ({error}): is the tokenizer the model's own, and the "
                "context no more than it was made for?"
            ) from error

    def _loss(self, outputs: Tensor, batch: Batch, reduction: str) -> Tensor:
        losses = cross_entropy(outputs, batch.targets, batch.weights)
        if reduction == "mean":
            losses = losses / (batch.targets != IGNORED).sum(1, keepdim=True)
        return losses

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return nats [n, positions]."""
        return self._loss(outputs, batch, self.reduction)

    def measure(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return nats [n, positions], of each token or of the mean token."""
        return self._loss(outputs, batch, self.measured)

    def modules(self, model: nn.Module) -> Sequence[str] | None:
        """Return the patterns given."""
        return self.patterns

    def sample(self, outputs: Tensor, batch: Batch, seed: int) -> Batch:
        """Draw each next token from the model's prediction."""
        return sampled_classes(outputs, batch, seed)

    def length(self, item: Any) -> int:
        """Return the number of tokens."""
        return len(item[0] if isinstance(item, tuple) else item)


@dataclass(frozen=True)
class SequenceClassification(Task):
    """A label for a sequence of tokens, by Hugging Face models (`input_ids`, `attention_mask`).

    An item is `(ids, label)`. Padded on the right with `padding`. `measured`: of queries, the loss
    or minus the margin of the right class over the others, log(p / (1 - p)).
    """

    patterns: tuple[str, ...] | None = None
    padding: int = 0
    measured: Measured = "loss"

    def __post_init__(self) -> None:
        one_of("measured", self.measured, Measured)

    def lay(self, items: Sequence[Any], uid: NDArray[np.uint64]) -> Batch:
        """Lay ids and an attention mask."""
        ids = _padded([item[0] for item in items], self.padding)
        lengths = torch.tensor([len(item[0]) for item in items])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        labels = torch.tensor([int(item[1]) for item in items])
        inputs = {"input_ids": ids, "attention_mask": mask.long()}
        return Batch(inputs, labels, None, mask, uid)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return nats [n]. InputError for a label that is no class of the model."""
        _check_classes(batch.targets, outputs.shape[-1])
        return cross_entropy(outputs, batch.targets, batch.weights)

    def measure(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return nats, or minus the margin [n]."""
        if self.measured == "margin":
            return -margin(outputs, batch.targets)
        return self.loss(outputs, batch)

    def modules(self, model: nn.Module) -> Sequence[str] | None:
        """Return the patterns given."""
        return self.patterns

    def sample(self, outputs: Tensor, batch: Batch, seed: int) -> Batch:
        """Draw labels from the model's prediction."""
        return sampled_classes(outputs, batch, seed)

    def length(self, item: Any) -> int:
        """Return the number of tokens."""
        return len(item[0])


@dataclass(frozen=True)
class Supervised(Task):
    """A plain module on items `(x, y)`: `squared` error or `cross_entropy`.

    The squared error is half the sum of squares, the negative log-likelihood (up to a constant) of
    a Gaussian of variance 1: nats too. `measured`: of queries, the loss, or, for classes, minus
    the margin of the right class over the others, log(p / (1 - p)).
    """

    kind: Kind = "cross_entropy"
    patterns: tuple[str, ...] | None = None
    measured: Measured = "loss"

    def __post_init__(self) -> None:
        one_of("kind", self.kind, Kind)
        one_of("measured", self.measured, Measured)
        if self.measured == "margin" and self.kind != "cross_entropy":
            raise ConfigError("a margin is of classes: kind='cross_entropy'")

    def lay(self, items: Sequence[Any], uid: NDArray[np.uint64]) -> Batch:
        """Stack pairs. InputError for items that are no pairs or not all of one shape."""
        try:
            x = torch.stack([torch.as_tensor(item[0]) for item in items])
            y = torch.stack([torch.as_tensor(item[1]) for item in items])
        except (TypeError, IndexError, RuntimeError, ValueError) as error:
            raise InputError(f"items are pairs (x, y), all of one shape: {error}") from error
        return Batch((x,), y, None, None, uid)

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return outputs, [n, ...]. InputError for inputs that the model cannot be called with."""
        try:
            return super().outputs(model, batch)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError) as error:
            assert isinstance(batch.inputs, tuple)
            (x,) = batch.inputs
            raise InputError(
                f"the model cannot be called with inputs of the shape {tuple(x.shape)} and the "
                f"type {str(x.dtype).removeprefix('torch.')} ({error})"
            ) from error

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return nats [n]. InputError for a label that is no class of the model."""
        if self.kind == "cross_entropy":
            _check_classes(batch.targets, outputs.shape[-1])
            return cross_entropy(outputs, batch.targets, batch.weights)
        errors = 0.5 * (outputs - batch.targets.reshape(outputs.shape)) ** 2
        losses = errors.reshape(len(batch), -1).sum(1)
        return losses if batch.weights is None else losses * batch.weights

    def measure(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return nats, or minus the margin [n]."""
        if self.measured == "margin":
            return -margin(outputs, batch.targets)
        return self.loss(outputs, batch)

    def modules(self, model: nn.Module) -> Sequence[str] | None:
        """Return the patterns given."""
        return self.patterns

    def sample(self, outputs: Tensor, batch: Batch, seed: int) -> Batch:
        """Draw classes by softmax, or add Gaussian noise of variance 1 to the outputs."""
        if self.kind == "cross_entropy":
            return sampled_classes(outputs, batch, seed)
        noise = normal(seed, _uid(batch), outputs[0].numel(), outputs.device)
        return replace(batch, targets=outputs + noise.reshape(outputs.shape).to(outputs.dtype))


@dataclass(frozen=True)
class FunctionTask(Task):
    """A task of functions of your own, each as in `Task`; what is left out has its default."""

    lay_items: Callable[[Sequence[Any], NDArray[np.uint64]], Batch]
    training_loss: Callable[[Tensor, Batch], Tensor]
    measurement: Callable[[Tensor, Batch], Tensor] | None = None
    patterns: tuple[str, ...] | None = None
    sampling: Callable[[Tensor, Batch, int], Batch] | None = None

    def lay(self, items: Sequence[Any], uid: NDArray[np.uint64]) -> Batch:
        """Lay a batch by `lay_items`."""
        return self.lay_items(items, uid)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return `training_loss`."""
        return self.training_loss(outputs, batch)

    def measure(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return `measurement`, or `training_loss` where there is none."""
        return (self.measurement or self.training_loss)(outputs, batch)

    def modules(self, model: nn.Module) -> Sequence[str] | None:
        """Return the patterns given."""
        return self.patterns

    def sample(self, outputs: Tensor, batch: Batch, seed: int) -> Batch:
        """Draw targets by `sampling`, or as `Task` does where there is none."""
        if self.sampling is None:
            return super().sample(outputs, batch, seed)
        return self.sampling(outputs, batch, seed)
