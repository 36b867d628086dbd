"""One interface for all ways to weigh the directions of gradient space.

A score is an inner product of a query's gradient and an example's, between them a matrix:

    score(example, query) = scale * <apply(query's gradient), train(example's gradient)>

and means: the estimated reduction of the query's loss, in nats, from training on the example. With
an inverse curvature it is the effect of one more copy of the example in the training set of N
examples, brought to convergence (scale 1 / N); with a step's form it is the effect of one step of
the optimizer on the example (scale: the learning rate). Positive: the example helps.

`apply` is linear. `train` is the identity except where an optimizer's step is not linear in the
gradient.

**Damping.** By default each block's curvature gets a tenth of its own mean eigenvalue added
(Grosse et al. 2023, section 3.2; remembered, not checked), so that nothing has to be tuned to the
scale of losses. A fixed value is the same for all blocks: the strength of weight decay, where the
training had any, or what a training that stops early amounts to (`Damping.of_descent`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dataworth.errors import ConfigError
from dataworth.features.gradients.blocks import Blocks


@dataclass(frozen=True)
class Damping:
    """`factor` times the mean eigenvalue of each block's curvature, or a `fixed` value for all."""

    factor: float = 0.1
    fixed: float | None = None

    def __post_init__(self) -> None:
        if (self.factor if self.fixed is None else self.fixed) < 0:
            raise ConfigError("damping cannot be negative")

    @staticmethod
    def of_descent(learning_rate: float, steps: int, momentum: float = 0.0) -> Damping:
        """Return the damping equivalent to gradient descent of `steps` steps: 1 / (rate * steps).

        Along a direction of curvature c it has come (1 - (1 - rate * c) ** steps) / c far, which is
        nearly 1 / (c + 1 / (rate * steps)): at most 1.3 times that. With momentum the rate is
        learning_rate / (1 - momentum). ConfigError if that is not a training.
        """
        if learning_rate <= 0 or steps < 1 or not 0 <= momentum < 1:
            raise ConfigError(
                "a training has a learning rate above 0, at least one step, and a momentum from 0 "
                f"to below 1, not {learning_rate}, {steps}, {momentum}"
            )
        return Damping(fixed=(1 - momentum) / (learning_rate * steps))

    def values(self, means: Tensor) -> Tensor:
        """Return the damping of each block [blocks], from the mean eigenvalues of the curvature."""
        return self.factor * means if self.fixed is None else torch.full_like(means, self.fixed)

    def describe(self) -> str:
        """Describe the damping in words."""
        if self.fixed is not None:
            return f"damping {self.fixed:g}"
        return f"damping {self.factor:g} times each block's mean curvature"


@runtime_checkable
class Preconditioner(Protocol):
    """See the module."""

    @property
    def name(self) -> str:
        """A short name."""
        ...

    @property
    def unit(self) -> str:
        """The unit of the scores."""
        ...

    @property
    def scale(self) -> float:
        """The factor that inner products are multiplied by."""
        ...

    @property
    def linear(self) -> bool:
        """True if `train` is the identity."""
        ...

    def apply(self, vectors: Tensor) -> Tensor:
        """Transform gradients of queries: [q, P] from [q, P]."""
        ...

    def train(self, gradients: Tensor) -> Tensor:
        """Transform gradients of examples: [n, P] from [n, P]."""
        ...

    def describe(self) -> str:
        """Describe in words the preconditioner and how it was fitted."""
        ...


class Linear:
    """Shared by the preconditioners that leave the example's side alone."""

    linear = True

    def train(self, gradients: Tensor) -> Tensor:
        """Return the gradients unchanged."""
        return gradients


STEP = "estimated reduction of the query's loss in nats by one step on the example"
COPY = "estimated reduction of the query's loss in nats from one more copy of the example"


def resolved(
    damping: Damping | Tensor, blocks: Blocks, means: Tensor | None = None
) -> tuple[Tensor, str]:
    """Return the damping of each block or parameter, and its words, from a rule or numbers.

    `means` [blocks]: the curvature's, where they are known; only a fixed damping does without.
    ConfigError for a rule that needs them, and for as many numbers as are neither blocks nor
    parameters.
    """
    if isinstance(damping, Damping):
        if damping.fixed is None and means is None:
            raise ConfigError(
                f"{damping.describe()} needs to know that mean: give an `inner` that has found it "
                "(`kronecker`), its numbers (`kronecker(...).damping`), or `Damping(fixed=...)`"
            )
        means = torch.zeros(len(blocks)).double() if means is None else means
        return damping.values(means), damping.describe()
    if damping.dim() != 1 or len(damping) not in (len(blocks), blocks.size):
        raise ConfigError(
            f"damping is one number for each of {len(blocks)} blocks or {blocks.size:,} "
            f"parameters, not {tuple(damping.shape)}"
        )
    low, high = float(damping.min()), float(damping.max())
    kind = "block" if len(damping) == len(blocks) else "parameter"
    return damping, f"damping from {low:.3g} to {high:.3g} by {kind}"


def each(damping: Tensor, blocks: Blocks, like: Tensor) -> Tensor:
    """Return the damping of each parameter [P], from one for each block or parameter."""
    damping = damping if len(damping) == blocks.size else blocks.expand(damping)
    return damping.to(like)


def divided(vectors: Tensor, curvature: Tensor) -> Tensor:
    """Return `vectors / curvature`, 0 where there is no curvature: no gradient leads there."""
    return torch.where(curvature > 0, vectors / curvature.clamp_min(1e-300), 0.0)
