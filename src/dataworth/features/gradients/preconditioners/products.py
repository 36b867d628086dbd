"""Products with the curvature of the mean training loss, without its matrix.

    Gauss-Newton   mean over examples of J^T H J, J: outputs by parameters, H: loss by outputs
    Hessian        of the mean training loss by parameters

The Gauss-Newton matrix is never negative and is the Fisher information for cross-entropy and
squared error. `H` is taken by differentiating the task's own loss, so any loss will do. A batch's
computation is recorded once; a product then goes over the record forwards (as the derivative of a
backward pass in what it starts from) and backwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataworth.features.gradients.batches import Batch, Examples
from dataworth.features.gradients.checks import one_of, some
from dataworth.features.gradients.engine import Gradients, evaluating
from dataworth.features.gradients.functional import Called, differentiable

Kind = Literal["gauss_newton", "hessian"]


class Products:
    """`kind` of curvature over the examples.

    `together`: vectors that are multiplied at a time. `keep`: hold the records of all batches, for
    many products with few examples; else each is made again for each product. ConfigError without
    examples and for an unknown kind.
    """

    def __init__(
        self,
        engine: Gradients,
        examples: Examples,
        kind: Kind = "gauss_newton",
        *,
        together: int = 32,
        keep: bool = False,
    ) -> None:
        one_of("kind", kind, Kind)
        some(examples)
        self.engine = engine
        self.examples = examples
        self.kind = kind
        self.together = together
        self._kept: list[Part] | None = list(self._parts()) if keep else None

    def __call__(self, vectors: Tensor) -> Tensor:
        """Multiply [q, P] with the mean curvature over all examples: [q, P]."""
        total = torch.zeros_like(vectors)
        for part in self.parts():
            total += part(vectors)
        return total / len(self.examples)

    def parts(self) -> Iterator[Part]:
        """Yield the curvatures of the batches."""
        yield from self._parts() if self._kept is None else self._kept

    def drawn(self, draws: NDArray[np.uint64]) -> Iterator[Part]:
        """Yield for each draw the batch of this number, counted round and round."""
        if self._kept is not None:
            count = np.uint64(len(self._kept))
            yield from (self._kept[int(draw % count)] for draw in draws)
            return
        batches = [batch for _, batch in self.examples]
        count = np.uint64(len(batches))
        yield from (self.part(batches[int(draw % count)]) for draw in draws)

    def _parts(self) -> Iterator[Part]:
        for _, batch in self.examples:
            yield self.part(batch)

    def part(self, batch: Batch) -> Part:
        """Return the curvature of one batch."""
        return Part(self.engine, batch.to(self.engine.device), self.kind, self.together)


class Part:
    """The curvature of the sum of a batch's losses."""

    def __init__(self, engine: Gradients, batch: Batch, kind: Kind, together: int) -> None:
        self._together = together
        self._count = len(batch)
        values = {name: value.detach() for name, value in engine.parameters().items()}
        self._vector = engine.blocks.flatten(values).requires_grad_()
        parts = engine.blocks.unflatten(self._vector)
        with evaluating(engine.model), differentiable(), torch.enable_grad():
            outputs = engine.task.outputs(Called(engine.model, parts), batch)
            self._outputs = outputs
            if kind == "hessian":
                loss = engine.task.loss(outputs, batch).sum()
                (self._slope,) = torch.autograd.grad(loss, self._vector, create_graph=True)
                self._start = None
                return
            self._start = torch.zeros_like(outputs, requires_grad=True)
            (self._back,) = torch.autograd.grad(
                outputs, self._vector, self._start, create_graph=True
            )
            self._made = outputs.detach().requires_grad_()
            loss = engine.task.loss(self._made, batch).sum()
            (self._slope,) = torch.autograd.grad(loss, self._made, create_graph=True)

    def __len__(self) -> int:
        return self._count

    def __call__(self, vectors: Tensor) -> Tensor:
        """Multiply vectors with the curvature: [q, P]."""
        out = torch.empty_like(vectors)
        for start in range(0, len(vectors), self._together):
            rows = slice(start, start + self._together)
            out[rows] = self._product(vectors[rows].to(self._vector.dtype))
        return out

    def _product(self, vectors: Tensor) -> Tensor:
        if self._start is None:
            return _pulled(self._slope, self._vector, vectors)
        moved = _pulled(self._back, self._start, vectors)
        bent = _pulled(self._slope, self._made, moved)
        return _pulled(self._outputs, self._vector, bent)


def _pulled(outputs: Tensor, inputs: Tensor, vectors: Tensor) -> Tensor:
    """Multiply the transposed derivative of outputs by inputs with each of `vectors`."""
    if not outputs.requires_grad:  # a loss without curvature
        return vectors.new_zeros(len(vectors), *inputs.shape)
    options = {"retain_graph": True, "allow_unused": True}
    if len(vectors) == 1:
        (product,) = torch.autograd.grad(outputs, inputs, vectors[0], **options)
        product = None if product is None else product.unsqueeze(0)
    else:
        (product,) = torch.autograd.grad(outputs, inputs, vectors, is_grads_batched=True, **options)
    return vectors.new_zeros(len(vectors), *inputs.shape) if product is None else product
