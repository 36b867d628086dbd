"""Bins for the report's charts: shared by all series, drawn where the documents are.

For whoever fills `Histogram`. Edges come from a sample; counts may then be added up over
units, one `counts` call each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataworth.results.selection import Histogram

_MOST = 200_000  # values that edges are found from
_BLOCK = 1 << 18  # values that are counted at a time


def shared_edges(
    samples: Sequence[NDArray[np.floating | np.integer]],
    *,
    bins: int = 60,
    log: bool = False,
    tail: float = 0.005,
) -> NDArray[np.float64]:
    """Return edges, float64[bins + 1], that hold all but `tail` at each end of every sample.

    Of many values every so-manieth is looked at. Values that are not finite are left out, and for
    `log` also those below 1. With nothing to look at, the edges are 0 and 1 (1 and 10 for `log`).
    """
    low, high = np.inf, -np.inf
    for values in samples:
        some = values[:: max(1, len(values) // _MOST)]
        array = np.asarray(some, dtype=np.float64)
        array = array[np.isfinite(array) & (array >= 1 if log else True)]
        if len(array):
            ends = np.quantile(array, [tail, 1 - tail])
            low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    if not low <= high:
        low, high = (1.0, 10.0) if log else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        spread = max(abs(low), 1e-9) / 2 if low else 0.5
        low, high = low - (0 if log else spread), high + spread
    if log:
        return np.geomspace(low, high, bins + 1)
    return np.linspace(low, high, bins + 1)


def counts(
    values: NDArray[np.floating | np.integer], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Count the values in each bin, float64[bins], and those outside the edges.

    Values that are not finite are in neither.
    """
    inside, finite = np.zeros(len(edges) - 1), 0
    for start in range(0, len(values), _BLOCK):
        array = np.asarray(values[start : start + _BLOCK], dtype=np.float64)
        array = array[np.isfinite(array)]
        inside += np.histogram(array, edges)[0]
        finite += len(array)
    return inside, float(finite - inside.sum())


def histogram(
    *,
    pool: NDArray[np.floating | np.integer] | None = None,
    selection: NDArray[np.floating | np.integer] | None = None,
    target: NDArray[np.floating | np.integer] | None = None,
    edges: NDArray[np.float64] | None = None,
    bins: int = 60,
    log: bool = False,
) -> Histogram:
    """Return a `Histogram` of values that fit in memory; empty series are left out."""
    samples = {"pool": pool, "selection": selection, "target": target}
    series = {
        name: values for name, values in samples.items() if values is not None and len(values)
    }
    if edges is None:
        edges = shared_edges(list(series.values()), bins=bins, log=log)
    result: Histogram = {"edges": edges.tolist(), "scale": "log" if log else "linear"}
    outside: dict[str, float] = {}
    for name, values in series.items():
        inside, outside[name] = counts(values, edges)
        result[name] = inside.tolist()  # type: ignore[literal-required]
    result["outside"] = outside
    return result
