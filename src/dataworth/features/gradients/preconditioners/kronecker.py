"""K-FAC and EK-FAC: curvature of a block as a product of its two sides.

With `A` the mean over positions of the column sides' outer products and `S` that of the row sides'
(labels drawn from the model), a block's Fisher information is about T * S (x) A, T being the mean
number of positions of an example: gradients of one example's positions are taken as independent
(Martens & Grosse 2015). EK-FAC keeps the eigenvectors of both and measures the variance of the
examples' gradients along each pair of them (George et al. 2018), which needs no independence.

The factor T is not in all published code; with it, K-FAC and EK-FAC have the same scale and one
rule of damping suits both. Sides longer than `longest` are cut into equal parts, between which no
correlation is kept (a block-diagonal factor). The ids of embeddings are not rotated: their own
coordinates stand for eigenvectors. `Eigen.describe` tells which modules that concerns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dataworth.errors import ConfigError
from dataworth.features.gradients.batches import Batch, Examples
from dataworth.features.gradients.blocks import Block, Blocks, told
from dataworth.features.gradients.checks import fits, one_of, some
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.factors import Factors
from dataworth.features.gradients.modules import Call
from dataworth.features.gradients.preconditioners.base import COPY, Damping, Linear, divided
from dataworth.features.gradients.preconditioners.simple import Labels

LONGEST = 2048


@dataclass
class _Side:
    """Sums over one side of a block: of outer products, or of squares alone."""

    total: Tensor
    rotated: bool
    length: int

    @staticmethod
    def empty(length: int, longest: int, device: torch.device) -> _Side:
        """Return a side whose parts have `longest` coordinates at most; 0: not rotated."""
        shape = parts_of(length, longest) if longest else (length,)
        total = torch.zeros(shape, dtype=torch.float64, device=device)
        return _Side(total, bool(longest), length)

    def add(self, rows: Tensor | None, count: int, dtype: torch.dtype) -> None:
        """Add rows [m, length]; ids [m]; or None for ones."""
        if rows is None:
            self.total += count
        elif rows.dtype == torch.int64:
            # Only sides that are not rotated meet ids.
            counts = torch.bincount(rows, minlength=len(self.total))
            self.total += counts
        elif self.rotated:
            parts = _padded(rows.to(dtype), self.total).transpose(0, 1)
            self.total += parts.transpose(1, 2) @ parts
        else:
            self.total += rows.to(dtype).square().sum(0)

    def basis(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Return eigenvalues of the mean, and eigenvectors as columns of [parts, width, width],
        or [length, length] for one part; None for own coordinates.
        """
        mean = self.total / max(count, 1)
        if not self.rotated:
            return mean, None
        width, left = mean.shape[-1], self.length
        eye = torch.eye(width, dtype=mean.dtype, device=mean.device)
        values, vectors = [], eye.repeat(len(mean), 1, 1)
        for part, into in zip(mean, vectors, strict=True):
            size = min(width, left)
            eigenvalues, into[:size, :size] = torch.linalg.eigh(((part + part.T) / 2)[:size, :size])
            values.append(eigenvalues.clamp_min(0))
            left -= size
        return torch.cat(values), vectors[0] if len(vectors) == 1 else vectors


def parts_of(length: int, longest: int) -> tuple[int, int, int]:
    """Return the shape of a side's factor: (parts, width, width), the last part padded."""
    parts = -(-length // longest)
    width = -(-length // parts)
    return parts, width, width


def _padded(rows: Tensor, basis: Tensor) -> Tensor:
    """Return rows [..., length] as [..., parts, width], with zeros at the end."""
    parts, width = basis.shape[0], basis.shape[-1]
    rows = torch.nn.functional.pad(rows, (0, parts * width - rows.shape[-1]))
    return rows.reshape(*rows.shape[:-1], parts, width)


def _times(rows: Tensor, basis: Tensor) -> Tensor:
    """Multiply rows [..., length] by a basis, part by part."""
    if basis.dim() == 2:
        return rows @ basis
    out = torch.einsum("...pi,pij->...pj", _padded(rows, basis), basis)
    return out.flatten(-2)[..., : rows.shape[-1]]


@dataclass(frozen=True, eq=False)
class Eigen(Linear):
    """A curvature with known eigenvectors: for each block, `rows` and `columns` and, between them,
    `values` [rows, columns], damping included. `means` [blocks]: of the curvature without damping,
    where that is known.
    """

    name: str
    blocks: Blocks
    rows: list[Tensor | None]
    columns: list[Tensor | None]
    values: list[Tensor]
    damping: Tensor
    scale: float
    about: str
    means: Tensor | None = None
    unit = COPY

    def apply(self, vectors: Tensor) -> Tensor:
        """Solve block by block: [q, P]. ConfigError for vectors of another length."""
        fits(vectors, self.blocks.size, self.name)
        parts = []
        for index, block in enumerate(self.blocks):
            turned = _turned(block.matrix(vectors), self.rows[index], self.columns[index])
            turned = divided(turned, self.values[index])
            parts.append(_back(turned, self.rows[index], self.columns[index]).flatten(1))
        return torch.cat(parts, 1)

    def squares(self, factors: Factors) -> Tensor:
        """Return each gradient's product with itself through the inverse, unscaled: [n]."""
        total = factors.losses.new_zeros(len(factors), dtype=factors.dtype)
        for index, values in enumerate(self.values):
            turned = _turned_block(factors, index, self.rows[index], self.columns[index])
            total += divided(turned.square(), values).flatten(1).sum(1)
        return total

    def describe(self) -> str:
        """Describe the preconditioner in words."""
        return self.about


def _turned_block(
    factors: Factors, index: int, rows: Tensor | None, columns: Tensor | None
) -> Tensor:
    """Rotate one block's gradients to the eigenvectors: [n, rows, columns].

    With few positions the sides are turned before their outer product is taken: for a plain
    classifier, which has one, that is as many times cheaper as the layer has outputs.
    """
    block, calls = factors.blocks[index], factors.calls[index]
    high, wide = (0 if side is None else side.shape[-1] for side in (rows, columns))
    positions = sum(call.positions for call in calls)
    plain = all(call.right is not None and call.left.dtype != torch.int64 for call in calls)
    cheaper = positions * (block.rows * high + block.columns * wide) < block.size * (high + wide)
    if not (calls and plain and cheaper):
        return _turned(factors.block(index), rows, columns)
    out = factors.losses.new_zeros((len(factors), block.rows, block.columns), dtype=factors.dtype)
    for call in calls:
        assert call.right is not None
        left, right = call.left.to(factors.dtype), call.right.to(factors.dtype)
        left = left if rows is None else _times(left, rows)
        right = right if columns is None else _times(right, columns)
        out += torch.bmm(left.transpose(1, 2), right)
    return out


def _turned(matrix: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    if rows is not None:
        matrix = _times(matrix.mT, rows).mT
    return matrix if columns is None else _times(matrix, columns)


def _back(matrix: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    return _turned(
        matrix, None if rows is None else rows.mT, None if columns is None else columns.mT
    )


@dataclass(frozen=True, eq=False)
class _Content:
    """Positions of a batch that hold content: `places` [m] among all of its `shape`.

    Found once for all modules: a GPU has to be waited for.
    """

    shape: torch.Size
    places: Tensor

    @staticmethod
    def of(mask: Tensor, device: torch.device) -> _Content:
        """Find the positions that a mask [n, positions] counts."""
        return _Content(mask.shape, mask.flatten().nonzero()[:, 0].to(device))


def _kept(side: Tensor | None, content: _Content | None) -> Tensor | None:
    """Select the positions that hold content: [m, ...]."""
    if side is None:
        return None
    flat = side.flatten(0, 1)
    if content is not None and content.shape == side.shape[:2]:
        return flat[content.places]
    return flat


class _Sums:
    """Both sides of one block."""

    def __init__(self, block: Block, ids: bool, longest: int, device: torch.device) -> None:
        self.rows = _Side.empty(block.rows, 0 if ids else longest, device)
        self.columns = _Side.empty(block.columns, longest, device)
        self.count = 0

    def add(self, call: Call, content: _Content | None, dtype: torch.dtype) -> None:
        left = _kept(call.left, content)
        assert left is not None
        self.count += len(left)
        self.rows.add(left, len(left), dtype)
        self.columns.add(_kept(call.right, content), len(left), dtype)


@dataclass(frozen=True)
class _Passes:
    """Batches with their gradients, once for each draw of labels."""

    engine: Gradients
    examples: Examples
    seeds: range | None

    @property
    def count(self) -> int:
        """Examples that are met in one pass, each as often as labels are drawn."""
        return len(self.examples) * (1 if self.seeds is None else len(self.seeds))

    def __iter__(self) -> Iterator[tuple[Batch, Factors]]:
        for _, batch in self.examples:
            if self.seeds is None:
                yield batch, self.engine.factors(batch)
                continue
            for seed in self.seeds:
                yield batch, self.engine.factors(batch, "sampled", seed)


def _sides(passes: _Passes, longest: int) -> list[_Sums]:
    """Sum both sides of each block over the examples, in a first pass."""
    engine = passes.engine
    sums: list[_Sums] = []
    for batch, factors in passes:
        if engine.apart:
            raise ConfigError(
                "the factors of K-FAC and EK-FAC are of modules that see every position, and some "
                "of this model's see a part of them, as experts do: take another solver "
                "(identity, cosine, diagonal), or batches of one example"
            )
        if not sums:
            ids = [any(c.left.dtype == torch.int64 for c in calls) for calls in factors.calls]
            sums = [
                _Sums(block, has, longest, engine.device)
                for block, has in zip(engine.blocks, ids, strict=True)
            ]
        content = None if batch.mask is None else _Content.of(batch.mask, engine.device)
        _add_sides(sums, factors, content)
        del factors  # or the next batch's would be made beside them
    return sums


def _add_sides(sums: list[_Sums], factors: Factors, content: _Content | None) -> None:
    for total, calls in zip(sums, factors.calls, strict=True):
        for call in calls:
            total.add(call, content, factors.dtype)


def _simplified(
    blocks: Blocks, rows: list[Tensor | None], columns: list[Tensor | None], longest: int
) -> str:
    """Return a line on what is less than whole factors, module by module, for `describe`."""
    cut: dict[int, list[str]] = {}
    own: list[str] = []
    for block, *sides in zip(blocks, rows, columns, strict=True):
        widths = [side.shape[-1] for side in sides if side is not None and side.dim() == 3]
        if widths:
            cut.setdefault(max(widths), []).append(told(block.name))
        if any(side is None for side in sides):
            own.append(told(block.name))
    parts = [f"factors in blocks of {width:,} for {_few(names)}" for width, names in cut.items()]
    if cut:
        parts[-1] += f" (factor_width {longest:,})"
    if own:
        parts.append(f"a diagonal factor for {_few(own)}")
    return "".join(f"; {part}" for part in parts)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def kronecker(
    engine: Gradients,
    examples: Examples,
    *,
    kind: Literal["kfac", "ekfac"] = "ekfac",
    damping: Damping | None = None,
    labels: Labels = "sampled",
    seed: int = 0,
    draws: int = 1,
    longest: int = LONGEST,
    count: int | None = None,
) -> Eigen:
    """Fit K-FAC (one pass over the examples) or EK-FAC (two).

    `labels`: drawn from the model (the Fisher information proper), `draws` times for each example,
    or true. `longest`: of a side that is taken whole; 0: none is rotated. `count`: of the training
    examples, where `examples` are a sample of them. ConfigError without examples and for unknown
    choices.
    """
    damping = damping or Damping()
    one_of("kind", kind, ("kfac", "ekfac"))
    one_of("labels", labels, Labels)
    some(examples)
    if draws < 1:
        raise ConfigError(f"labels are drawn at least once, not {draws} times")
    if longest < 0:
        raise ConfigError(f"the longest side of a factor is 0 (none) or more, not {longest}")
    passes = _Passes(engine, examples, range(seed, seed + draws) if labels == "sampled" else None)
    sums = _sides(passes, longest)
    rows, columns, values = [], [], []
    for total in sums:
        left, q_rows = total.rows.basis(total.count)
        right, q_columns = total.columns.basis(total.count)
        positions = total.count / passes.count
        rows.append(None if q_rows is None else q_rows.to(engine.dtype))
        columns.append(None if q_columns is None else q_columns.to(engine.dtype))
        values.append(positions * left[:, None] * right[None, :])
    if kind == "ekfac":
        values = [torch.zeros_like(value) for value in values]
        for _, factors in passes:
            for index in range(len(engine.blocks)):
                turned = _turned_block(factors, index, rows[index], columns[index])
                values[index] += turned.square().sum(0)
            del factors  # or the next batch's would be made beside them
        values = [value / passes.count for value in values]
    means = torch.stack([value.mean() for value in values])
    damp = damping.values(means)
    values = [(v + d).to(engine.dtype) for v, d in zip(values, damp, strict=True)]
    about = (
        f"{'K-FAC' if kind == 'kfac' else 'EK-FAC'} of {len(examples):,} examples, "
        f"{labels} labels, {damping.describe()}{_simplified(engine.blocks, rows, columns, longest)}"
    )
    scale = 1 / (count or len(examples))
    return Eigen(kind, engine.blocks, rows, columns, values, damp, scale, about, means)
