"""The layout of a model's parameters in one gradient vector.

The vector is cut into blocks. A block is a matrix [rows, columns]: the weight of a linear layer
with its bias as the last column (weights that are stored transposed are turned), the kernel of a
convolution as [out, in * size], the table of an embedding, or one column for the weight of a
normalisation or a bias that stands alone. The vector is the blocks one after the other, each row by
row. A parameter that several modules share lies in one block, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from dataworth.errors import ConfigError


def told(name: str) -> str:
    """Return a module's name for messages: the root has none."""
    return name or "the model itself"


@dataclass(frozen=True)
class Piece:
    """A parameter in a block: its name in the model, its shape there, whether it is turned."""

    parameter: str
    shape: tuple[int, ...]
    transposed: bool = False


@dataclass(frozen=True)
class Block:
    """`name`: of the (first) module, or of the parameter. `start`: place in the vector.

    `weight` and `bias`: the parameters in it. Blocks that are one column hold a `weight` only.
    """

    name: str
    start: int
    rows: int
    columns: int
    weight: Piece
    bias: Piece | None = None

    @property
    def size(self) -> int:
        """Numbers in it."""
        return self.rows * self.columns

    @property
    def span(self) -> slice:
        """Its place in the vector."""
        return slice(self.start, self.start + self.size)

    def matrix(self, flat: Tensor) -> Tensor:
        """Cut the block out of vectors [..., P]: [..., rows, columns]."""
        return flat[..., self.span].reshape(*flat.shape[:-1], self.rows, self.columns)


class Blocks(tuple[Block, ...]):
    """All blocks of a gradient vector, in order."""

    __slots__ = ()

    @property
    def size(self) -> int:
        """The length P of the vector."""
        return sum(block.size for block in self)

    @property
    def names(self) -> list[str]:
        """The blocks' names, in the order of the vector."""
        return [block.name for block in self]

    @property
    def parameters(self) -> list[str]:
        """The names of all parameters in the vector."""
        pieces = [piece for block in self for piece in (block.weight, block.bias)]
        return [piece.parameter for piece in pieces if piece is not None]

    @property
    def fingerprint(self) -> str:
        """A hash of names, shapes and offsets: gradients are comparable if theirs are equal."""
        return hashlib.sha256(repr(tuple(self)).encode()).hexdigest()[:16]

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """Return vectors [..., P] as the parameters' own shapes [..., *shape], by name."""
        out = {}
        lead = flat.shape[:-1]
        for block in self:
            matrix = block.matrix(flat)
            weight = matrix if block.bias is None else matrix[..., :-1]
            if block.weight.transposed:
                weight = weight.transpose(-1, -2)
            out[block.weight.parameter] = weight.reshape(*lead, *block.weight.shape)
            if block.bias is not None:
                out[block.bias.parameter] = matrix[..., -1].reshape(*lead, *block.bias.shape)
        return out

    def flatten(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Undo `unflatten`; ConfigError names a parameter that is missing."""
        missing = [name for name in self.parameters if name not in parameters]
        if missing:
            raise ConfigError(f"nothing is known of the parameters {', '.join(missing[:5])}")
        parts = []
        for block in self:
            value = parameters[block.weight.parameter]
            lead = value.shape[: value.dim() - len(block.weight.shape)]
            if block.weight.transposed:
                value = value.transpose(-1, -2)
            columns = block.columns - (block.bias is not None)
            weight = value.reshape(*lead, block.rows, columns)
            if block.bias is not None:
                bias = parameters[block.bias.parameter].reshape(*lead, block.rows, 1)
                weight = torch.cat([weight, bias], -1)
            parts.append(weight.reshape(*lead, block.size))
        return torch.cat(parts, -1)

    def expand(self, values: Tensor) -> Tensor:
        """Repeat one number per block [blocks] as one per coordinate [P]."""
        sizes = torch.tensor([block.size for block in self]).to(values.device)
        return values.repeat_interleave(sizes, output_size=self.size)  # or a GPU is asked for it


def columns_of(shape: tuple[int, ...]) -> int:
    """Return the number of columns of a weight [out, ...]."""
    return prod(shape[1:])
