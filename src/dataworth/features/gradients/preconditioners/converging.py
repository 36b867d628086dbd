"""The convergence of iterative solvers: residuals, steps, and a warning."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from torch import Tensor

log = logging.getLogger("dataworth")

ENOUGH = 0.1
"""The relative residual above which a warning is logged."""


@dataclass
class Solved:
    """The convergence over all vectors so far.

    `residual`: the largest |v - (curvature + damping) x| / |v| of any; None: none was solved yet.
    `steps`: the most that were taken. `vectors`: how many were solved.
    """

    residual: float | None = None
    steps: int = 0
    vectors: int = 0
    _warned: bool = False

    def add(self, residual: Tensor, vectors: Tensor, steps: int, name: str, remedy: str) -> None:
        """Record `residual` of `vectors` [q, P]; log a warning, once, if the answer is far off."""
        if not len(vectors):
            return
        length = vectors.double().norm(dim=1)
        # A vector of length 0 is solved by 0.
        left = residual.double().norm(dim=1) / length.where(length > 0, 1.0)
        self.residual = max(self.residual or 0.0, float(left.max()))
        self.steps = max(self.steps, steps)
        self.vectors += len(vectors)
        if self.residual > ENOUGH and not self._warned:
            self._warned = True
            log.warning(
                "%s: after %s the residual is %.2g times the vector, so scores may be far from "
                "those of the curvature; %s",
                name,
                _steps(self.steps),
                self.residual,
                remedy,
            )

    def describe(self) -> str:
        """Describe the convergence in words to append; empty as long as nothing was solved."""
        if self.residual is None:
            return ""
        return f", residual {self.residual:.2g} after {_steps(self.steps)}"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count:,} steps"
