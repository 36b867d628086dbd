"""Scores from projected gradients, weighed by their own Gram matrix (Park et al. 2023, TRAK).

    score(example, query) = <projected query, (mean of outer products of the examples' + damping)^-1
                             projected example> / N

With `of="measure"` both sides are gradients of what the task measures, in place of the loss: the
published form, where that is minus the margin of the right class (`Supervised(measured="margin")`).
The loss is a function of the measure there, with the slope 1 - p for cross-entropy, so that the
published scores are these times 1 - p of the examples (`wrong_share`). Several models: the mean of
the scores times the mean of the 1 - p.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dataworth.features.gradients.batches import Examples
from dataworth.features.gradients.engine import Gradients
from dataworth.features.gradients.preconditioners.base import Damping
from dataworth.features.gradients.preconditioners.simple import gram
from dataworth.features.gradients.projection import Projection


def projected_rows(
    engine: Gradients,
    examples: Examples,
    projection: Projection,
    of: Literal["loss", "measure"] = "loss",
) -> torch.Tensor:
    """Return the projected gradients of each example, [n, k]."""
    projector = projection.bind(engine.blocks, engine.device)
    out = torch.empty(len(examples), projector.dimension, dtype=engine.dtype, device=engine.device)
    for rows, batch in examples:
        out[torch.from_numpy(rows)] = projector(engine.factors(batch, of)).to(out)
    return out


def projected_scores(
    engine: Gradients,
    examples: Examples,
    queries: Examples,
    projection: Projection,
    *,
    of: Literal["loss", "measure"] = "loss",
    damping: Damping | None = None,
) -> NDArray[np.float32]:
    """Return scores [n, q], float32; `of`: what the examples' gradients are of; the queries' are
    of the measure. ConfigError if damping is 0 and the examples do not span the projection.
    """
    rows = projected_rows(engine, examples, projection, of)
    inverse = gram([rows], damping=damping)
    vectors = inverse.apply(projected_rows(engine, queries, projection, "measure"))
    found: NDArray[np.float32] = (rows @ (vectors * inverse.scale).T).float().cpu().numpy()
    return found


def wrong_share(engine: Gradients, examples: Examples) -> NDArray[np.float32]:
    """Return 1 - p of the right class [n], if the task measures minus the margin: how fast the loss
    falls when the margin grows.
    """
    out = np.empty(len(examples), np.float32)
    for rows, batch in examples:
        out[rows] = engine.losses(batch, "measure").sigmoid().cpu().numpy()
    return out
