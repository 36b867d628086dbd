"""Examples in batches: what a model is called with, what it is compared with, and whose rows.

A batch is laid by a task (`task.Task.lay`) from single examples. Everything in it has the examples
as its first dimension, so that a batch of some of them can be cut out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataworth.errors import InputError


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples, ready for the model.

    `inputs`: what the model is called with, as arguments or by keyword. `targets`: what its outputs
    are compared with. `weights`: of each term of the loss, [n] or [n, positions]. `mask` bool
    [n, positions]: which positions hold content; None when all do. `uid` uint64 [n]: of the
    examples; draws of labels are keyed by it. Tensors, all with n as their first dimension.
    """

    inputs: tuple[Tensor, ...] | Mapping[str, Tensor]
    targets: Tensor
    weights: Tensor | None = None
    mask: Tensor | None = None
    uid: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def tokens(self) -> int | None:
        """Positions of token ids [n, positions], if the model is called with such."""
        given = self.inputs.values() if isinstance(self.inputs, Mapping) else self.inputs
        first = next(iter(given), None)
        if first is None or first.dim() != 2 or first.is_floating_point():
            return None
        return int(first.shape[1])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        inputs = (
            {name: change(value) for name, value in self.inputs.items()}
            if isinstance(self.inputs, Mapping)
            else tuple(change(value) for value in self.inputs)
        )
        return replace(
            self,
            inputs=inputs,
            targets=change(self.targets),
            weights=None if self.weights is None else change(self.weights),
            mask=None if self.mask is None else change(self.mask),
        )

    def take(self, rows: slice) -> Batch:
        """Return the batch of some of the examples."""
        batch = self._each(lambda value: value[rows])
        return replace(batch, uid=None if self.uid is None else self.uid[rows])

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        return self._each(lambda value: value.to(device))


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples to be laid into batches, again and again, always the same way.

    `lay(items, uid)`: what makes a batch of them. `uid` uint64 [n]: row numbers where none are
    given. `size`: examples of a batch; `tokens`: at most so many positions after padding, if
    `length` (of an item) is known. Batches take examples of like length together; each comes with
    the rows its examples have here.
    """

    items: Sequence[Any]
    lay: Callable[[Sequence[Any], NDArray[np.uint64]], Batch]
    uid: NDArray[np.uint64] | None = None
    size: int = 16
    tokens: int | None = None
    length: Callable[[Any], int] | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or (self.tokens is not None and self.tokens < 1):
            raise InputError("a batch holds at least one example and one token")
        if self.uid is not None and len(self.uid) != len(self.items):
            raise InputError(f"{len(self.items):,} examples have {len(self.uid):,} uids")

    def __len__(self) -> int:
        return len(self.items)

    @property
    def uids(self) -> NDArray[np.uint64]:
        """The uid of each example, uint64 [n]."""
        if self.uid is not None:
            return self.uid
        return np.arange(len(self.items), dtype=np.uint64)

    def rows(self) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each batch."""
        lengths = np.ones(len(self.items), np.int64)
        if self.length is not None:
            lengths[:] = [self.length(item) for item in self.items]
        order = np.argsort(lengths, kind="stable")
        start = 0
        while start < len(order):
            stop = min(start + self.size, len(order))
            if self.tokens is not None:
                # Sorted: the last example of a batch is its longest.
                filled = lengths[order[start:stop]] * np.arange(1, stop - start + 1)
                stop = start + max(1, int(np.searchsorted(filled, self.tokens, side="right")))
            yield order[start:stop]
            start = stop

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        uid = self.uids
        for rows in self.rows():
            yield rows, self.lay([self.items[row] for row in rows], uid[rows])

    def take(self, rows: NDArray[np.int64]) -> Examples:
        """Return the examples of some rows."""
        return replace(self, items=[self.items[row] for row in rows], uid=self.uids[rows])


def items_of(examples: Sequence[Any] | Examples) -> Sequence[Any]:
    """Return the items of `Examples`; a sequence of items as it is."""
    return examples.items if isinstance(examples, Examples) else examples
