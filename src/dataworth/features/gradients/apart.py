"""Gradients of examples that were run one at a time, as those of one batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from dataworth.features.gradients.factors import Factors
from dataworth.features.gradients.modules import Call


def merged(found: Sequence[Factors], tokens: int | None) -> Factors:
    """Return the factors of a batch from those of its examples.

    Calls that have not the same positions in all examples are padded with zeros, and belong to no
    position. `tokens`: positions of the batch, if known.
    """
    first = found[0]
    calls = [
        [
            _merged(by_example, tokens)
            for by_example in _grouped([factors.calls[index] for factors in found])
        ]
        for index in range(len(first.blocks))
    ]
    losses = torch.cat([factors.losses for factors in found])
    return Factors(first.blocks, calls, losses, first.dtype)


def _grouped(calls: Sequence[Sequence[Call]]) -> list[list[list[Call]]]:
    """Return the calls of a block, given by example: those that go together, by example."""
    groups: dict[tuple[str, torch.dtype], list[list[Call]]] = defaultdict(
        lambda: [[] for _ in calls]
    )
    for row, of in enumerate(calls):
        for call in of:
            groups[call.module, call.left.dtype][row].append(call)
    out = []
    for group in groups.values():
        # Called equally often: call by call, so that positions stay what they are.
        if len({tuple(call.positions for call in of) for of in group}) == 1:
            out += [[[call] for call in calls] for calls in zip(*group, strict=True)]
        else:
            out.append(group)
    return out


def _merged(by_example: list[list[Call]], tokens: int | None) -> Call:
    like = next(call for calls in by_example for call in calls)
    sizes = [sum(call.positions for call in calls) for calls in by_example]
    width, placed = max(sizes), like.placed
    if len(set(sizes)) > 1 or (tokens is not None and width not in (1, tokens)):
        placed, width = False, width + (width in (1, tokens))

    def side(parts: list[Tensor], like: Tensor) -> Tensor:
        out = like.new_zeros(1, width, *like.shape[2:])
        at = 0
        for part in parts:
            out[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        return out

    left = torch.cat([side([call.left for call in calls], like.left) for calls in by_example])
    if like.right is None:
        return Call(like.module, left, None, placed)
    kind = like.right
    rights = [[call.right for call in calls if call.right is not None] for calls in by_example]
    return Call(like.module, left, torch.cat([side(of, kind) for of in rights]), placed)
