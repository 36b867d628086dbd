"""Per-example gradients of a whole batch in one backward pass.

Hooks keep each covered module's inputs and the gradients in its outputs; the gradients of the
parameters are outer products of the two (`modules`, `factors`), so the parameters themselves need
none and are frozen meanwhile: a third of a backward pass is saved. The model is in evaluation mode
(no dropout), as the measurements of a trained model are.

Batches are checked, the 1st, the 4th, the 16th and so on: the gradient of the last example,
computed for it alone by plain automatic differentiation, has to be the one found through hooks. If
it is not, calls of the functions `linear` and `embedding` are looked at in place of modules (a
read-out that takes the weight of the embedding, an embedding that is scaled). What does not fit
then (a weight that is used in another way, examples that are mixed, a normalisation of another
form) is refused by name.

Where a module sees the tokens of a batch in another order or number than the batch has them (the
experts of a mixture, positions that are shared by all), whose they are is not known: such a model
is run on each example alone (`apart`), which is right for any and slower.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from dataworth.errors import ConfigError, DataworthError, InputError
from dataworth.features.gradients.apart import merged
from dataworth.features.gradients.batches import Batch
from dataworth.features.gradients.blocks import Blocks, told
from dataworth.features.gradients.factors import Factors
from dataworth.features.gradients.losses import first_order
from dataworth.features.gradients.modules import (
    EMBEDDING,
    LINEAR,
    ApartError,
    Call,
    Use,
    calls_of,
    cover,
)
from dataworth.features.gradients.task import Task

log = logging.getLogger("dataworth")

Of = Literal["loss", "measure", "sampled"]

_LISTED = re.compile(r"(?:^|\.)\d+(?:\.|$)")  # a module in a list, as layers and experts are
_AGAIN = 4  # batches are checked whose number is a power of it

# Largest difference in a batch that is checked, relative to the largest entry of its block.
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
# The same relative to the largest entry of all: blocks whose gradient is 0 but for rounding.
_ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-5}


class Gradients:
    """The gradients of a model's trained parameters (`requires_grad`) in a task's losses.

    `blocks`: how they lie in a vector. `check`: compare with plain differentiation on the first
    batch, the 4th, the 16th and so on. Raises ConfigError for parameters that are not covered.
    """

    def __init__(self, model: nn.Module, task: Task, *, check: bool = True) -> None:
        self.model = model
        self.task = task
        empty = [name for name, value in model.named_parameters() if value.is_meta]
        if empty:
            raise ConfigError(
                f"the model's {empty[0]} and {len(empty) - 1} more parameters have no values (they "
                "are on the device meta): load the weights, all of them to one device"
            )
        places = sorted({str(value.device) for value in model.parameters()})
        if len(places) > 1:
            raise ConfigError(
                f"the model's parameters lie on {' and '.join(places)}: load it to one device "
                "(without device_map)"
            )
        self.blocks, self._uses = cover(model, task.modules(model))
        self._modules = dict(model.named_modules())
        covered = set(self.blocks.parameters)
        self._parameters = {
            name: parameter for name, parameter in model.named_parameters() if name in covered
        }
        first = next(iter(self._parameters.values()))
        self.device = first.device
        self.dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
        self._tolerance = _TOLERANCE.get(first.dtype, 0.1)
        self._rounding = _ROUNDING.get(first.dtype, 1e-2)
        self._check = check
        self._batches = 0
        self._next = 1  # the number of the batch that is checked next
        self._functions = False  # whether calls of functions are looked at
        self.apart = False  # whether each example is run alone

    @property
    def size(self) -> int:
        """The length P of a gradient."""
        return self.blocks.size

    @property
    def tables(self) -> set[int]:
        """The blocks whose rows are an embedding's ids."""
        return {u.weight for u in self._uses if u.kind == EMBEDDING and u.weight is not None}

    def parameters(self) -> dict[str, Tensor]:
        """Return the covered parameters, by name."""
        return dict(self._parameters)

    def losses(self, batch: Batch, of: Of = "loss", seed: int = 0) -> Tensor:
        """Return the loss of each example alone: [n]; no gradient."""
        with torch.no_grad(), evaluating(self.model):
            return self._losses(batch.to(self.device), of, seed)

    def factors(self, batch: Batch, of: Of = "loss", seed: int = 0) -> Factors:
        """Return the gradients of each example's loss, of its measure, or of its loss with
        labels drawn from the model (`seed`).

        Raises InputError for a loss that is not finite, and for gradients that are not those of
        plain differentiation.
        """
        batch = batch.to(self.device)
        factors = self._record(batch, of, seed)
        self._finite(batch, factors.losses, of)
        self._batches += 1
        if self._check and self._batches == self._next:
            factors = self._checked(batch, of, seed, factors)
            self._next *= _AGAIN
        return factors

    def _finite(self, batch: Batch, losses: Tensor, of: Of) -> None:
        """Raise InputError that names the first example whose loss is not a finite number."""
        if bool(torch.isfinite(losses).all()):
            return
        row = int(torch.isfinite(losses).int().argmin())
        which = row if batch.uid is None else f"uid {batch.uid[row]}"
        raise InputError(
            f"the {'measure' if of == 'measure' else 'loss'} of the example of {which} is "
            f"{float(losses[row]):g}, so it has no gradient: look at its numbers, and at the "
            "model's parameters"
        )

    def _checked(self, batch: Batch, of: Of, seed: int, factors: Factors) -> Factors:
        """Return factors that plain differentiation confirms, from modules or from functions.

        Raises InputError if neither are confirmed.
        """
        truth = self._truth(batch, of, seed)
        if not bool(torch.isfinite(truth).all()):
            raise InputError(
                "the loss of an example is finite, but its gradient by plain differentiation is "
                "not: a root of 0 or the like in the model or in the loss?"
            )
        if self._wrong(factors, truth):
            self._functions = True
            factors = self._record(batch, of, seed)
        if wrong := self._wrong(factors, truth):
            raise InputError(
                f"the gradients of {', '.join(told(name) for name in wrong[:5])}"
                + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
                + " found through hooks are not those of plain differentiation: the weight is "
                "used outside its module, or the batch's examples are mixed. Freeze these "
                "parameters or name the modules to take"
            )
        return factors

    def gradients(self, batch: Batch, of: Of = "loss", seed: int = 0) -> Tensor:
        """Return each example's gradient as a vector, [n, P]; arguments as of `factors`."""
        return self.factors(batch, of, seed).gradients()

    def _losses(self, batch: Batch, of: Of, seed: int) -> Tensor:
        outputs = self.task.outputs(self.model, batch)
        if of == "sampled":
            batch = self.task.sample(outputs.detach(), batch, seed)
        losses = (
            self.task.measure(outputs, batch) if of == "measure" else self.task.loss(outputs, batch)
        )
        if losses.dim() == 0 or len(losses) != len(batch):
            raise ConfigError(
                f"the {of} of a batch of {len(batch)} examples has the shape "
                f"{tuple(losses.shape)}: it is [examples] or [examples, positions]"
            )
        return losses.flatten(1).sum(1) if losses.dim() > 1 else losses

    def _record(self, batch: Batch, of: Of, seed: int) -> Factors:
        if len(batch) > 1 and self.apart:
            return self._each(batch, of, seed)
        try:
            return self._together(batch, of, seed)
        except torch.OutOfMemoryError:
            raise
        except (ApartError, RuntimeError) as error:
            if len(batch) == 1:
                raise
            self.apart = True
            try:
                factors = self._each(batch, of, seed)
            except (RuntimeError, DataworthError):
                self.apart = False
                raise error from None
            why = str(error).partition("\n")[0]
            log.warning("gradients are taken of each example alone, which is slower: %s", why)
            return factors

    def _each(self, batch: Batch, of: Of, seed: int) -> Factors:
        """Return the factors of each example run alone, merged into those of a batch."""
        if batch.uid is None:
            batch = replace(batch, uid=np.arange(len(batch), dtype=np.uint64))
        singles = [
            self._together(batch.take(slice(row, row + 1)), of, seed) for row in range(len(batch))
        ]
        return merged(singles, batch.tokens)

    def _together(self, batch: Batch, of: Of, seed: int) -> Factors:
        with (
            evaluating(self.model),
            _frozen(self.model),
            torch.enable_grad(),
            first_order(),
            _Recorder(self._modules, self._uses, batch, self.device) as recorder,
            recorder.functions(self._functions),
        ):
            losses = self._losses(batch, of, seed)
            if not losses.requires_grad:
                raise ConfigError("the loss does not depend on any of the modules that count")
            torch.autograd.grad(losses.sum(), recorder.zero)
        return Factors(self.blocks, recorder.calls(self.blocks), losses.detach(), self.dtype)

    def _truth(self, batch: Batch, of: Of, seed: int) -> Tensor:
        """Differentiate the loss of the batch's last example alone, without hooks: [P]."""
        alone = batch.take(slice(len(batch) - 1, len(batch)))
        with evaluating(self.model), torch.enable_grad():
            loss = self._losses(alone, of, seed).sum()
            grads = torch.autograd.grad(loss, list(self._parameters.values()), allow_unused=True)
        return self.blocks.flatten(
            {
                name: torch.zeros_like(parameter) if grad is None else grad
                for (name, parameter), grad in zip(self._parameters.items(), grads, strict=True)
            }
        ).to(self.dtype)

    def _wrong(self, factors: Factors, truth: Tensor) -> list[str]:
        """Name the blocks in which the last example's gradient is not `truth`."""
        least = self._rounding * truth.abs().max()
        wrong = []
        for index, block in enumerate(self.blocks):
            ours, theirs = factors.block(index)[-1].flatten(), truth[block.span]
            bound = torch.maximum(self._tolerance * theirs.abs().max(), least)
            # Not "greater": a difference that is no number is wrong too.
            if ours.shape != theirs.shape or not bool((ours - theirs).abs().max() <= bound):
                wrong.append(block.name)
        return wrong


class _Recorder:
    """Hooks that keep the inputs of covered modules and the gradients in their outputs."""

    def __init__(
        self,
        modules: dict[str, nn.Module],
        uses: list[Use],
        batch: Batch,
        device: torch.device,
    ) -> None:
        self.modules = modules
        self.uses = uses
        self.examples, self.tokens = len(batch), batch.tokens
        # Joins the graph where nothing before it asks for gradients.
        self.zero = torch.zeros((), device=device, requires_grad=True)
        self._seen: list[tuple[Use, Tensor, int, list[Tensor]]] = []
        self._handles: dict[str, Any] = {}
        self._foreign = False

    def __enter__(self) -> _Recorder:
        for use in self.uses:
            module = self.modules[use.name]
            self._handles[use.name] = module.register_forward_hook(self._hook(use))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles.values():
            handle.remove()

    @contextlib.contextmanager
    def functions(self, wanted: bool) -> Iterator[None]:
        """Look at calls of `functional.linear` and `functional.embedding` instead of modules'."""
        if not wanted:
            yield
            return
        known: dict[tuple[str, int, int | None], Use] = {}
        for use in self.uses:
            module = self.modules[use.name]
            if use.kind not in (LINEAR, EMBEDDING):
                continue
            self._handles.pop(use.name).remove()
            bias = getattr(module, "bias", None)
            known[use.kind, id(module.weight), None if bias is None else id(bias)] = use
            # A read-out that takes the table's weight has no module of its own.
            read = Use(use.name, LINEAR, use.weight, None)
            known.setdefault((LINEAR, id(module.weight), None), read)
        with _Functions(self, known):
            yield

    def _hook(self, use: Use) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            if not args:
                raise InputError(f"{told(use.name)} is called by keywords only: leave it out")
            return self.saw(use, args[0], output)

        return hook

    def saw(self, use: Use, value: Tensor, output: Tensor) -> Tensor:
        """Keep a call's input, and later the gradient in its output; gives the output to use."""
        trailing = use.trailing(self.modules[use.name])
        self._check_places(use, value, trailing)
        # A position's embedding is made once for all examples; each has its own gradient.
        if output.shape[0] == 1 and self.examples > 1 and value.dim() > trailing + 1:
            output = output.expand(self.examples, *output.shape[1:])
            value = value.expand(self.examples, *value.shape[1:])
        # Of parameters none asks for a gradient: hooks of others (enable_input_require_grads) do.
        self._foreign |= output.requires_grad and not self._seen
        if self._foreign or not output.requires_grad:
            output = output + self.zero
        if not output.requires_grad:
            raise InputError(
                f"{told(use.name)} runs without a graph of its gradients: switch off gradient "
                "checkpointing that is reentrant (use_reentrant=False), or torch.no_grad"
            )
        kept: list[Tensor] = []
        output.register_hook(kept.append)  # type: ignore[no-untyped-call]
        self._seen.append((use, value.detach(), value._version, kept))
        return output

    def _check_places(self, use: Use, value: Tensor, trailing: int) -> None:
        """Raise ApartError where it is not known whose the positions are that a module sees."""
        lead = value.shape[: value.dim() - trailing]
        if self.examples == 1 or self.tokens is None or len(lead) != 1:
            return
        rows = lead[0]
        if rows != self.examples * self.tokens and (
            rows != self.examples or _LISTED.search(use.name)
        ):
            raise ApartError(
                f"{told(use.name)} sees {rows:,} positions of {self.examples} examples of "
                f"{self.tokens:,} tokens, and whose they are is not known"
            )

    def calls(self, blocks: Blocks) -> list[list[Call]]:
        """Return the recorded calls by block. InputError for an input that was changed in place."""
        calls: list[list[Call]] = [[] for _ in blocks]
        for use, value, version, kept in self._seen:
            if value._version != version:
                raise InputError(
                    f"the input of {told(use.name)} is changed in place after its use, so its "
                    "gradient cannot be known: leave the module out, or make the change out of "
                    "place"
                )
            for grad in kept:
                module = self.modules[use.name]
                for index, call in calls_of(use, module, value, grad, self.examples):
                    calls[index].append(_widened(call, blocks[index].columns))
        return calls


class _Functions(TorchFunctionMode):
    """Shows the recorder calls of functions with a weight that is covered."""

    def __init__(self, recorder: _Recorder, known: dict[tuple[str, int, int | None], Use]) -> None:
        super().__init__()
        self.recorder = recorder
        self.known = known

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        use = None
        if func is functional.linear and len(args) >= 2:
            bias = args[2] if len(args) > 2 else (kwargs or {}).get("bias")
            use = self.known.get((LINEAR, id(args[1]), None if bias is None else id(bias)))
        elif func is functional.embedding and len(args) >= 2:
            use = self.known.get((EMBEDDING, id(args[1]), None))
        if use is not None:
            return self.recorder.saw(use, args[0], output)
        return output


def _widened(call: Call, columns: int) -> Call:
    """Append columns of zeros for the bias of another module that shares the weight."""
    if call.right is None or call.right.shape[-1] == columns:
        return call
    zeros = call.right.new_zeros(*call.right.shape[:-1], columns - call.right.shape[-1])
    return replace(call, right=torch.cat([call.right, zeros], -1))


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode within the block; each module gets its own mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Freeze all parameters within the block: none asks for a gradient."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
