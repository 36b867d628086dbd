"""Solving (curvature + damping) x = v step by step: by conjugate gradients, by a Neumann series.

Both take the curvature as products (`products`) and add the same damping, block by block. What is
left at the end, the residual, is measured and told (`converging`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dataworth.corpus.uid import hash_uid
from dataworth.errors import ConfigError
from dataworth.features.gradients.checks import fits
from dataworth.features.gradients.preconditioners.base import (
    COPY,
    Damping,
    Linear,
    Preconditioner,
    each,
    resolved,
)
from dataworth.features.gradients.preconditioners.converging import Solved
from dataworth.features.gradients.preconditioners.products import Part, Products

SCALING = 10
"""Steps of power iteration that find the scaling of a series."""
_ORDER = 0x6C697373  # the stream of `hash_uid` for the order of batches


@dataclass(frozen=True, eq=False)
class ConjugateGradients(Linear):
    """Conjugate gradients on `products` + `damping`, preconditioned by `inner` if given.

    `damping`: a rule, which is of the mean curvature that `inner` has found, unless it is fixed; or
    numbers: [blocks], or [P], of each parameter, as a training with Adam that stops early has it,
    (root of the second moment + epsilon) / (rate * steps). `rule`: what these are, in words.

    Stops at a `tolerance` of the residual relative to the vector's length (float32 cannot go far
    below 1e-5), or after `most` steps. `count`: of the training examples, where those of `products`
    are a sample of them.

    `block`: all vectors that are given together share their directions (O'Leary 1980), which takes
    fewer steps for queries that are alike. The answer is the same to the tolerance; within it, it
    hangs on which vectors stand together.

    `solved`: the largest residual of all vectors that were solved; more than a tenth is warned of.
    ConfigError for a damping that is not known, or of another length.
    """

    products: Products
    damping: Damping | Tensor
    inner: Preconditioner | None = None
    tolerance: float = 1e-2
    most: int = 100
    count: int | None = None
    block: bool = False
    rule: str = ""
    solved: Solved = field(init=False, repr=False, default_factory=Solved)
    _values: Tensor = field(init=False, repr=False)
    _told: str = field(init=False, repr=False)
    name = "cg"
    unit = COPY

    def __post_init__(self) -> None:
        means = getattr(self.inner, "means", None)
        values, rule = resolved(self.damping, self.products.engine.blocks, means)
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_told", self.rule or rule)

    @property
    def scale(self) -> float:
        """One of N examples."""
        return 1 / (self.count or len(self.products.examples))

    def apply(self, vectors: Tensor) -> Tensor:
        """Solve all vectors together. ConfigError for vectors of another length."""
        blocks = self.products.engine.blocks
        fits(vectors, blocks.size, self.name)
        solve = self._block if self.block else self._alone
        found, residual, steps = solve(vectors, each(self._values, blocks, vectors))
        self.solved.add(residual, vectors, steps, "conjugate gradients", "take more of them")
        return found

    def _alone(self, vectors: Tensor, damping: Tensor) -> tuple[Tensor, Tensor, int]:
        """Solve each vector with directions of its own: (answers, residuals, steps)."""
        solution = torch.zeros_like(vectors)
        residual = vectors.clone()
        better = residual if self.inner is None else self.inner.apply(residual)
        direction = better.clone()
        rho = (residual * better).sum(1)
        goal, steps = self.tolerance * vectors.norm(dim=1), 0
        for _ in range(self.most):
            open_ = residual.norm(dim=1) > goal
            if not bool(open_.any()):
                break
            steps += 1
            moved = self.products(direction[open_]) + damping * direction[open_]
            curved = (direction[open_] * moved).sum(1)
            # No curvature and no damping along it: the gradient cannot go there either.
            step = torch.where(curved > 0, rho[open_] / curved, 0.0)[:, None]
            solution[open_] += step * direction[open_]
            residual[open_] -= step * moved
            better = residual if self.inner is None else self.inner.apply(residual)
            new = (residual * better).sum(1)
            ratio = torch.where(rho > 0, new / rho, 0.0)
            direction = better + ratio[:, None] * direction
            rho = new
        return solution, residual, steps

    def _block(self, vectors: Tensor, damping: Tensor) -> tuple[Tensor, Tensor, int]:
        """Solve as `_alone`, over the span of all directions; inner products in float64.

        Directions are made orthonormal before each product, so that vectors that depend on each
        other, or are solved already, do no harm: what is left of them is taken out.
        """
        solution, residual = torch.zeros_like(vectors), vectors.clone()
        goal, steps = self.tolerance * vectors.norm(dim=1), 0
        kept: tuple[Tensor, Tensor, Tensor] | None = None
        for _ in range(self.most):
            if not bool((residual.norm(dim=1) > goal).any()):
                break
            steps += 1
            better = residual if self.inner is None else self.inner.apply(residual)
            if kept is not None:
                # Conjugate to the last directions.
                better = better - _weighed(kept[0], kept[2], kept[1], better)
            direction = _independent(better)
            moved = self.products(direction) + damping * direction
            curved = direction.double() @ moved.double().T
            inverse = torch.linalg.pinv((curved + curved.T) / 2, hermitian=True)
            kept = (direction, moved, inverse)
            share = (residual.double() @ direction.double().T) @ inverse
            solution += share.to(vectors.dtype) @ direction
            residual -= share.to(vectors.dtype) @ moved
        return solution, residual, steps

    def describe(self) -> str:
        """Describe the preconditioner in words; with the residual, once something was solved."""
        inner = "" if self.inner is None else f", preconditioned by {self.inner.name}"
        return (
            f"{'block ' if self.block else ''}conjugate gradients on the {self.products.kind} of "
            f"{len(self.products.examples):,} examples to {self.tolerance:g}{inner}, {self._told}"
            f"{self.solved.describe()}"
        )


def _weighed(direction: Tensor, inverse: Tensor, moved: Tensor, vectors: Tensor) -> Tensor:
    """Return the part of vectors along the directions, in the curvature's inner product."""
    share = (vectors.double() @ moved.double().T) @ inverse
    return share.to(vectors.dtype) @ direction


def _independent(vectors: Tensor) -> Tensor:
    """Return an orthonormal basis [k, P] of the span, vectors weighing alike, without rounding."""
    unit = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-30)
    values, basis = torch.linalg.eigh(unit.double() @ unit.double().T)
    keep = values > values.max() * (1e-10 if vectors.dtype == torch.float64 else 1e-5)
    turned: Tensor = basis[:, keep] / values[keep].sqrt()
    independent: Tensor = turned.T.to(vectors.dtype) @ unit
    return independent


@dataclass(frozen=True, eq=False)
class NeumannSeries(Linear):
    """LiSSA (Agarwal et al. 2017): h <- v + h - (C_batch + damping) h / s, and h / s at the end.

    `s`, `scaling`: larger than half the largest eigenvalue of any batch; one batch a step, in
    hashed order. `depth` steps, repeated and averaged. Some published code forgets the division at
    the end; the fixed point here is the solution itself.

    `damping`: a fixed rule, or numbers: [blocks] or [P]. `rule`: what these are, in words.
    `solved`: the largest residual of all vectors that were solved, found by one more product with
    all examples; more than a tenth is warned of. Raises ConfigError if the series diverges, and for
    a damping that is not known or of another length.
    """

    products: Products
    damping: Damping | Tensor
    scaling: float
    depth: int = 1000
    repeats: int = 1
    seed: int = 0
    count: int | None = None
    rule: str = ""
    solved: Solved = field(init=False, repr=False, default_factory=Solved)
    _values: Tensor = field(init=False, repr=False)
    _told: str = field(init=False, repr=False)
    name = "lissa"
    unit = COPY

    def __post_init__(self) -> None:
        values, rule = resolved(self.damping, self.products.engine.blocks)
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_told", self.rule or rule)

    @property
    def scale(self) -> float:
        """One of N examples."""
        return 1 / (self.count or len(self.products.examples))

    def apply(self, vectors: Tensor) -> Tensor:
        """Average the repeats' last iterates. ConfigError for vectors of another length."""
        blocks = self.products.engine.blocks
        fits(vectors, blocks.size, self.name)
        damping = each(self._values, blocks, vectors)
        total = torch.zeros_like(vectors)
        for repeat in range(self.repeats):
            h = vectors.clone()
            for batch in self._order(repeat):
                moved = batch(h) / len(batch) + damping * h
                h = vectors + h - moved / self.scaling
            total += h
        if not bool(torch.isfinite(total).all()):
            raise ConfigError(f"the series diverges: a scaling of {self.scaling:g} is too small")
        found = total / (self.repeats * self.scaling)
        residual = vectors - self.products(found) - damping * found
        remedy = "take more, larger batches, or conjugate gradients"
        self.solved.add(residual, vectors, self.depth, "the Neumann series", remedy)
        return found

    def _order(self, repeat: int) -> Iterator[Part]:
        """Yield the batch of each step."""
        draws = hash_uid(self.seed, np.arange(self.depth, dtype=np.uint64), _ORDER + repeat)
        return self.products.drawn(draws)

    def describe(self) -> str:
        """Describe the preconditioner in words; with the residual, once something was solved."""
        times = "" if self.repeats == 1 else f" {self.repeats} times"
        return (
            f"a Neumann series of {self.depth:,} steps{times} on the {self.products.kind} of "
            f"{len(self.products.examples):,} examples, {self._told}{self.solved.describe()}"
        )


def scaling_of(
    products: Products, damping: Damping | Tensor, *, steps: int = SCALING, seed: int = 0
) -> float:
    """Return a safe `scaling`: the largest eigenvalue of any batch, by `steps` of power iteration.

    Half of it would be just enough; the iteration finds it from below. `damping` as in
    `NeumannSeries`.
    """
    values, _ = resolved(damping, products.engine.blocks)
    largest = 0.0
    generator = torch.Generator(device="cpu").manual_seed(seed)
    for batch in products.parts():
        vector = torch.randn(1, products.engine.size, generator=generator)
        vector = vector.to(products.engine.device, products.engine.dtype)
        value: Tensor | float = 0.0
        for _ in range(steps):
            vector = vector / vector.norm().clamp_min(1e-30)
            moved = batch(vector) / len(batch)
            value = (vector * moved).sum()
            vector = moved
        largest = max(largest, float(value))
    return largest + float(values.max())
