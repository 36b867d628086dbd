"""The read-out and its loss in one, a few rows at a time.

With 4,096 tokens the logits are the largest thing in a small model's step. They are made for
`CHUNK` rows at a time, and the gradients of these rows at once, while they are in the cache (more
on a GPU): a batch's logits never exist as a whole, forward or backward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 256
_TOGETHER = 1 << 24  # logits that a GPU makes at a time


def rows_at_once(few: int, classes: int, device: torch.device) -> int:
    """Return the rows of logits made at a time: `few`, for a CPU's cache; more on a GPU.

    There each piece costs the starting of its kernels, whatever its size.
    """
    return few if device.type == "cpu" else max(few, _TOGETHER // max(classes, 1))


class _ReadOut(torch.autograd.Function):
    """(mean loss to descend, mean nats) of rows [n, width] against targets [n]."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, z_loss: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        rows = hidden.shape[0]
        hidden, table = hidden.to(dtype), weight.to(dtype)
        tokens = torch.arange(weight.shape[0], device=weight.device)
        nats = extra = hidden.new_zeros((), dtype=torch.float32)
        to_hidden, to_weight = [], torch.zeros_like(weight)
        size = rows_at_once(CHUNK, weight.shape[0], weight.device)
        for start in range(0, rows, size):
            part, wanted = hidden[start : start + size], targets[start : start + size, None]
            logits = (part @ table.t()).float()
            top = logits.amax(-1, keepdim=True)
            powers = (logits - top).exp()
            total = powers.sum(-1, keepdim=True)
            log_total = total.log() + top
            nats = nats + (total.log() + (top - logits.gather(1, wanted))).sum()
            extra = extra + log_total.square().sum()
            slope = powers * ((1 + 2 * z_loss * log_total) / (total * rows))
            slope = (slope - torch.where(tokens == wanted, 1 / rows, 0.0)).to(dtype)
            to_hidden.append(slope @ table)
            to_weight = to_weight + slope.t() @ part
        ctx.save_for_backward(torch.cat(to_hidden), to_weight)
        nats = nats / rows
        loss = nats + z_loss * extra / rows
        ctx.mark_non_differentiable(nats)
        return loss, nats

    @staticmethod
    def backward(ctx: Any, slope: Tensor, _: Tensor) -> Any:
        to_hidden, to_weight = ctx.saved_tensors
        return to_hidden * slope, to_weight * slope, None, None, None


def read_out_loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, z_loss: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return the loss to descend and the mean nats per token, both scalars, float32.

    hidden [..., width], weight [vocabulary, width], targets [...] int64. The first is the mean
    cross-entropy plus `z_loss` times the mean squared log of the normaliser, the second is the
    cross-entropy alone and has no gradient. Products are computed in `dtype`.
    """
    rows = hidden.reshape(-1, hidden.shape[-1])
    out: tuple[Tensor, Tensor] = _ReadOut.apply(  # type: ignore[no-untyped-call]
        rows, weight, targets.reshape(-1), z_loss, dtype
    )
    return out
