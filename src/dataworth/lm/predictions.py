"""Running a model over many token lists, each token predicted once, in full batches.

Lists are cut into windows of the context. Our own models take several windows in one row, each a
segment that sees only itself, so that rows are full; other models take one window a row, padded on
the right, where causal attention does not look.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dataworth.errors import ConfigError
from dataworth.lm.llama import CausalLM, LanguageModel
from dataworth.lm.readout import rows_at_once
from dataworth.lm.steps import Precision, keep_memory, numbers, threads

_ROWS = 512  # of logits at a time, on a CPU

Nats = NDArray[np.float64]
Ints = NDArray[np.int64]
Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class _Window:
    """`tokens` of list `item`; the last of them, from place `start` of the list, are predicted."""

    item: int
    tokens: Sequence[int]
    start: int
    predicted: int

    @property
    def inputs(self) -> int:
        """Tokens that go into the model: all but the last."""
        return len(self.tokens) - 1


def predict(
    model: LanguageModel,
    items: Sequence[Sequence[int]],
    firsts: Sequence[int],
    context: int,
    overlap: float,
    batch_tokens: int,
    thread_count: int,
    precision: Precision,
) -> list[tuple[Nats, Hits]]:
    """Score tokens firsts[i] and after of each list: nats, and whether each was the likeliest.

    Raises ConfigError if a token is not in the model's vocabulary, or for an overlap that is no
    share below one.
    """
    if not 0 <= overlap < 1 or context < 1:
        raise ConfigError(f"overlap {overlap} is a share below 1, context {context} at least 1")
    largest = max((max(ids) for ids in items if len(ids)), default=0)
    if largest >= model.vocabulary:
        raise ConfigError(
            f"token {largest} is not in the model's vocabulary of {model.vocabulary}: "
            "use the model's own tokenizer"
        )
    sizes = [max(len(ids) - first, 0) for ids, first in zip(items, firsts, strict=True)]
    out = [(np.zeros(size), np.zeros(size, bool)) for size in sizes]
    windows = [
        window
        for item, (ids, first) in enumerate(zip(items, firsts, strict=True))
        for window in _windows(item, ids, first, context, int(context * overlap))
    ]
    keep_memory()
    device = next(model.as_module().parameters()).device
    dtype = numbers(precision, device)
    cast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    with threads(thread_count), torch.inference_mode(), cast:
        for window, nats, hits in _run_all(model, windows, context, batch_tokens, device):
            at = window.start - firsts[window.item]
            out[window.item][0][at : at + window.predicted] = nats
            out[window.item][1][at : at + window.predicted] = hits
    return out


def _windows(
    item: int, ids: Sequence[int], first: int, context: int, back: int
) -> Iterator[_Window]:
    """Yield windows of at most `context` inputs that predict ids[first:], each token once.

    A window begins `back` tokens before the input of its first prediction; the last one earlier
    if it has room.
    """
    start = first
    while start < len(ids):
        begin = min(max(start - 1 - back, 0), max(len(ids) - 1 - context, 0))
        stop = min(begin + context + 1, len(ids))
        yield _Window(item, ids[begin:stop], start, stop - start)
        start = stop


def _run_all(
    model: LanguageModel,
    windows: Sequence[_Window],
    context: int,
    batch_tokens: int,
    device: torch.device,
) -> Iterator[tuple[_Window, Nats, Hits]]:
    module = model.as_module()
    training = module.training
    module.eval()
    rows = _rows(windows, context if isinstance(model, CausalLM) else 0)
    try:
        while rows:
            width = sum(window.inputs for window in rows[-1])
            take = max(batch_tokens // max(width, 1), 1)
            batch, rows = rows[-take:], rows[:-take]
            yield from _run(model, batch, device)
    finally:
        module.train(training)


def _rows(windows: Sequence[_Window], capacity: int) -> list[list[_Window]]:
    """Put windows into rows of at most `capacity` inputs (or one window), the shortest row first.

    Best fit, the longest window first: it goes where the least room is left over.
    """
    rows: list[list[_Window]] = []
    room: list[tuple[int, int]] = []  # (inputs that fit, row), sorted
    for window in sorted(windows, key=lambda one: -one.inputs):
        at = bisect.bisect_left(room, (window.inputs, -1))
        if at < len(room):
            left, row = room.pop(at)
        else:
            left, row = capacity, len(rows)
            rows.append([])
        rows[row].append(window)
        if left > window.inputs:
            bisect.insort(room, (left - window.inputs, row))
    return sorted(rows, key=lambda row: sum(window.inputs for window in row))


def _run(
    model: LanguageModel, rows: Sequence[Sequence[_Window]], device: torch.device
) -> Iterator[tuple[_Window, Nats, Hits]]:
    """Predict the windows of one batch."""
    width = max(sum(window.inputs for window in row) for row in rows)
    inputs = np.zeros((len(rows), width), np.int64)
    segments = np.full((len(rows), width), -1, np.int16)
    places, targets = [], []
    for at, row in enumerate(rows):
        begin = 0
        for number, window in enumerate(row):
            end = begin + window.inputs
            inputs[at, begin:end] = window.tokens[:-1]
            segments[at, begin:end] = number
            places.append(np.arange(end - window.predicted, end) + at * width)
            targets.append(np.array(window.tokens[len(window.tokens) - window.predicted :]))
            begin = end
    nats, hits = _scores(
        model,
        torch.from_numpy(inputs).to(device),
        torch.from_numpy(segments).to(device),
        torch.from_numpy(np.concatenate(places)).to(device),
        torch.from_numpy(np.concatenate(targets)).to(device),
    )
    begin = 0
    for row in rows:
        for window in row:
            end = begin + window.predicted
            yield window, nats[begin:end], hits[begin:end]
            begin = end


def _scores(
    model: LanguageModel, inputs: Tensor, segments: Tensor, places: Tensor, targets: Tensor
) -> tuple[Nats, Hits]:
    """Return nats of each target at its place of the flat batch, and whether it was likeliest."""
    size = rows_at_once(_ROWS, model.vocabulary, inputs.device)
    if isinstance(model, CausalLM):  # logits of the places that are asked for alone
        hidden = model.hidden(inputs, segments).flatten(0, 1)[places]
        parts = (
            functional.linear(part, model.read_out_weight) for part in torch.split(hidden, size)
        )
    else:
        parts = (part for part in torch.split(model(inputs).flatten(0, 1)[places], size))
    nats, hits = [], []
    for logits, wanted in zip(parts, torch.split(targets, size), strict=True):
        nats.append(functional.cross_entropy(logits.float(), wanted, reduction="none"))
        hits.append(logits.argmax(-1) == wanted)
    # To the CPU first: some devices (mps) have no float64.
    return torch.cat(nats).cpu().double().numpy(), torch.cat(hits).cpu().numpy()
