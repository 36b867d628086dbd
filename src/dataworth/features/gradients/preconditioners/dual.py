"""The exact Gauss-Newton answer where there are few outputs, whatever the number of parameters.

The Gauss-Newton matrix of N examples with C outputs each is G = B^T B / N, where B has N * C rows:
for each example, C vectors of output weights R with R R^T = H (H: the loss by its outputs), and the
gradients of <outputs, R> as rows. So its rank is at most N * C, and with a damping D

    (G + D)^-1 v = D^-1 v - D^-1 B^T (N I + B D^-1 B^T)^-1 B D^-1 v     (Woodbury)

needs a matrix of N * C numbers squared in place of P squared. It is the answer of `dense`, not an
approximation of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataworth.errors import ConfigError
from dataworth.features.gradients.batches import Batch, Examples
from dataworth.features.gradients.checks import fits, some
from dataworth.features.gradients.engine import Gradients, evaluating
from dataworth.features.gradients.preconditioners.base import COPY, Damping, Linear
from dataworth.features.gradients.preconditioners.exact import LARGEST
from dataworth.features.gradients.task import Task


@dataclass(frozen=True, eq=False)
class Dual(Linear):
    """`rows` [m, P] with G = rows^T rows / N; `factor` [m, m], the Cholesky factor of
    N I + rows D^-1 rows^T; `damping` [P], the diagonal of D.
    """

    rows: Tensor
    factor: Tensor
    damping: Tensor
    scale: float
    about: str
    name = "dual"
    unit = COPY

    def apply(self, vectors: Tensor) -> Tensor:
        """Solve for vectors, with sums in float64: [q, P]. ConfigError for another length."""
        fits(vectors, len(self.damping), self.name)
        damped = vectors / self.damping.to(vectors.dtype)
        seen = damped.double() @ self.rows.double().T
        solved = torch.cholesky_solve(seen.T, self.factor).T.to(vectors.dtype)
        return damped - solved @ self.rows.to(vectors.dtype) / self.damping.to(vectors.dtype)

    def describe(self) -> str:
        """Describe the preconditioner in words."""
        return self.about


def dual(
    engine: Gradients,
    examples: Examples,
    *,
    damping: Damping | None = None,
    largest: int = LARGEST,
    count: int | None = None,
) -> Dual:
    """Form B, [examples * outputs, P], and factor its damped Gram matrix, in float64.

    `count`: of the training examples, where `examples` are a sample of them.

    Raises ConfigError without examples, for more than `largest` examples times outputs, for a block
    without damping (nothing would stand where no example leads), and for a loss that is not convex
    in the outputs.
    """
    damping = damping or Damping()
    some(examples)
    parts = [part for _, batch in examples for part in _rows(engine, batch, len(examples), largest)]
    rows = torch.cat(parts)
    squares = rows.double().square().sum(0) / len(examples)
    means = torch.stack([squares[block.span].mean() for block in engine.blocks])
    values = damping.values(means)
    # A block that no gradient reaches has nothing to be solved: any number but 0 will do.
    values = torch.where(means > 0, values, torch.ones_like(values))
    if bool((values <= 0).any()):
        raise ConfigError("the dual form needs damping above 0: use `dense`, or more damping")
    spread = engine.blocks.expand(values)
    weighed = rows.double() / spread.sqrt()
    gram = weighed @ weighed.T
    gram.diagonal().add_(len(examples))
    factor = torch.linalg.cholesky(gram)
    about = f"Gauss-Newton of {len(examples):,} examples in dual form, {damping.describe()}"
    return Dual(rows, factor, spread, 1 / (count or len(examples)), about)


def _rows(engine: Gradients, batch: Batch, examples: int, largest: int) -> list[Tensor]:
    """Return the rows of one batch's examples, one part for each output: [n, P] each."""
    batch = batch.to(engine.device)
    weights = _roots(engine, batch)
    total = examples * weights.shape[2]
    if total > largest:
        raise ConfigError(
            f"{examples:,} examples with {weights.shape[2]:,} outputs each are {total:,} rows; at "
            f"most {largest:,} are allowed"
        )
    rows = []
    for column in range(weights.shape[2]):
        weighed = replace(batch, targets=weights[:, :, column], weights=None)
        view = Gradients(engine.model, _Outputs(engine.task), check=False)
        rows.append(view.gradients(weighed))
    return rows


def _roots(engine: Gradients, batch: Batch) -> Tensor:
    """Return R with R R^T = H for each example: [n, outputs, outputs]."""
    with evaluating(engine.model), torch.no_grad():
        outputs = engine.task.outputs(engine.model, batch)
    # In float64: what is left of a certain prediction's curvature is the small end of a difference.
    outputs = outputs.detach().double().requires_grad_()
    with torch.enable_grad():
        loss = engine.task.loss(outputs, batch).sum()
        (slope,) = torch.autograd.grad(loss, outputs, create_graph=True)
        slope = slope.flatten(1)
        columns = []
        for column in range(slope.shape[1]):
            component = slope[:, column].sum()
            if not component.requires_grad:  # a loss that is linear in its outputs
                columns.append(torch.zeros_like(slope))
                continue
            (bent,) = torch.autograd.grad(component, outputs, retain_graph=True)
            columns.append(bent.flatten(1))
    curvature = torch.stack(columns, 2).detach().double()
    values, vectors = torch.linalg.eigh((curvature + curvature.transpose(1, 2)) / 2)
    if bool((values < -1e-6 * values.abs().amax().clamp_min(1e-30)).any()):
        raise ConfigError("the dual form needs a loss that is convex in the outputs: use `dense`")
    roots: Tensor = vectors * values.clamp_min(0).sqrt()[:, None, :]
    return roots.to(engine.dtype)


class _Outputs(Task):
    """The inner product of the model's outputs with the batch's targets, as a loss."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def lay(self, items: Sequence[Any], uid: NDArray[np.uint64]) -> Batch:
        """Lay a batch of examples as the task does."""
        return self.task.lay(items, uid)

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the outputs as the task computes them."""
        return self.task.outputs(model, batch)

    def modules(self, model: nn.Module) -> Sequence[str] | None:
        """Return the task's patterns of the modules that count."""
        return self.task.modules(model)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the inner products [n]."""
        return (outputs.flatten(1) * batch.targets.to(outputs.dtype)).sum(1)
