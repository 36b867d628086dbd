"""Steps of training that can be differentiated: descent with momentum, and Adam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dataworth.errors import ConfigError

State = tuple[Tensor, ...]
"""Parameters as one vector [P], then what the optimizer remembers."""


class Optimizer(Protocol):
    """A differentiable step."""

    def start(self, parameters: Tensor) -> State:
        """Return the state before the first step."""
        ...

    def step(self, state: State, gradient: Tensor, number: int) -> State:
        """Return the state after step `number`, counted from 0."""
        ...


def _rate(given: float | Sequence[float], number: int) -> float:
    return given if isinstance(given, int | float) else given[number]


@dataclass(frozen=True)
class Descent:
    """Gradient descent with momentum; `learning_rate`: one, or one for each step."""

    learning_rate: float | Sequence[float]
    momentum: float = 0.0
    weight_decay: float = 0.0

    def start(self, parameters: Tensor) -> State:
        """Return a state with no momentum."""
        return (parameters, torch.zeros_like(parameters))

    def step(self, state: State, gradient: Tensor, number: int) -> State:
        """Take a step as torch's SGD does."""
        parameters, speed = state
        speed = self.momentum * speed + gradient + self.weight_decay * parameters
        return (parameters - _rate(self.learning_rate, number) * speed, speed)


@dataclass(frozen=True)
class Adam:
    """AdamW; `epsilon_root` is added inside the root, `epsilon` outside.

    With both roots of 0 the derivative is infinite where no gradient ever came.
    """

    learning_rate: float | Sequence[float]
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    epsilon_root: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.epsilon_root <= 0:
            raise ConfigError("epsilon_root is above 0: the root's derivative is infinite at 0")

    def start(self, parameters: Tensor) -> State:
        """Return a state with moments of 0."""
        return (parameters, torch.zeros_like(parameters), torch.zeros_like(parameters))

    def step(self, state: State, gradient: Tensor, number: int) -> State:
        """Take a step as torch's AdamW does, but for `epsilon_root`."""
        parameters, first, second = state
        b1, b2 = self.betas
        rate = _rate(self.learning_rate, number)
        first = b1 * first + (1 - b1) * gradient
        second = b2 * second + (1 - b2) * gradient.square()
        mean, square = first / (1 - b1 ** (number + 1)), second / (1 - b2 ** (number + 1))
        moved = mean / ((square + self.epsilon_root).sqrt() + self.epsilon)
        return (parameters * (1 - rate * self.weight_decay) - rate * moved, first, second)
