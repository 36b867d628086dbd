"""Query gradients as products of thin matrices: room for more queries in one pass.

A query's preconditioned gradient in a block, [rows, columns], is nearly of low rank (Grosse et al.
2023 keep 32; remembered, not checked): its best approximation L R is kept, and an example's score
is the sum over positions of (row side times L) * (R times column side). No gradient is formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dataworth.errors import ConfigError
from dataworth.features.gradients.blocks import Blocks
from dataworth.features.gradients.factors import Factors
from dataworth.features.gradients.modules import Call


@dataclass(frozen=True, eq=False)
class LowRank:
    """Low-rank factors of q vectors by block: `left` [q, rows, r] and `right` [q, r, columns], or,
    where these would take more room, the whole matrices [q, rows, columns] as `left` and None.
    """

    blocks: Blocks
    left: list[Tensor]
    right: list[Tensor | None]

    def __len__(self) -> int:
        return len(self.left[0])

    def scores(self, factors: Factors) -> Tensor:
        """Return inner products with a batch's gradients: [n, q]."""
        total = factors.losses.new_zeros((len(factors), len(self)), dtype=factors.dtype)
        for index in range(len(self.blocks)):
            left, right = self.left[index], self.right[index]
            if right is None:
                total += factors.block_scores(index, left)
                continue
            for call in factors.calls[index]:
                total += _scores(call, left, right, factors.dtype)
        return total

    @staticmethod
    def joined(parts: list[LowRank]) -> LowRank:
        """Join the vectors of several, one after the other."""
        first = parts[0]
        left, right = [], []
        for index in range(len(first.blocks)):
            left.append(torch.cat([part.left[index] for part in parts]))
            rights = [part.right[index] for part in parts]
            right.append(
                None if rights[0] is None else torch.cat([r for r in rights if r is not None])
            )
        return LowRank(first.blocks, left, right)


def compress(blocks: Blocks, vectors: Tensor, rank: int) -> LowRank:
    """Approximate vectors [q, P] by the nearest of this rank in each block (singular values)."""
    if rank < 1:
        raise ConfigError(f"a rank is at least 1, not {rank}")
    lefts: list[Tensor] = []
    rights: list[Tensor | None] = []
    for block in blocks:
        matrix = block.matrix(vectors)
        if rank * (block.rows + block.columns) >= block.size:
            lefts.append(matrix)
            rights.append(None)
            continue
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        lefts.append(u[..., :rank] * s[:, None, :rank])
        rights.append(v[:, :rank])
    return LowRank(blocks, lefts, rights)


def _scores(call: Call, left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """Return one call's part of the scores: [n, q]."""
    q, _, rank = left.shape
    thin = left.to(dtype).transpose(0, 1).flatten(1)  # [rows, q * r]
    named = call.left.dtype == torch.int64
    product = thin[call.left] if named else call.left.to(dtype) @ thin
    # Low rank is for blocks of several columns: there are always column sides.
    assert call.right is not None
    product = product * (call.right.to(dtype) @ right.to(dtype).flatten(0, 1).T)
    return product.sum(1).reshape(-1, q, rank).sum(2)
