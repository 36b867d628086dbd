"""Utilities from a loss: which end of the distribution, or its middle, is kept."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import DataworthError
from dataworth.options import option

_DECIMALS = 4  # of losses that are equal: the rest hangs on the batch

Keep = Literal["low", "middle", "high"]
keep_option = partial(
    option,
    help='"low" prefers documents with little loss, "high" those with much, "middle" those nearest '
    "to the median by rank in the pool's sample.",
)


def keep_unit(keep: Keep, unit: str) -> str:
    """Return the unit of utilities that are made of a loss in `unit`."""
    if keep == "middle":
        return "ranks from the median, negative"
    return unit if keep == "high" else f"{unit}, negative"


def kept(
    keep: Keep, losses: NDArray[np.float64], sample: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return utilities of losses, of any shape; NaN stays NaN.

    `sample`: losses of the pool's sample, sorted; "middle" gives -|rank - 1/2|, the rank being the
    share of the sample below, of equal ones half. Between losses of the sample it is interpolated,
    so that rounding moves it little.
    """
    if keep != "middle" or sample is None:
        return losses if keep == "high" else -losses
    different, below, counts = np.unique(
        np.round(sample, _DECIMALS), return_index=True, return_counts=True
    )
    ranks = np.interp(losses, different, (below + counts / 2) / len(sample))
    return np.asarray(-np.abs(ranks - 0.5))


def sorted_losses(step: str, losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the losses of a sample that are numbers, sorted; DataworthError if there is none."""
    ordered = np.sort(losses[~np.isnan(losses)])
    if not len(ordered):
        raise DataworthError(
            f"{step}: no document of the pool's sample has a loss, so none has a rank; see the "
            "drop reasons, or keep=low or high"
        )
    return ordered
