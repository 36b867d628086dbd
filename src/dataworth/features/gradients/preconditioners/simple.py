"""Simple preconditioners: identity, cosine, diagonal, the moments of Adam, projected Gram."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from dataworth.errors import ConfigError
from dataworth.features.gradients.batches import Examples
from dataworth.features.gradients.checks import fits, one_of, some
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.preconditioners.base import COPY, STEP, Damping, Linear, divided

if TYPE_CHECKING:  # it needs this module
    from dataworth.features.gradients.rows import Rows

_ROWS = 4096  # stored gradients that are read at a time

Labels = Literal["sampled", "true"]


@dataclass(frozen=True)
class Identity(Linear):
    """The plain inner product: one step of gradient descent with this learning rate."""

    learning_rate: float = 1.0
    name = "identity"
    unit = STEP

    @property
    def scale(self) -> float:
        """The learning rate."""
        return self.learning_rate

    def apply(self, vectors: Tensor) -> Tensor:
        """Return the vectors unchanged."""
        return vectors

    def describe(self) -> str:
        """Describe the preconditioner in words."""
        return f"plain inner products, learning rate {self.learning_rate:g}"


class Cosine:
    """A preconditioner that makes both sides unit vectors; a gradient of zeros stays."""

    name = "cosine"
    unit = "cosine of the gradients of the query's loss and the document's"
    scale = 1.0
    linear = False

    def apply(self, vectors: Tensor) -> Tensor:
        """Scale each vector to norm 1."""
        unit: Tensor = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-30)
        return unit

    def train(self, gradients: Tensor) -> Tensor:
        """Scale each gradient to norm 1."""
        return self.apply(gradients)

    def describe(self) -> str:
        """Describe the preconditioner in words."""
        return "inner products of gradients of length 1"


@dataclass(frozen=True, eq=False)
class Diagonal(Linear):
    """The diagonal of the Fisher information, damped: `curvature` [P], already with damping.

    `means` [blocks]: of the curvature without damping, where that is known.
    """

    curvature: Tensor
    scale: float
    about: str
    means: Tensor | None = None
    name = "diagonal"
    unit = COPY

    def apply(self, vectors: Tensor) -> Tensor:
        """Divide vectors by the curvature. ConfigError for vectors of another length."""
        fits(vectors, len(self.curvature), self.name)
        return divided(vectors, self.curvature)

    def describe(self) -> str:
        """Describe the preconditioner in words."""
        return self.about


def diagonal(
    engine: Gradients,
    examples: Examples,
    *,
    damping: Damping | None = None,
    labels: Labels = "sampled",
    seed: int = 0,
    count: int | None = None,
) -> Diagonal:
    """Fit `Diagonal`: mean squares of the gradients with labels drawn from the model, or true.

    `count`: of the training examples, where `examples` are a sample of them. ConfigError without
    examples.
    """
    damping = damping or Damping()
    one_of("labels", labels, Labels)
    some(examples)
    total = torch.zeros(engine.size, dtype=torch.float64, device=engine.device)
    for _, batch in examples:
        factors = engine.factors(batch, "sampled" if labels == "sampled" else "loss", seed)
        for index, block in enumerate(engine.blocks):
            total[block.span] += factors.block(index).square().sum(0).flatten()
        del factors  # or the next batch's would be made beside them
    mean = total / len(examples)
    means = torch.stack([mean[block.span].mean() for block in engine.blocks])
    curvature = (mean + engine.blocks.expand(damping.values(means))).to(engine.dtype)
    about = f"diagonal Fisher of {len(examples):,} examples, {labels} labels, {damping.describe()}"
    return Diagonal(curvature, 1 / (count or len(examples)), about, means)


@dataclass(frozen=True, eq=False)
class Moments:
    """Adam's moments of each parameter: `first` [P], `second` [P], after `step` steps.

    `rates` [P]: the sum of the learning rates of all steps, `decay` [P]: decoupled weight decay;
    for `stopped` alone.
    """

    first: Tensor
    second: Tensor
    step: int
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    rates: Tensor | None = None
    decay: Tensor | None = None

    @property
    def scale(self) -> Tensor:
        """The divisor of a step [P]: the root of the corrected second moment, plus epsilon."""
        return (self.second / (1 - self.betas[1] ** self.step)).sqrt() + self.epsilon

    def stopped(self) -> Tensor:
        """Return the damping [P] of the mean loss that is equivalent to stopping after these steps.

        scale * (1 / rates + decay). Where the loss has the curvature h, n steps of rate r come
        (1 - (1 - r h / scale) ** n) / h far, which is nearly 1 / (h + scale / (n r)); decay adds
        decay * scale to h. Clipping, the first moment and the change of the scale on the way are
        left out. Derived here, not from a paper; `Damping.of_descent` is the same for plain
        descent. ConfigError if the rates are not known.
        """
        if self.rates is None or bool((self.rates <= 0).any()):
            raise ConfigError("the sum of the learning rates is not known, so no damping follows")
        decay = torch.zeros_like(self.rates) if self.decay is None else self.decay
        return self.scale * (1 / self.rates + decay)

    @staticmethod
    def of(optimizer: torch.optim.Optimizer, engine: Gradients) -> Moments:
        """Read the moments of an optimizer that has stepped; by parameter, never by position.

        Raises ConfigError for a covered parameter that the optimizer has no moments of.
        """
        first, second, steps = {}, {}, set()
        group: dict[str, Any] = optimizer.param_groups[0]
        for name, parameter in engine.parameters().items():
            state = optimizer.state.get(parameter, {})
            if "exp_avg" not in state or "exp_avg_sq" not in state:
                raise ConfigError(f"the optimizer has no moments of {name}: has it stepped?")
            first[name], second[name] = state["exp_avg"], state["exp_avg_sq"]
            steps.add(int(state["step"]))
        if len(steps) != 1:
            raise ConfigError(f"the optimizer's parameters have taken {sorted(steps)} steps")
        return Moments(
            engine.blocks.flatten(first).to(engine.dtype),
            engine.blocks.flatten(second).to(engine.dtype),
            steps.pop(),
            group["betas"],
            group["eps"],
        )


@dataclass(frozen=True, eq=False)
class AdamDiagonal(Linear):
    """Division by what Adam divides by, its second moment held fixed: linear in the gradient.

    `sqrt(second / (1 - beta2 ** step)) + epsilon`.
    """

    moments: Moments
    learning_rate: float = 1.0
    name = "adam"
    unit = STEP

    @property
    def scale(self) -> float:
        """The learning rate."""
        return self.learning_rate

    def apply(self, vectors: Tensor) -> Tensor:
        """Divide vectors by the curvature. ConfigError for vectors of another length."""
        fits(vectors, len(self.moments.second), self.name)
        return vectors / self.moments.scale

    def describe(self) -> str:
        """Describe the preconditioner in words."""
        return f"Adam's second moment after {self.moments.step:,} steps"


@dataclass(frozen=True, eq=False)
class AdamStep:
    """The step that Adam would take on the example alone: not linear in its gradient.

    `form`: `adam`, what the optimizer does (moments updated with the gradient, corrected for their
    start, epsilon outside the root); or `uncorrected`, what the published code of LESS does
    (updated, not corrected, epsilon inside the root).
    """

    moments: Moments
    form: Literal["adam", "uncorrected"] = "adam"
    learning_rate: float = 1.0
    name = "adam_step"
    unit = STEP
    linear = False

    @property
    def scale(self) -> float:
        """The learning rate."""
        return self.learning_rate

    def apply(self, vectors: Tensor) -> Tensor:
        """Return the vectors unchanged."""
        return vectors

    def __post_init__(self) -> None:
        one_of("form", self.form, ("adam", "uncorrected"))

    def train(self, gradients: Tensor) -> Tensor:
        """Return the steps without the learning rate. ConfigError for vectors of another length."""
        m = self.moments
        fits(gradients, len(m.second), self.name)
        b1, b2 = m.betas
        first = b1 * m.first + (1 - b1) * gradients
        second = b2 * m.second + (1 - b2) * gradients.square()
        if self.form == "uncorrected":
            return first / (second + m.epsilon).sqrt()
        first = first / (1 - b1 ** (m.step + 1))
        return first / ((second / (1 - b2 ** (m.step + 1))).sqrt() + m.epsilon)

    def describe(self) -> str:
        """Describe the preconditioner in words."""
        return f"Adam's step ({self.form}) after {self.moments.step:,} steps"


@dataclass(frozen=True, eq=False)
class Gram(Linear):
    """The inverse of the projected gradients' mean outer product: `factor` [k, k], its Cholesky."""

    factor: Tensor
    scale: float
    about: str
    name = "gram"
    unit = COPY

    def apply(self, vectors: Tensor) -> Tensor:
        """Solve in float64: [q, k]. ConfigError for vectors of another length."""
        fits(vectors, len(self.factor), self.name)
        solved = torch.cholesky_solve(vectors.to(self.factor).T, self.factor).T
        return solved.to(vectors)

    def describe(self) -> str:
        """Describe the preconditioner in words."""
        return self.about


def gram(
    parts: Iterable[Tensor] | Rows, *, damping: Damping | None = None, count: int | None = None
) -> Gram:
    """Fit `Gram` from rows [n, k], part by part, summed in float64: tensors, or stored gradients.

    `count`: of the training examples, where the rows are a sample of them.
    Damping is relative to the mean eigenvalue of the whole. ConfigError if, with damping 0, there
    are not as many independent rows as columns.
    """
    damping = damping or Damping()
    total: Tensor | None = None
    seen = 0
    for part in _tensors(parts):
        rows = part.double()
        total = rows.T @ rows if total is None else total + rows.T @ rows
        seen += len(rows)
    if total is None or not seen:
        raise ConfigError("there are no gradients to fit on")
    total /= seen
    value = float(damping.values(total.diagonal().mean()[None])[0])
    total.diagonal().add_(value)
    factor, failed = torch.linalg.cholesky_ex(total)
    if bool(failed):
        raise ConfigError(
            f"{seen:,} rows do not span {len(total):,} columns: use damping, or project to fewer"
        )
    about = f"Gram matrix of {seen:,} projected gradients, {damping.describe()}"
    return Gram(factor, 1 / (count or seen), about)


def _tensors(parts: Iterable[Tensor] | Rows) -> Iterator[Tensor]:
    """Yield rows [n, k], part by part."""
    if hasattr(parts, "blocks"):
        for _, block in parts.blocks(_ROWS):
            yield torch.from_numpy(np.array(block))
        return
    yield from parts
