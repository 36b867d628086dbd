"""The cosine of two gradients: inner products without lengths, so that none is the loudest."""

from __future__ import annotations

from torch import Tensor


class Cosine:
    """A preconditioner that makes both sides unit vectors; a gradient of zeros stays."""

    name = "cosine"
    unit = "cosine of the gradients of the query's loss and the document's"
    scale = 1.0
    linear = False

    def apply(self, vectors: Tensor) -> Tensor:
        """Of length 1."""
        unit: Tensor = vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-30)
        return unit

    def train(self, gradients: Tensor) -> Tensor:
        """Of length 1."""
        return self.apply(gradients)

    def describe(self) -> str:
        """In words."""
        return "inner products of gradients of length 1"
