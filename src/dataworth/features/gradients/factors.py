"""Per-example gradients of one batch, kept as the outer products that they are sums of.

Inner products and norms can be had from the outer products alone ("ghost": Goodfellow 2015, Li et
al. 2022; remembered, not checked): for two examples, the inner product of their gradients in a
block is the sum over pairs of positions of (row sides' product) * (column sides' product).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dataworth.errors import InputError
from dataworth.features.gradients.blocks import Block, Blocks
from dataworth.features.gradients.modules import Call

# Numbers that a product of all pairs may hold at a time.
_HELD = 1 << 24


@dataclass(frozen=True, eq=False)
class PositionScores:
    """Scores by position: `positions` [n, q, positions], and `rest` [n, q] of calls without any.

    The sum over positions plus the rest is the whole score.
    """

    positions: Tensor
    rest: Tensor


@dataclass(frozen=True, eq=False)
class Factors:
    """Factored gradients of n examples: `calls` by block; `losses` [n], differentiated.

    Sums are taken in `dtype`: float32, or float64 where the model is.
    """

    blocks: Blocks
    calls: Sequence[Sequence[Call]]
    losses: Tensor
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.losses)

    def block(self, index: int) -> Tensor:
        """Form the gradients of one block: [n, rows, columns]."""
        block = self.blocks[index]
        out: Tensor | None = None
        for call in self.calls[index]:
            if call.left.dtype == torch.int64:
                if out is None:
                    out = self.losses.new_zeros(
                        (len(self), block.rows, block.columns), dtype=self.dtype
                    )
                _add_rows(out, call, self.dtype)
                continue
            if call.right is None:
                part = call.left.to(self.dtype).sum(1).unsqueeze(-1)
            else:
                left = call.left.to(self.dtype).transpose(1, 2)
                part = torch.bmm(left, call.right.to(self.dtype))
            out = part if out is None else out + part
        if out is None:
            out = self.losses.new_zeros((len(self), block.rows, block.columns), dtype=self.dtype)
        return out

    def gradients(self) -> Tensor:
        """Form the gradients [n, P]."""
        return torch.cat([self.block(i).flatten(1) for i in range(len(self.blocks))], 1)

    def squared_norms(self) -> Tensor:
        """Return the squared norm of each gradient [n], by the cheaper way for each block."""
        total = self.losses.new_zeros(len(self), dtype=self.dtype)
        for index, block in enumerate(self.blocks):
            if self._ghost_is_cheaper(block, self.calls[index]):
                for a in self.calls[index]:
                    for b in self.calls[index]:
                        total += _own_product(a, b, self.dtype)
            else:
                total += self.block(index).flatten(1).square().sum(1)
        return total

    def _ghost_is_cheaper(self, block: Block, calls: Sequence[Call]) -> bool:
        positions = sum(call.positions for call in calls)
        return positions * (block.rows + block.columns) < block.size

    def dot(self, other: Factors) -> Tensor:
        """Multiply with the gradients of another batch [n, m], without forming any gradient."""
        out = self.losses.new_zeros((len(self), len(other)), dtype=self.dtype)
        for mine, theirs in zip(self.calls, other.calls, strict=True):
            for a in mine:
                for b in theirs:
                    step = max(1, _HELD // (a.left.shape[0] * a.positions * b.positions))
                    for start in range(0, len(other), step):
                        rows = slice(start, start + step)
                        out[:, rows] += _product(a, _rows(b, rows), self.dtype)
        return out

    def scores_by_block(self, vectors: Tensor) -> Tensor:
        """Return inner products with vectors [q, P], by block: [n, q, blocks]."""
        return torch.stack(
            [self.block_scores(i, b.matrix(vectors)) for i, b in enumerate(self.blocks)], -1
        )

    def scores(self, vectors: Tensor) -> Tensor:
        """Return inner products of the gradients with vectors [q, P]: [n, q]."""
        total = self.losses.new_zeros((len(self), len(vectors)), dtype=self.dtype)
        for index, block in enumerate(self.blocks):
            total += self.block_scores(index, block.matrix(vectors))
        return total

    def block_scores(self, index: int, vectors: Tensor) -> Tensor:
        """Return inner products in one block with [q, rows, columns]: [n, q]."""
        calls = self.calls[index]
        rows = self.blocks[index].rows
        # Reading the rows that occur costs about as much as eight of a plain product.
        if calls and all(c.left.dtype == torch.int64 and 8 * c.positions < rows for c in calls):
            return sum(
                (_table_scores(call, vectors, self.dtype) for call in calls[1:]),
                start=_table_scores(calls[0], vectors, self.dtype),
            )
        return self.block(index).flatten(1) @ vectors.flatten(1).to(self.dtype).T

    def scores_by_position(self, vectors: Tensor) -> PositionScores:
        """Return inner products with vectors [q, P], split by position in the sequence.

        A call of a module is by position if it has as many as the longest; calls with one position
        (a classifier's last layer), or with positions of another order, make up the rest.
        InputError for anything between.
        """
        placed = (call for calls in self.calls for call in calls if call.placed)
        length = max((call.positions for call in placed), default=1)
        out = self.losses.new_zeros((len(self), len(vectors), length), dtype=self.dtype)
        rest = self.losses.new_zeros((len(self), len(vectors)), dtype=self.dtype)
        for block, calls in zip(self.blocks, self.calls, strict=True):
            matrices = block.matrix(vectors).to(self.dtype)
            for call in calls:
                if call.placed and call.positions not in (1, length):
                    raise InputError(
                        f"{call.module} has {call.positions} positions where others have {length}: "
                        "scores by position need one sequence; leave the module out"
                    )
                for query, matrix in enumerate(matrices):
                    part = _position_scores(call, matrix, self.dtype)
                    if call.placed and call.positions == length:
                        out[:, query] += part
                    else:
                        rest[:, query] += part.sum(1)
        return PositionScores(out, rest)


def _rows(call: Call, rows: slice) -> Call:
    right = None if call.right is None else call.right[rows]
    return replace(call, left=call.left[rows], right=right)


def _add_rows(out: Tensor, call: Call, dtype: torch.dtype) -> None:
    """Add the column sides to the rows that the ids name."""
    assert call.right is not None
    first = torch.arange(len(out), device=out.device).unsqueeze(1) * out.shape[1]
    flat = out.view(-1, out.shape[2])
    flat.index_add_(0, (call.left + first).flatten(), call.right.flatten(0, 1).to(dtype))


def _own_product(a: Call, b: Call, dtype: torch.dtype) -> Tensor:
    """Return the product of each example's part `a` with its own part `b`: [n]."""
    sides = []
    if a.left.dtype == torch.int64 and b.left.dtype == torch.int64:
        sides.append((a.left.unsqueeze(2) == b.left.unsqueeze(1)).to(dtype))
    elif a.left.dtype == torch.int64:
        ids = a.left.unsqueeze(1).expand(-1, b.positions, -1)
        sides.append(b.left.to(dtype).gather(2, ids).transpose(1, 2))
    elif b.left.dtype == torch.int64:
        ids = b.left.unsqueeze(1).expand(-1, a.positions, -1)
        sides.append(a.left.to(dtype).gather(2, ids))
    else:
        sides.append(torch.bmm(a.left.to(dtype), b.left.to(dtype).transpose(1, 2)))
    if a.right is not None and b.right is not None:
        sides.append(torch.bmm(a.right.to(dtype), b.right.to(dtype).transpose(1, 2)))
    product = sides[0] if len(sides) == 1 else sides[0] * sides[1]
    return product.flatten(1).sum(1)


def _left_pairs(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """Multiply the row sides of all pairs of positions: [n * t, m * s]."""
    if a.dtype == torch.int64 and b.dtype == torch.int64:
        return (a.flatten().unsqueeze(1) == b.flatten().unsqueeze(0)).to(dtype)
    if a.dtype == torch.int64:
        return b.flatten(0, 1).to(dtype)[:, a.flatten()].T
    if b.dtype == torch.int64:
        return a.flatten(0, 1).to(dtype)[:, b.flatten()]
    return a.flatten(0, 1).to(dtype) @ b.flatten(0, 1).to(dtype).T


def _product(a: Call, b: Call, dtype: torch.dtype) -> Tensor:
    """Multiply all examples' parts `a` with all parts `b`: [n, m]."""
    pairs = _left_pairs(a.left, b.left, dtype)
    if a.right is not None and b.right is not None:
        pairs = pairs * (a.right.flatten(0, 1).to(dtype) @ b.right.flatten(0, 1).to(dtype).T)
    n, m = a.left.shape[0], b.left.shape[0]
    return pairs.view(n, a.positions, m, b.positions).sum((1, 3))


def _table_scores(call: Call, vectors: Tensor, dtype: torch.dtype) -> Tensor:
    """Multiply an embedding's part with [q, rows, columns], by rows that occur: [n, q]."""
    assert call.right is not None
    right = call.right.to(dtype)
    columns = [(vector.to(dtype)[call.left] * right).sum((1, 2)) for vector in vectors]
    return torch.stack(columns, 1)


def _position_scores(call: Call, matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Multiply each position's part with one matrix [rows, columns]: [n, positions]."""
    if call.left.dtype == torch.int64:
        assert call.right is not None
        return (matrix[call.left] * call.right.to(dtype)).sum(2)
    moved = call.left.to(dtype) @ matrix
    if call.right is None:
        return moved.squeeze(2)
    return (moved * call.right.to(dtype)).sum(2)
