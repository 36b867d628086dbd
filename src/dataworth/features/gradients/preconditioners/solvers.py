"""Solving (curvature + damping) x = v: dense, by conjugate gradients, by a Neumann series.

All three take the curvature as products (`products`) and add the same damping, block by block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dataworth.corpus.uid import hash_uid
from dataworth.errors import ConfigError
from dataworth.features.gradients.batches import Examples
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.preconditioners.base import COPY, Damping, Linear, Preconditioner
from dataworth.features.gradients.preconditioners.products import Kind, Part, Products

LARGEST = 8192
_ORDER = 0x6C697373  # the stream of `hash_uid` for the order of batches


@dataclass(frozen=True, eq=False)
class Dense(Linear):
    """The exact answer: `matrix` [P, P] without, `factor` its Cholesky factor with damping."""

    matrix: Tensor
    factor: Tensor
    damping: Tensor
    scale: float
    about: str
    name = "dense"
    unit = COPY

    def apply(self, vectors: Tensor) -> Tensor:
        """Solved in float64."""
        solved = torch.cholesky_solve(vectors.double().T, self.factor).T
        return solved.to(vectors.dtype)

    def describe(self) -> str:
        """In words."""
        return self.about


def dense(
    engine: Gradients,
    examples: Examples,
    *,
    kind: Kind = "gauss_newton",
    damping: Damping | None = None,
    largest: int = LARGEST,
    count: int | None = None,
) -> Dense:
    """Form the curvature, P x P in float64, and factor it.

    `count`: of the training examples, where `examples` are a sample of them.

    Raises ConfigError for more than `largest` parameters, and if the matrix with damping has
    negative directions (a Hessian away from a minimum may).
    """
    damping = damping or Damping()
    size = engine.size
    if size > largest:
        raise ConfigError(
            f"a dense curvature of {size:,} parameters takes {8e-9 * size * size:,.1f} GB; at "
            f"most {largest:,} parameters are allowed"
        )
    eye = torch.eye(size, dtype=engine.dtype, device=engine.device)
    matrix = Products(engine, examples, kind, together=64)(eye).double()
    matrix = (matrix + matrix.T) / 2
    means = torch.stack([matrix.diagonal()[block.span].mean() for block in engine.blocks])
    values = damping.values(means.clamp_min(0))
    factor, failed = torch.linalg.cholesky_ex(
        matrix + torch.diag(engine.blocks.expand(values)), upper=False
    )
    if bool(failed):
        raise ConfigError(
            f"the {kind} of the training loss with damping is not positive: use more damping"
            + (", or kind='gauss_newton'" if kind == "hessian" else "")
        )
    about = f"dense {kind} of {len(examples):,} examples, {damping.describe()}"
    return Dense(matrix, factor, values, 1 / (count or len(examples)), about)


@dataclass(frozen=True, eq=False)
class ConjugateGradients(Linear):
    """Conjugate gradients on `products` + `damping`, preconditioned by `inner` if given.

    `damping`: [blocks], or [P]: of each parameter, as a training with Adam that stops early has it,
    (root of the second moment + epsilon) / (rate * steps).

    Stops at a `tolerance` of the residual relative to the vector's length (float32 cannot go far
    below 1e-5), or after `most` steps. `count`: of the training examples, where those of `products`
    are a sample of them.

    `block`: all vectors that are given together share their directions (O'Leary 1980), which takes
    fewer steps for queries that are alike. The answer is the same to the tolerance; within it, it
    hangs on which vectors stand together.
    """

    products: Products
    damping: Tensor
    inner: Preconditioner | None = None
    tolerance: float = 1e-2
    most: int = 100
    count: int | None = None
    block: bool = False
    name = "cg"
    unit = COPY

    @property
    def scale(self) -> float:
        """One of N examples."""
        return 1 / (self.count or len(self.products.examples))

    def apply(self, vectors: Tensor) -> Tensor:
        """Solved, all vectors together."""
        if self.block:
            return self._block(vectors)
        damping = self._each(vectors)
        found = torch.zeros_like(vectors)
        residual = vectors.clone()
        better = residual if self.inner is None else self.inner.apply(residual)
        direction = better.clone()
        rho = (residual * better).sum(1)
        goal = self.tolerance * vectors.norm(dim=1)
        for _ in range(self.most):
            open_ = residual.norm(dim=1) > goal
            if not bool(open_.any()):
                break
            moved = self.products(direction[open_]) + damping * direction[open_]
            curved = (direction[open_] * moved).sum(1)
            # No curvature and no damping along it: the gradient cannot go there either.
            step = torch.where(curved > 0, rho[open_] / curved, 0.0)[:, None]
            found[open_] += step * direction[open_]
            residual[open_] -= step * moved
            better = residual if self.inner is None else self.inner.apply(residual)
            new = (residual * better).sum(1)
            ratio = torch.where(rho > 0, new / rho, 0.0)
            direction = better + ratio[:, None] * direction
            rho = new
        return found

    def _each(self, vectors: Tensor) -> Tensor:
        """The damping of each parameter, [P]."""
        blocks = self.products.engine.blocks
        if len(self.damping) not in (len(blocks), blocks.size):
            raise ConfigError(
                f"damping is one number for each of {len(blocks)} blocks or {blocks.size:,} "
                f"parameters, not {len(self.damping):,}"
            )
        each = self.damping if len(self.damping) == blocks.size else blocks.expand(self.damping)
        return each.to(vectors.dtype)

    def _block(self, vectors: Tensor) -> Tensor:
        """As `apply`, over the span of all directions; inner products in float64.

        Directions are made orthonormal before each product, so that vectors that depend on each
        other, or are solved already, do no harm: what is left of them is taken out.
        """
        damping = self._each(vectors)
        found, residual = torch.zeros_like(vectors), vectors.clone()
        goal = self.tolerance * vectors.norm(dim=1)
        kept: tuple[Tensor, Tensor, Tensor] | None = None
        for _ in range(self.most):
            if not bool((residual.norm(dim=1) > goal).any()):
                break
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
            found += share.to(vectors.dtype) @ direction
            residual -= share.to(vectors.dtype) @ moved
        return found

    def describe(self) -> str:
        """In words."""
        inner = "" if self.inner is None else f", preconditioned by {self.inner.name}"
        return (
            f"{'block ' if self.block else ''}conjugate gradients on the {self.products.kind} of "
            f"{len(self.products.examples):,} examples to {self.tolerance:g}{inner}"
        )


def _weighed(direction: Tensor, inverse: Tensor, moved: Tensor, vectors: Tensor) -> Tensor:
    """The part of vectors along the directions, in the curvature's inner product."""
    share = (vectors.double() @ moved.double().T) @ inverse
    return share.to(vectors.dtype) @ direction


def _independent(vectors: Tensor) -> Tensor:
    """An orthonormal basis of the span [k, P], each vector counting alike; rounding is left out."""
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
    """

    products: Products
    damping: Tensor
    scaling: float
    depth: int = 1000
    repeats: int = 1
    seed: int = 0
    count: int | None = None
    name = "lissa"
    unit = COPY

    @property
    def scale(self) -> float:
        """One of N examples."""
        return 1 / (self.count or len(self.products.examples))

    def apply(self, vectors: Tensor) -> Tensor:
        """The mean of the repeats' last iterates."""
        damping = self.products.engine.blocks.expand(self.damping).to(vectors.dtype)
        total = torch.zeros_like(vectors)
        for repeat in range(self.repeats):
            h = vectors.clone()
            for batch in self._order(repeat):
                moved = batch(h) / len(batch) + damping * h
                h = vectors + h - moved / self.scaling
            total += h
        if not bool(torch.isfinite(total).all()):
            raise ConfigError(f"the series diverges: a scaling of {self.scaling:g} is too small")
        return total / (self.repeats * self.scaling)

    def _order(self, repeat: int) -> Iterator[Part]:
        """The batch of each step."""
        draws = hash_uid(self.seed, np.arange(self.depth, dtype=np.uint64), _ORDER + repeat)
        return self.products.drawn(draws)

    def describe(self) -> str:
        """In words."""
        return f"a Neumann series of {self.depth:,} steps, {self.repeats} times"


def scaling_of(products: Products, damping: Tensor, *, steps: int = 10, seed: int = 0) -> float:
    """A safe `scaling`: the largest eigenvalue of any batch, by `steps` of power iteration.

    Half of it would be just enough; the iteration finds it from below.
    """
    largest = 0.0
    generator = torch.Generator(device="cpu").manual_seed(seed)
    for batch in products.parts():
        vector = torch.randn(1, products.engine.size, generator=generator)
        vector = vector.to(products.engine.device, products.engine.dtype)
        value = 0.0
        for _ in range(steps):
            vector = vector / vector.norm().clamp_min(1e-30)
            moved = batch(vector) / len(batch)
            value = float((vector * moved).sum())
            vector = moved
        largest = max(largest, value)
    return largest + float(damping.max())
