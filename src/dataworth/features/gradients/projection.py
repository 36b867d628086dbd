"""Random projections of gradients: a vector of P numbers becomes one of k with like inner products.

    Dense     k columns of random signs (or normal numbers) / sqrt(k)
    Sparse    each coordinate is added, with a random sign, to one place in each of `parts` equal
              parts of the result (Kane & Nelson 2014, block form), / sqrt(parts)
    TwoSided  each block's matrix is multiplied by a random matrix on either side, before the outer
              products are summed: the gradient itself is never formed (LoGra, Choe et al. 2024)
    Whole     none

Numbers are a function of (seed, coordinate) alone (`counter`): the same on any device, in any order
and batch, and for training and query gradients alike. The inner product of two projected vectors
has the true one as its mean; its variance is, with signs, for Dense and Sparse alike,

    (|x|^2 |y|^2 + <x, y>^2 - 2 sum x_i^2 y_i^2) / k

without the last term for normal numbers. Sources are remembered, not checked.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dataworth.errors import ConfigError
from dataworth.features.gradients.blocks import Block, Blocks
from dataworth.features.gradients.counter import (
    key_of,
    normals,
    scatter,
    scatter_on,
    signs,
    signs_on,
)
from dataworth.features.gradients.factors import Factors
from dataworth.features.gradients.modules import Call

Entries = Literal["rademacher", "gaussian"]
_TILE = 1 << 22  # numbers of a random matrix that are made at a time
_CACHE = 1 << 28  # bytes of a random matrix that are kept


class Projector(Protocol):
    """A projection of one model's gradients."""

    @property
    def dimension(self) -> int:
        """The length k of what comes out."""
        ...

    def __call__(self, factors: Factors) -> Tensor:
        """Return the projected gradients of a batch: [n, k]."""
        ...

    def flat(self, vectors: Tensor) -> Tensor:
        """Project vectors: [q, k] from [q, P]."""
        ...


class Projection(Protocol):
    """A choice of projection, before it is known of what."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that it depends on, as JSON."""
        ...

    def bind(self, blocks: Blocks, device: torch.device | None = None) -> Projector:
        """Return the projection of gradients with these blocks."""
        ...


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ConfigError(f"a projection's {name} is at least 1, not {value}")


@dataclass(frozen=True)
class Whole:
    """No projection: all P numbers."""

    @property
    def settings(self) -> dict[str, Any]:
        """Its kind."""
        return {"projection": "whole"}

    def bind(self, blocks: Blocks, device: torch.device | None = None) -> Projector:
        """See `Projection`."""
        return _Whole(blocks.size)


@dataclass(frozen=True)
class _Whole:
    dimension: int

    def __call__(self, factors: Factors) -> Tensor:
        return factors.gradients()

    def flat(self, vectors: Tensor) -> Tensor:
        return vectors


@dataclass(frozen=True)
class Dense:
    """To `dimension` numbers by a matrix of independent entries: 2 P k operations a gradient."""

    dimension: int = 2048
    entries: Entries = "rademacher"
    seed: int = 0

    def __post_init__(self) -> None:
        _positive(dimension=self.dimension)
        if self.entries not in ("rademacher", "gaussian"):
            raise ConfigError(f"entries are 'rademacher' or 'gaussian', not {self.entries!r}")

    @property
    def settings(self) -> dict[str, Any]:
        """Kind and options."""
        return {"projection": "dense", **asdict(self)}

    def bind(self, blocks: Blocks, device: torch.device | None = None) -> Projector:
        """See `Projection`."""
        return _Dense(self, blocks, device or torch.device("cpu"))


class _Dense:
    def __init__(self, options: Dense, blocks: Blocks, device: torch.device) -> None:
        self.options = options
        self.blocks = blocks
        self.device = device
        self.dimension = options.dimension
        self._key = key_of(options.seed, 0)
        self._tile = max(1, _TILE // options.dimension)
        self._cached = 4 * blocks.size * options.dimension <= _CACHE
        self._tiles: dict[tuple[int, int], Tensor] = {}

    def _entries(self, start: int, stop: int) -> Tensor:
        """Return rows `start` to `stop` of the matrix, times the root of its columns."""
        tile = self._tiles.get((start, stop))
        if tile is None:
            tile = self._made(start, stop)
            if self._cached:
                self._tiles[start, stop] = tile
        return tile

    def _made(self, start: int, stop: int) -> Tensor:
        if self.options.entries == "rademacher" and self.device.type != "cpu":
            return signs_on(self.device, self._key, stop - start, self.dimension, start)
        make = signs if self.options.entries == "rademacher" else normals
        rows = make(self._key, stop - start, self.dimension, start)
        return torch.from_numpy(rows).to(self.device)

    def _add(self, out: Tensor, values: Tensor, first: int) -> None:
        """Add the product with the rows from `first` on."""
        for start in range(0, values.shape[1], self._tile):
            stop = min(start + self._tile, values.shape[1])
            rows = self._entries(first + start, first + stop)
            out += values[:, start:stop] @ rows.to(values.dtype)

    def __call__(self, factors: Factors) -> Tensor:
        out = factors.losses.new_zeros(len(factors), self.dimension, dtype=factors.dtype)
        for index, block in enumerate(self.blocks):
            self._add(out, factors.block(index).flatten(1), block.start)
        return out / math.sqrt(self.dimension)

    def flat(self, vectors: Tensor) -> Tensor:
        out = vectors.new_zeros(len(vectors), self.dimension)
        for block in self.blocks:
            self._add(out, vectors[:, block.span], block.start)
        return out / math.sqrt(self.dimension)


@dataclass(frozen=True)
class Sparse:
    """To `dimension` numbers by hashing: `parts` additions for each number of a gradient.

    `dimension` is a multiple of `parts`. The variance does not depend on `parts`; large values are
    rarer with more.
    """

    dimension: int = 4096
    parts: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        _positive(dimension=self.dimension, parts=self.parts)
        if self.dimension % self.parts:
            raise ConfigError(
                f"a projection's dimension is a multiple of its parts: {self.dimension} is none "
                f"of {self.parts}"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Kind and options."""
        return {"projection": "sparse", **asdict(self)}

    def bind(self, blocks: Blocks, device: torch.device | None = None) -> Projector:
        """See `Projection`."""
        return _Sparse(self, blocks)


class _Sparse:
    def __init__(self, options: Sparse, blocks: Blocks) -> None:
        self.options = options
        self.blocks = blocks
        self.dimension = options.dimension
        self._key = key_of(options.seed, 1)

    def _add(self, out: Tensor, values: Tensor, first: int) -> None:
        width = self.dimension // self.options.parts
        if values.device.type != "cpu":
            scatter_on(self._key, values.detach(), out, width, first)
            return
        rows = np.ascontiguousarray(values.detach().float().numpy())
        scatter(self._key, rows, out.numpy(), width, first)

    def _scaled(self, out: Tensor, dtype: torch.dtype) -> Tensor:
        return (out / math.sqrt(self.options.parts)).to(dtype)

    def __call__(self, factors: Factors) -> Tensor:
        out = torch.zeros(len(factors), self.dimension, device=factors.losses.device)
        for index, block in enumerate(self.blocks):
            self._add(out, factors.block(index).flatten(1), block.start)
        return self._scaled(out, factors.dtype)

    def flat(self, vectors: Tensor) -> Tensor:
        out = torch.zeros(len(vectors), self.dimension, device=vectors.device)
        for block in self.blocks:
            self._add(out, vectors[:, block.span], block.start)
        return self._scaled(out, vectors.dtype)


@dataclass(frozen=True)
class TwoSided:
    """Each block to at most `rows` x `columns` numbers; sides that are no longer stay as they are.

    The result is the projected blocks one after the other.
    """

    rows: int = 16
    columns: int = 16
    entries: Entries = "rademacher"
    seed: int = 0

    def __post_init__(self) -> None:
        _positive(rows=self.rows, columns=self.columns)
        if self.entries not in ("rademacher", "gaussian"):
            raise ConfigError(f"entries are 'rademacher' or 'gaussian', not {self.entries!r}")

    @property
    def settings(self) -> dict[str, Any]:
        """Kind and options."""
        return {"projection": "two_sided", **asdict(self)}

    def bind(self, blocks: Blocks, device: torch.device | None = None) -> Projector:
        """See `Projection`."""
        return _TwoSided(self, blocks, device or torch.device("cpu"))


class _TwoSided:
    def __init__(self, options: TwoSided, blocks: Blocks, device: torch.device) -> None:
        self.blocks = blocks
        self._rows: list[Tensor | None] = []
        self._columns: list[Tensor | None] = []
        self.dimension = 0
        make = signs if options.entries == "rademacher" else normals

        def side(length: int, wanted: int, stream: int) -> Tensor | None:
            if length <= wanted:
                return None
            entries = make(key_of(options.seed, stream), length, wanted)
            return torch.from_numpy(entries).to(device) / math.sqrt(wanted)

        for index, block in enumerate(blocks):
            self._rows.append(side(block.rows, options.rows, 2 + 2 * index))
            self._columns.append(side(block.columns, options.columns, 3 + 2 * index))
            self.dimension += min(block.rows, options.rows) * min(block.columns, options.columns)

    def __call__(self, factors: Factors) -> Tensor:
        parts = []
        for index, (block, calls) in enumerate(zip(self.blocks, factors.calls, strict=True)):
            rows, columns = self._rows[index], self._columns[index]
            if rows is None and columns is None:
                parts.append(factors.block(index).flatten(1))
                continue
            width = block.rows if rows is None else rows.shape[1]
            height = block.columns if columns is None else columns.shape[1]
            out = factors.losses.new_zeros(len(factors), width, height, dtype=factors.dtype)
            for call in calls:
                left = _left(call, block, rows, factors.dtype)
                right = _right(call, columns, factors.dtype)
                out += torch.bmm(left.transpose(1, 2), right)
            parts.append(out.flatten(1))
        return torch.cat(parts, 1)

    def flat(self, vectors: Tensor) -> Tensor:
        parts = []
        for index, block in enumerate(self.blocks):
            matrix = block.matrix(vectors)
            rows, columns = self._rows[index], self._columns[index]
            if rows is not None:
                matrix = rows.to(vectors.dtype).T @ matrix
            if columns is not None:
                matrix = matrix @ columns.to(vectors.dtype)
            parts.append(matrix.flatten(1))
        return torch.cat(parts, 1)


def _left(call: Call, block: Block, rows: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Project the row side: [n, positions, k]."""
    if call.left.dtype == torch.int64:
        if rows is None:
            return functional.one_hot(call.left, block.rows).to(dtype)
        return rows.to(dtype)[call.left]
    left = call.left.to(dtype)
    return left if rows is None else left @ rows.to(dtype)


def _right(call: Call, columns: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Project the column side: [n, positions, k]; a single column is never projected."""
    if call.right is None:
        return torch.ones(*call.left.shape[:2], 1, dtype=dtype, device=call.left.device)
    right = call.right.to(dtype)
    return right if columns is None else right @ columns.to(dtype)
