"""Exact gradients through training: what the weight of each example does to the trained model.

Training is a chain of steps; each example's loss counts with a weight, 1 in the real run. The
derivative of a query's loss after training by all the weights is found by going back through the
chain (Engstrom et al. 2025, arXiv 2503.13751; remembered from a specification). The states that the
way back needs are not kept but made again: a stretch of steps is cut into `branching` parts, whose
first states are kept, and each part is treated alike, the last first. So about
`branching * log(steps)` states are held (base `branching`) and `log(steps)` times the training is
computed again.

Scores are in the units of all scores here: the reduction of the query's loss in nats from one more
copy of the example (a weight of 2 instead of 1), to first order. They hold for the run that is
given: its order, its steps, its end. Dropout is off. An optimizer whose steps are not smooth makes
derivatives that say nothing (`smoothness`): Adam should have `epsilon_root`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataworth.errors import ConfigError
from dataworth.features.gradients.engine import evaluating
from dataworth.features.gradients.functional import Called, differentiable
from dataworth.features.gradients.task import Task

State = tuple[Tensor, ...]
"""Parameters as one vector [P], then what the optimizer remembers."""


class Optimizer(Protocol):
    """A differentiable step."""

    def start(self, parameters: Tensor) -> State:
        """The state before the first step."""
        ...

    def step(self, state: State, gradient: Tensor, number: int) -> State:
        """The state after step `number`, counted from 0."""
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
        """Nothing remembered."""
        return (parameters, torch.zeros_like(parameters))

    def step(self, state: State, gradient: Tensor, number: int) -> State:
        """As torch's SGD."""
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
        """No moments yet."""
        return (parameters, torch.zeros_like(parameters), torch.zeros_like(parameters))

    def step(self, state: State, gradient: Tensor, number: int) -> State:
        """As torch's AdamW, but for `epsilon_root`."""
        parameters, first, second = state
        b1, b2 = self.betas
        rate = _rate(self.learning_rate, number)
        first = b1 * first + (1 - b1) * gradient
        second = b2 * second + (1 - b2) * gradient.square()
        mean, square = first / (1 - b1 ** (number + 1)), second / (1 - b2 ** (number + 1))
        moved = mean / ((square + self.epsilon_root).sqrt() + self.epsilon)
        return (parameters * (1 - rate * self.weight_decay) - rate * moved, first, second)


@dataclass(frozen=True, eq=False)
class Run:
    """A training run as a function of its examples' weights.

    `order`: the rows of each step's batch, which are weighed by weight / rows. The model's trained
    parameters are where it starts; the model itself is not changed.
    """

    model: nn.Module
    task: Task
    items: Sequence[Any]
    order: Sequence[NDArray[np.int64]]
    optimizer: Optimizer
    _start: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        if not parameters or not len(self.order):
            raise ConfigError("a run has trained parameters and at least one step")
        object.__setattr__(self, "_start", parameters)

    def _flat(self) -> Tensor:
        return torch.cat([value.detach().flatten() for value in self._start.values()])

    def _called(self, vector: Tensor) -> Called:
        parts = torch.split(vector, [value.numel() for value in self._start.values()])
        values = {
            name: part.reshape(value.shape)
            for (name, value), part in zip(self._start.items(), parts, strict=True)
        }
        return Called(self.model, values)

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """Parameters by name, from a state's first vector."""
        return dict(self._called(vector).values)

    def losses(self, vector: Tensor, queries: Sequence[Any]) -> Tensor:
        """The measurement of each query, [q], with these parameters."""
        batch = self.task.lay(queries, np.arange(len(queries), dtype=np.uint64)).to(vector.device)
        found = self.task.measure(self.task.outputs(self._called(vector), batch), batch)
        return found.flatten(1).sum(1) if found.dim() > 1 else found

    def _step(self, state: State, number: int, weights: Tensor, *, graph: bool) -> State:
        """One step; `weights`: of the batch's rows."""
        rows = self.order[number]
        batch = self.task.lay([self.items[row] for row in rows], rows.astype(np.uint64))
        batch = batch.to(weights.device)
        vector = state[0] if state[0].requires_grad else state[0].detach().requires_grad_()
        losses = self.task.loss(self.task.outputs(self._called(vector), batch), batch)
        losses = losses.flatten(1).sum(1) if losses.dim() > 1 else losses
        total = (losses * weights).sum() / len(rows)
        (gradient,) = torch.autograd.grad(total, vector, create_graph=graph)
        return self.optimizer.step((vector, *state[1:]), gradient, number)

    def _rows(self, number: int) -> Tensor:
        return torch.from_numpy(np.asarray(self.order[number], np.int64))

    def train(self, weights: Tensor | None = None) -> State:
        """The state after all steps; `weights` [n] of the examples, 1 if not given."""
        start = self._flat()
        weights = start.new_ones(len(self.items)) if weights is None else weights.to(start)
        with evaluating(self.model), torch.enable_grad():
            return self._advance(self.optimizer.start(start), 0, len(self.order), weights)

    def _advance(self, state: State, first: int, last: int, weights: Tensor) -> State:
        for number in range(first, last):
            state = self._step(state, number, weights[self._rows(number)], graph=False)
            state = tuple(value.detach() for value in state)
        return state


@dataclass(frozen=True, eq=False)
class Metagradients:
    """`scores` float64 [n, q]: the reduction of each query's loss by one more copy, to first order.

    `losses` [q]: the queries' after training. `parameters`: the trained ones, by name. `held`: the
    largest number of states in memory at a time.
    """

    scores: NDArray[np.float64]
    losses: NDArray[np.float64]
    parameters: dict[str, Tensor]
    held: int


def metagradients(run: Run, queries: Sequence[Any], *, branching: int = 8) -> Metagradients:
    """Differentiate the queries' losses after the run by the weights of its examples.

    One training, then back through it for all queries together. `branching`: see the module; as
    large as the number of steps, every state is kept and nothing computed twice.
    """
    if branching < 2:
        raise ConfigError(f"branching is at least 2, not {branching}")
    back = _Back(run, len(queries), branching)
    with evaluating(run.model), differentiable(), torch.enable_grad():
        start = run.optimizer.start(run._flat())
        end = run._advance(start, 0, len(run.order), back.weights)
        vector = end[0].detach().requires_grad_()
        losses = run.losses(vector, queries)
        slopes = torch.stack(
            [torch.autograd.grad(loss, vector, retain_graph=True)[0] for loss in losses]
        )
        adjoint = (slopes, *(slopes.new_zeros(slopes.shape) for _ in end[1:]))
        back.through(start, 0, len(run.order), adjoint)
    return Metagradients(
        -back.slope.T.double().cpu().numpy(),
        losses.detach().double().cpu().numpy(),
        {name: value.detach() for name, value in run.named(end[0]).items()},
        back.most,
    )


class _Back:
    """The way back; `slope` [q, n]: derivatives of the queries' losses by the weights."""

    def __init__(self, run: Run, queries: int, branching: int) -> None:
        self.run = run
        self.branching = branching
        vector = run._flat()
        self.weights = vector.new_ones(len(run.items))
        self.slope = vector.new_zeros(queries, len(run.items))
        self.held = self.most = 0

    def through(self, state: State, first: int, last: int, adjoint: State) -> State:
        """Back over steps `first` to `last`, the state before them being known."""
        if last - first == 1:
            return self._step(state, first, adjoint)
        width = math.ceil((last - first) / self.branching)
        starts = list(range(first, last, width))
        states = [state]
        for begin, end in itertools.pairwise(starts):
            states.append(self.run._advance(states[-1], begin, end, self.weights))
        self.held += len(states)
        self.most = max(self.most, self.held)
        for begin in reversed(starts):
            before = states.pop()
            adjoint = self.through(before, begin, min(begin + width, last), adjoint)
            self.held -= 1
        return adjoint

    def _step(self, state: State, number: int, adjoint: State) -> State:
        """The adjoint before a step, from that after it."""
        rows = self.run._rows(number)
        inputs = tuple(value.detach().requires_grad_() for value in state)
        weights = self.weights[rows].requires_grad_()
        outputs = self.run._step(inputs, number, weights, graph=True)
        grads = torch.autograd.grad(
            outputs, (*inputs, weights), adjoint, is_grads_batched=True, allow_unused=True
        )
        if grads[-1] is not None:
            self.slope.index_add_(1, rows.to(self.slope.device), grads[-1])
        return tuple(
            value.new_zeros(len(self.slope), *value.shape) if grad is None else grad
            for grad, value in zip(grads, inputs, strict=False)
        )


def smoothness(run: Run, queries: Sequence[Any], *, distance: float = 0.1, seed: int = 0) -> float:
    """How far a run can be trusted to have meaningful derivatives, in [-1, 1]; near 1 is smooth.

    Three trainings, with the weights moved by 0, 1 and 2 times `distance` in a random direction of
    signs: the share of the queries' losses, weighed by how far they move, that go on in the same
    direction (the metasmoothness of Engstrom et al., exact weighting remembered). Not a number for
    training that diverges.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randint(0, 2, (len(run.items),), generator=generator) * 2.0 - 1
    with torch.no_grad():
        ends = [
            run.losses(run.train(1 + distance * times * direction)[0], queries)
            for times in range(3)
        ]
    first, second = ends[1] - ends[0], ends[2] - ends[1]
    total = first.abs().sum()
    if not float(total):
        return 1.0
    return float((first.abs() * first.sign() * second.sign()).sum() / total)
