"""Quotas of documents for clusters: shares of an amount between bounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import ConfigError


def bounded_quotas(
    wanted: NDArray[np.float64], least: NDArray[np.float64], most: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the numbers nearest to `wanted`, by squares, with its sum and within bounds.

    They are min(max(wanted + c, least), most) with one number c for all, found by bisection.

    Parameters
    ----------
    wanted, least, most
        Of each cluster, [k].

    Raises
    ------
    ConfigError
        Where the bounds do not let the sum be that of `wanted`.
    """
    total = float(wanted.sum())
    if not least.sum() - 1e-6 <= total <= most.sum() + 1e-6:
        raise ConfigError(
            f"quotas: {total:g} documents do not lie between the bounds' sums, {least.sum():g} and "
            f"{most.sum():g}"
        )
    low, high = float((least - wanted).min()), float((most - wanted).max())
    for _ in range(100):
        middle = (low + high) / 2
        if np.clip(wanted + middle, least, most).sum() < total:
            low = middle
        else:
            high = middle
    return np.asarray(np.clip(wanted + high, least, most), np.float64)
