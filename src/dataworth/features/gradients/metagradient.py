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

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataworth.errors import ConfigError
from dataworth.features.gradients.batches import Batch, Examples, items_of
from dataworth.features.gradients.engine import evaluating
from dataworth.features.gradients.functional import Called, differentiable
from dataworth.features.gradients.losses import first_order
from dataworth.features.gradients.optimizers import Adam, Descent, Optimizer, State
from dataworth.features.gradients.task import Task

__all__ = ["Adam", "Descent", "Metagradients", "Optimizer", "Run", "metagradients", "smoothness"]


@dataclass(frozen=True, eq=False)
class Run:
    """A training run as a function of its examples' weights.

    `items`: or `Examples`, whose items count. `order`: the rows of each step's batch. The model's
    trained parameters are where it starts; the model itself is not changed. `divide`: what a
    batch's weighted losses are divided by, its "rows" or the sum of their "weights"; the same where
    all weights are 1. With weights of 0 and 1 the latter is the mean over the examples that are
    left: steps are as large as those of the whole run, which therefore says more of runs on
    subsets. `chunk`: rows of a batch that run at once, 0 for all; it changes results by rounding
    alone. Where outputs are large (logits of a language model), few rows are several times as fast:
    their numbers stay in the cache.

    Raises ConfigError for a run without parameters, steps or examples, and for rows that there are
    not.
    """

    model: nn.Module
    task: Task
    items: Sequence[Any]
    order: Sequence[NDArray[np.int64]]
    optimizer: Optimizer
    chunk: int = 0
    divide: Literal["rows", "weights"] = "rows"
    _start: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        if self.chunk < 0:
            raise ConfigError(f"chunk is 0 (all rows of a batch) or more, not {self.chunk}")
        if self.divide not in ("rows", "weights"):
            raise ConfigError(f"divide is 'rows' or 'weights', not {self.divide!r}")
        parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        if not parameters or not len(self.order):
            raise ConfigError("a run has trained parameters and at least one step")
        object.__setattr__(self, "items", items_of(self.items))
        count = len(self.items)
        for number, batch in enumerate(self.order):
            rows = np.asarray(batch)
            if not rows.size or rows.min() < 0 or rows.max() >= count:
                raise ConfigError(
                    f"step {number} of the run's order has the rows {rows.tolist()[:5]}: each step "
                    f"has at least one, from 0 to {count - 1}"
                )
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
        """Return the parameters by name, from a state's first vector."""
        return dict(self._called(vector).values)

    def losses(self, vector: Tensor, queries: Sequence[Any] | Examples) -> Tensor:
        """Return the measurement of each query, [q], with these parameters [P]."""
        items = items_of(queries)
        batch = self.task.lay(items, np.arange(len(items), dtype=np.uint64)).to(vector.device)
        measured = self.task.measure(self.task.outputs(self._called(vector), batch), batch)
        return measured.flatten(1).sum(1) if measured.dim() > 1 else measured

    def _chunks(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield rows that run at once."""
        size = self.chunk or max(len(rows), 1)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _gradient(
        self, vector: Tensor, rows: NDArray[np.int64], weights: Tensor, *, graph: bool
    ) -> Tensor:
        """Differentiate the loss summed over some rows, times their `weights`, by `vector`."""
        batch = self.task.lay([self.items[row] for row in rows], rows.astype(np.uint64))
        batch = batch.to(weights.device)
        losses = self.task.loss(self.task.outputs(self._called(vector), batch), batch)
        losses = losses.flatten(1).sum(1) if losses.dim() > 1 else losses
        total = (losses * weights).sum()
        return torch.autograd.grad(total, vector, create_graph=graph)[0]

    def _divisor(self, weights: Tensor) -> Tensor:
        """Return the divisor of a batch's summed gradient; `weights`: of its rows."""
        if self.divide == "rows":
            return weights.new_full((), float(len(weights)))
        total = weights.sum()
        return torch.where(total == 0, 1.0, total)  # nothing is left: no gradient

    def _batch_gradient(self, vector: Tensor, number: int, weights: Tensor) -> Tensor:
        """Return the detached gradient of a step's whole batch; `weights` [n]: of all examples."""
        rows = np.asarray(self.order[number], np.int64)
        vector = vector.detach().requires_grad_()
        total = torch.zeros_like(vector)
        held = weights[self._rows(number)]
        with first_order():
            for part in self._chunks(rows[(held != 0).cpu().numpy()]):
                mine = weights[torch.from_numpy(part)]
                total += self._gradient(vector, part, mine, graph=False)
        return (total / self._divisor(held)).detach()

    def _rows(self, number: int) -> Tensor:
        return torch.from_numpy(np.asarray(self.order[number], np.int64))

    def _weights(self, weights: Tensor | None, dimensions: int = 1) -> Tensor:
        """Return the weights given, [n] or [m, n], or ones [n]."""
        count = len(self.items)
        if weights is None:
            return torch.ones(count)
        if weights.dim() != dimensions or weights.shape[-1] != count:
            raise ConfigError(
                f"a run of {count:,} examples has a weight for each, not {tuple(weights.shape)}"
            )
        return weights

    def train(self, weights: Tensor | None = None) -> State:
        """Return the state after all steps; `weights` [n] of the examples, 1 if not given.

        An example of weight 0 costs nothing: so the run is trained on a subset, its steps being
        those of the whole (`divide` says how large they are). ConfigError for as many weights as
        there are no examples.
        """
        start = self._flat()
        weights = self._weights(weights).to(start)
        with evaluating(self.model), torch.enable_grad():
            return self._advance(self.optimizer.start(start), 0, len(self.order), weights)

    def train_many(self, weights: Tensor) -> Tensor:
        """Train with each row of `weights` [m, n], all side by side: the parameters [m, P].

        As `train`, but for rounding: many times as fast for small models, where most of the time
        goes into calling. Rows of weight 0 cost as much as others, and `chunk` is not heeded.
        """
        start = self._flat()
        weights = self._weights(weights, 2).to(start)

        def slope(vector: Tensor, mine: Tensor, batch: Batch) -> Tensor:
            losses = self.task.loss(self.task.outputs(self._called(vector), batch), batch)
            return (losses.reshape(len(mine), -1).sum(1) * mine).sum() / self._divisor(mine)

        slopes = torch.func.vmap(torch.func.grad(slope), in_dims=(0, 0, None))
        state = tuple(value.expand(len(weights), -1) for value in self.optimizer.start(start))
        with evaluating(self.model), differentiable():
            for number in range(len(self.order)):
                rows = np.asarray(self.order[number], np.int64)
                batch = self.task.lay([self.items[row] for row in rows], rows.astype(np.uint64))
                gradients = slopes(state[0], weights[:, self._rows(number)], batch.to(start.device))
                step = functools.partial(self.optimizer.step, number=number)
                state = torch.func.vmap(step)(state, gradients)
        return state[0].detach()

    def _advance(self, state: State, first: int, last: int, weights: Tensor) -> State:
        for number in range(first, last):
            gradient = self._batch_gradient(state[0], number, weights)
            with torch.no_grad():
                state = self.optimizer.step(state, gradient, number)
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


def metagradients(
    run: Run,
    queries: Sequence[Any] | Examples,
    *,
    weights: Tensor | None = None,
    mix: Tensor | None = None,
    branching: int = 8,
    together: int = 8,
) -> Metagradients:
    """Differentiate the queries' losses after the run by the weights of its examples.

    `weights` [n]: where, 1 if not given. A run on a subset (weights of 0 and 1) also tells what
    those that are left out would do: far from the whole run, it says more than the whole run does.
    `mix` [k, q]: what is differentiated are k sums of the queries' losses with these weights, such
    as the mean over a target; then the results are of these k.

    One training, then back through it for all queries. `branching`: see the module; as large as the
    number of steps, every state is kept and nothing computed twice. `together`: queries for which a
    batch is gone back through at a time; fewer take less memory.
    """
    if branching < 2 or together < 1:
        raise ConfigError(
            f"branching is at least 2 and together at least 1, not {branching} and {together}"
        )
    asked = items_of(queries)
    if mix is not None and (mix.dim() != 2 or mix.shape[1] != len(asked)):
        raise ConfigError(
            f"mix has a weight for each of {len(asked):,} queries in each row, not "
            f"{tuple(mix.shape)}"
        )
    count = len(asked) if mix is None else len(mix)
    back = _Back(run, count, branching, together, weights)
    with evaluating(run.model), differentiable(), torch.enable_grad():
        start = run.optimizer.start(run._flat())
        end = run._advance(start, 0, len(run.order), back.weights)
        vector = end[0].detach().requires_grad_()
        mix = torch.eye(count).to(vector) if mix is None else mix.to(vector)
        slopes, losses = vector.new_zeros(count, len(vector)), vector.new_zeros(count)
        # One at a time: the gradient of each goes back through no query but itself.
        for query, shares in zip(asked, mix.T, strict=True):
            loss = run.losses(vector, [query]).sum()
            (slope,) = torch.autograd.grad(loss, vector)
            for row in shares.nonzero()[:, 0].cpu().tolist():
                slopes[row] += shares[row] * slope
            losses += shares * loss.detach()
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

    def __init__(
        self, run: Run, queries: int, branching: int, together: int, weights: Tensor | None
    ) -> None:
        self.run = run
        self.branching = branching
        self.together = together
        vector = run._flat()
        self.weights = run._weights(weights).to(vector)
        self.slope = vector.new_zeros(queries, len(run.items))
        self.held = self.most = 0

    def through(self, state: State, first: int, last: int, adjoint: State) -> State:
        """Go back over steps `first` to `last`, the state before them being known."""
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
        """Return the adjoint before a step, from that after it.

        First back through the optimizer, which gives the adjoint of the gradient, then through the
        gradient, some rows and queries at a time: it is a sum over rows.
        """
        run = self.run
        gradient = run._batch_gradient(state[0], number, self.weights)
        inputs = tuple(value.detach().requires_grad_() for value in (*state, gradient))
        outputs = run.optimizer.step(inputs[:-1], inputs[-1], number)
        grads = torch.autograd.grad(
            outputs, inputs, adjoint, is_grads_batched=True, allow_unused=True
        )
        *before, bend = [
            value.new_zeros(len(self.slope), *value.shape) if grad is None else grad
            for grad, value in zip(grads, inputs, strict=True)
        ]
        rows = run._rows(number)
        divided = bend / run._divisor(self.weights[rows])
        if run.divide == "weights":
            # A larger weight of one row is a smaller share of the others.
            shift = (divided @ gradient)[:, None].expand(-1, len(rows))
            self.slope.index_add_(1, rows.to(self.slope.device), -shift)
        for part in run._chunks(np.asarray(run.order[number], np.int64)):
            self._through_gradient(inputs[0], part, divided, before[0])
        return tuple(before)

    def _through_gradient(
        self, vector: Tensor, part: NDArray[np.int64], bend: Tensor, out: Tensor
    ) -> None:
        """Add to `out` [q, P] and to the slope what comes back from the gradient of some rows."""
        rows = torch.from_numpy(part).to(self.slope.device)
        weights = self.weights[rows].requires_grad_()
        gradient = self.run._gradient(vector, part, weights, graph=True)
        for start in range(0, len(bend), self.together):
            some = slice(start, start + self.together)
            moved, slope = torch.autograd.grad(
                gradient,
                (vector, weights),
                bend[some],
                is_grads_batched=True,
                retain_graph=True,
                allow_unused=True,
            )
            if moved is not None:
                out[some] += moved
            if slope is not None:
                self.slope[some].index_add_(1, rows, slope)


def smoothness(
    run: Run, queries: Sequence[Any] | Examples, *, distance: float = 0.1, seed: int = 0
) -> float:
    """Return a run's metasmoothness in [-1, 1]: near 1, its derivatives are meaningful.

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
