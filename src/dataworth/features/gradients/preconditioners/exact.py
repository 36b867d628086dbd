"""The exact answer where the model is small enough: the whole curvature, factored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dataworth.errors import ConfigError
from dataworth.features.gradients.batches import Examples
from dataworth.features.gradients.checks import fits
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.preconditioners.base import COPY, Damping, Linear
from dataworth.features.gradients.preconditioners.products import Kind, Products

LARGEST = 8192
TOGETHER = 64
"""Vectors that are multiplied at a time."""


@dataclass(frozen=True, eq=False)
class Dense(Linear):
    """The exact answer: `matrix` [P, P] without, `factor` its Cholesky factor with damping.

    `damping`, `means` [blocks]: of the curvature. `idle` bool [P]: parameters with neither
    curvature nor damping, where the answer is 0: no gradient leads there.
    """

    matrix: Tensor
    factor: Tensor
    damping: Tensor
    means: Tensor
    idle: Tensor
    scale: float
    about: str
    name = "dense"
    unit = COPY

    def apply(self, vectors: Tensor) -> Tensor:
        """Solve in float64. ConfigError for vectors of another length."""
        fits(vectors, len(self.factor), self.name)
        solved = torch.cholesky_solve(vectors.double().T, self.factor).T
        return solved.masked_fill(self.idle, 0.0).to(vectors.dtype)

    def describe(self) -> str:
        """Describe the preconditioner in words."""
        return self.about


def dense(
    engine: Gradients,
    examples: Examples,
    *,
    kind: Kind = "gauss_newton",
    damping: Damping | None = None,
    largest: int = LARGEST,
    count: int | None = None,
    together: int = TOGETHER,
) -> Dense:
    """Form the curvature, P x P in float64, and factor it: 24 P^2 bytes at the peak.

    `count`: of the training examples, where `examples` are a sample of them. `together`: columns
    that are found at a time; each holds the outputs of a batch several times, so with a large
    vocabulary few of them, and batches of few positions, take less memory and less time.

    Raises ConfigError without examples, for more than `largest` parameters, and if the matrix with
    damping has negative directions (a Hessian away from a minimum may).
    """
    damping = damping or Damping()
    size = engine.size
    if size > largest:
        raise ConfigError(
            f"a dense curvature of {size:,} parameters takes {24e-9 * size * size:,.1f} GB; at "
            f"most {largest:,} parameters are allowed"
        )
    matrix = _matrix(Products(engine, examples, kind, together=together), together)
    means = torch.stack([matrix.diagonal()[block.span].mean() for block in engine.blocks])
    values = damping.values(means.clamp_min(0))
    damped = matrix.clone()
    damped.diagonal().add_(engine.blocks.expand(values))
    idle = (damped.diagonal() == 0) & (damped.abs().sum(0) == 0)
    damped.diagonal()[idle] = 1.0
    factor, failed = torch.linalg.cholesky_ex(damped, upper=False)
    if bool(failed):
        raise ConfigError(
            f"the {kind} of the training loss with damping is not positive: use more damping"
            + (", or kind='gauss_newton'" if kind == "hessian" else "")
        )
    about = f"dense {kind} of {len(examples):,} examples, {damping.describe()}"
    return Dense(matrix, factor, values, means, idle, 1 / (count or len(examples)), about)


def _matrix(products: Products, together: int) -> Tensor:
    """Return the curvature [P, P], symmetric, float64: some columns at a time."""
    engine = products.engine
    size = engine.size
    matrix = torch.zeros(size, size, dtype=torch.float64, device=engine.device)
    for part in products.parts():
        for start in range(0, size, together):
            unit = torch.zeros(
                min(together, size - start), size, dtype=engine.dtype, device=engine.device
            )
            unit.diagonal(start).fill_(1)
            matrix[start : start + together] += part(unit)
    matrix /= len(products.examples)
    matrix += matrix.T.clone()
    return matrix.div_(2)
