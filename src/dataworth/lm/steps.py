"""The loss of a batch: in which numbers, on how many threads, compiled or not.

`torch.compile` turns the loss and its gradient into a few C++ kernels for one shape. That takes
seconds the first time, about one with the kernels on the disk (torch keeps them, see
`TORCHINDUCTOR_CACHE_DIR`) and nothing for further runs of the same shape in one process.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

from dataworth.engine.device import has_bfloat16
from dataworth.lm.llama import CausalLM, LanguageModel, attention_bias
from dataworth.lm.readout import read_out_loss

Loss = Callable[[LanguageModel, Tensor, Tensor, int, float, torch.dtype], tuple[Tensor, Tensor]]
_Core = Callable[[CausalLM, Tensor, Tensor, Tensor, float, torch.dtype], tuple[Tensor, Tensor]]

Precision = Literal["auto", "float32", "bfloat16"]

COMPILE_TOKENS = 100_000
"""Tokens of a run from which "auto" compiles: below, compiling takes longer than it saves."""
_OWN_GRADIENTS = "autograd_cache_allow_custom_autograd_functions"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_SHAPES = 256  # compiled shapes that one process may hold


def numbers(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the dtype of products. "auto": bfloat16 where the processor has it, else float32."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    return torch.bfloat16 if has_bfloat16(device) else torch.float32


@cache
def keep_memory() -> None:
    """Let the process keep memory that it frees, where the C library is glibc.

    By default glibc hands large blocks back to the system at once. The buffers of a step are then
    mapped, cleared and unmapped again in each step: 2,400 page faults, and a third of the time of
    a step of the "tiny" size.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_M_TRIM_THRESHOLD, 1 << 30)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Use `count` threads of torch inside the block: sums depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def document_segments(inputs: Tensor, end: int) -> Tensor:
    """Number the documents of each row's inputs, int16 [batch, length]: `end` begins a new one.

    With `end` below zero all of a row is one segment.
    """
    return (inputs == end).cumsum(1).to(torch.int16)


def loss_function(
    model: LanguageModel, compiled: Literal["auto"] | bool, tokens: int, device: torch.device
) -> tuple[Loss, bool]:
    """Return the function for a batch's loss, and whether it is compiled.

    It takes (model, inputs, targets, end, z_loss, dtype), inputs and targets [batch, length], and
    gives the loss to descend and the mean nats per token, without gradient.
    """
    if not isinstance(model, CausalLM):
        return (torch.compile(_any_loss) if compiled is True else _any_loss), compiled is True
    if compiled == "auto":
        compiled = _has_compiler(device) and tokens >= COMPILE_TOKENS
    core = _compiled_core() if compiled else _core

    def loss(
        model: LanguageModel, inputs: Tensor, targets: Tensor, end: int, z: float, kind: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        # Made outside of the compiled function, which would compute it again in each layer.
        bias = attention_bias(document_segments(inputs, end))
        return core(cast(CausalLM, model), inputs, targets, bias, z, kind)

    return loss, bool(compiled)


def _core(
    model: CausalLM,
    inputs: Tensor,
    targets: Tensor,
    bias: Tensor,
    z_loss: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    hidden = model.stream(inputs, bias)
    return read_out_loss(hidden, model.read_out_weight, targets, z_loss=z_loss, dtype=dtype)


def _any_loss(
    model: LanguageModel,
    inputs: Tensor,
    targets: Tensor,
    end: int,
    z_loss: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Compute the loss for any model, by its logits; `dtype` comes from autocast."""
    segments = document_segments(inputs, end) if end >= 0 else None
    logits = model(inputs, segments).float().flatten(0, 1)
    nats = functional.cross_entropy(logits, targets.flatten())
    if z_loss:
        return nats + z_loss * logits.logsumexp(-1).square().mean(), nats.detach()
    return nats, nats.detach()


@cache
def _compiled_core() -> _Core:
    """Compile one function for all runs of the process; torch keeps a program for each shape."""
    import torch._dynamo
    import torch._functorch.config

    # The read-out's gradient is our own: without this torch would not keep programs that have it.
    # What they are kept by covers the gradient's code too.
    if hasattr(torch._functorch.config, _OWN_GRADIENTS):
        setattr(torch._functorch.config, _OWN_GRADIENTS, True)
    for limit in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(torch._dynamo.config, limit, max(getattr(torch._dynamo.config, limit), _SHAPES))
    return torch.compile(_core, dynamic=False, fullgraph=True)


def _has_compiler(device: torch.device) -> bool:
    """Tell if torch compiles for the device: by Triton for GPUs since Volta, else by C++."""
    if device.type == "cuda":
        capable = torch.version.hip or torch.cuda.get_device_capability(device)[0] >= 7
        names = ("gcc", "clang", "cc") if capable and find_spec("triton") else ()
    else:
        names = ("g++", "clang++", "c++") if device.type == "cpu" else ()
    return any(shutil.which(name) for name in names)
