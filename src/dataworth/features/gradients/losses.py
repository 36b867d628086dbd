"""Cross-entropy, and a faster one where only first derivatives are asked for.

With a vocabulary of thousands the loss is a large part of the work. The fast form makes the
gradient in the logits at once, `CHUNK` rows at a time while they are in the cache (more on a GPU),
instead of the logarithms of all probabilities and the gradient from them later.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dataworth.lm.readout import rows_at_once

IGNORED = -100
CHUNK = 64
_state = threading.local()


@contextlib.contextmanager
def first_order() -> Iterator[None]:
    """Allow only plain backward passes within the block: losses are differentiated once."""
    _state.fast = True
    try:
        yield
    finally:
        _state.fast = False


class _Fast(torch.autograd.Function):
    """Nats [m] of rows [m, classes] against targets [m]."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        slopes = torch.empty_like(logits)
        nats = logits.new_empty(len(targets))
        counted = targets != IGNORED
        places = targets.clamp_min(0).unsqueeze(1)
        size = rows_at_once(CHUNK, logits.shape[1], logits.device)
        for start in range(0, len(targets), size):
            rows = slice(start, start + size)
            part, slope = logits[rows], slopes[rows]
            top = part.amax(1, keepdim=True)
            torch.sub(part, top, out=slope)
            wanted = slope.gather(1, places[rows])
            slope.exp_()
            total = slope.sum(1, keepdim=True)
            nats[rows] = (total.log() - wanted).squeeze(1)
            slope.div_(total)
            slope.scatter_add_(1, places[rows], -torch.ones_like(wanted))
        nats = torch.where(counted, nats, 0.0)
        # Not saved in autograd's way: they are changed in place, once.
        ctx.slopes, ctx.counted = slopes, counted
        return nats

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        slopes = ctx.slopes.mul_(torch.where(ctx.counted, grad, 0.0).unsqueeze(1))
        del ctx.slopes
        return slopes, None


def cross_entropy(outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return cross-entropy in nats, shaped as `targets`, times `weights`; 0 for targets of -100.

    `outputs`: logits [*targets, classes].
    """
    rows, wanted = outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1)
    # Half precision keeps the form that sums in float32.
    if getattr(_state, "fast", False) and rows.dtype in (torch.float32, torch.float64):
        losses: Tensor = _Fast.apply(rows, wanted)  # type: ignore[no-untyped-call]
    else:
        losses = functional.cross_entropy(rows, wanted, reduction="none")
    losses = losses.reshape(targets.shape)
    return losses if weights is None else losses * weights.to(losses.dtype)


def margin(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the right class's logit minus the log-sum-exp of the other classes' logits.

    `outputs` [*targets, classes]; shaped as `targets`. It is log(p / (1 - p)), not held by 0 and 1.
    """
    right = targets.unsqueeze(-1)
    others = outputs.scatter(-1, right, -torch.inf).logsumexp(-1)
    return outputs.gather(-1, right).squeeze(-1) - others
