"""The loss of a model of ours on held-out text, fast: measured hundreds of times on the same text.

The numbers are those of `lm.evaluation.document_losses` with a quarter of overlap.

The text is tokenized, cut into windows and packed into rows of the model's context once. Windows
in one row do not see each other. A document longer than the context is read in windows that share
a quarter of the context with the one before, whose tokens are predicted only once, so that each
token but those of the first window is predicted from at least a quarter of a context. The first
token is predicted from the end of text, and the end of text after the last counts as a token.

It is computed in the numbers that the model was trained in (for bfloat16, losses differ from those
in float32 by some ten thousandths of a nat), and compiled if training was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dataworth.lm.llama import CausalLM, attention_bias

ROWS = 16  # of a batch; the last one is filled up
OVERLAP = 0.25
_CHUNK = 512  # rows of logits at a time


@dataclass(frozen=True)
class Packed:
    """Batches [batches, ROWS, context]: tokens, their windows, and what follows (-1: not asked).

    `tokens` that are predicted, `bytes` of the texts.
    """

    inputs: Tensor
    segments: Tensor
    targets: Tensor
    tokens: int
    bytes: int


def pack(documents: Sequence[Sequence[int]], end: int, context: int, size: int) -> Packed:
    """Pack documents of token ids into rows and batches; `size`: bytes of their texts."""
    windows = [
        window
        for ids in documents
        for window in _windows(np.array([end, *ids, end], np.int64), context)
    ]
    # The longest first, each into the first row with room: short ones share rows.
    order = sorted(range(len(windows)), key=lambda place: -len(windows[place][0]))
    room: list[int] = []
    rows: list[list[int]] = []
    for place in order:
        length = len(windows[place][0])
        row = next((row for row, left in enumerate(room) if left >= length), -1)
        if row < 0:
            rows.append([])
            room.append(context)
        rows[row].append(place)
        room[row] -= length
    batches = -(-len(rows) // ROWS)
    shape = (batches * ROWS, context)
    inputs, segments = np.full(shape, end, np.int64), np.zeros(shape, np.int64)
    targets = np.full(shape, -1, np.int64)
    for row, places in enumerate(rows):
        at = 0
        for number, place in enumerate(places, 1):
            given, wanted = windows[place]
            stop = at + len(given)
            inputs[row, at:stop], targets[row, at:stop] = given, wanted
            segments[row, at:stop] = number
            at = stop
    parts = [torch.from_numpy(x.reshape(batches, ROWS, context)) for x in (inputs, segments)]
    wanted_all = torch.from_numpy(targets.reshape(batches, ROWS, context))
    return Packed(parts[0], parts[1], wanted_all, int((targets >= 0).sum()), size)


def _windows(
    tokens: NDArray[np.int64], context: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (inputs, targets) of a text's windows; -1 where a token was predicted before."""
    back = int(context * OVERLAP)
    first = 1  # the next token to be predicted
    while first < len(tokens):
        # The last window begins earlier if it has room.
        begin = min(max(first - 1 - back, 0), max(len(tokens) - 1 - context, 0))
        stop = min(begin + context, len(tokens) - 1)
        wanted = tokens[begin + 1 : stop + 1].copy()
        wanted[: first - begin - 1] = -1
        yield tokens[begin:stop], wanted
        first = stop + 1


def loss_of(model: CausalLM, packed: Packed, dtype: torch.dtype, *, compiled: bool) -> float:
    """Return the sum of the loss over all tokens, in nats."""
    module = model.as_module()
    training = module.training
    module.eval()
    measure = _compiled() if compiled else batch_nats
    place = model.read_out_weight.device
    total = 0.0
    try:
        with (
            torch.inference_mode(),
            torch.autocast(place.type, dtype, enabled=dtype != torch.float32),
        ):
            for batch in zip(packed.inputs, packed.segments, packed.targets, strict=True):
                inputs, segments, targets = (part.to(place) for part in batch)
                # Made outside of the compiled function, as in training.
                bias = attention_bias(segments)
                total += float(measure(model, inputs, bias, targets, dtype))
    finally:
        module.train(training)
    return total


def batch_nats(
    model: CausalLM, inputs: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
) -> Tensor:
    """Sum the loss of one batch in nats: float64, or float32 on mps, which has no other."""
    hidden = model.stream(inputs, bias).flatten(0, 1)
    weight = model.read_out_weight.to(dtype)
    exact = torch.float32 if inputs.device.type == "mps" else torch.float64
    total = torch.zeros((), dtype=exact, device=inputs.device)
    asked = targets.flatten()
    for start in range(0, len(asked), _CHUNK):
        rows, wanted = hidden[start : start + _CHUNK], asked[start : start + _CHUNK]
        logits = functional.linear(rows.to(dtype), weight).float()
        known = logits.gather(1, wanted.clamp(min=0)[:, None])[:, 0]
        nats = torch.logsumexp(logits, -1) - known
        total = total + torch.where(wanted >= 0, nats, 0.0).to(exact).sum()
    return total


@cache
def _compiled() -> Any:
    return torch.compile(batch_nats, dynamic=False)
