"""Losses of many models on domains or documents, and their benchmark scores, from files."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataworth.errors import InputError

log = logging.getLogger("dataworth")
MODEL = "model"
LEAST = 4
"""Fewer models have orders that come about by chance too often."""


@dataclass(frozen=True)
class LossTable:
    """Losses float64 [N, D] of N models on D columns, and the models' mean error [N]."""

    models: tuple[str, ...]
    columns: tuple[str, ...]
    losses: NDArray[np.float64]
    errors: NDArray[np.float64]


def read_loss_table(losses: str, scores: str, *, metric: str) -> LossTable:
    """Read the losses of models and their scores, for the models that are in both files.

    Parameters
    ----------
    losses : a CSV or Parquet file with a row for each model, its name in the column `model`, and a
        column for each domain or document; or with a row for each of these, named in the first
        column, and a column for each model.
    scores : a CSV or Parquet file with the column `model` and a column for each benchmark, whose
        mean counts.
    metric : "accuracy" (the error is 1 less it) or "error".

    Raises
    ------
    InputError : for a file that is no such table, fewer than four models in both files, or models
        whose scores are all equal.
    """
    first, rows, columns, values = _read(losses)
    if first != MODEL:
        rows, columns, values = columns, rows, values.T
    first, scored, benchmarks, points = _read(scores)
    if first != MODEL:
        raise InputError(f"{scores}: has no first column {MODEL!r} with the models' names")
    if not benchmarks or not np.isfinite(points).all():
        raise InputError(f"{scores}: needs a number for each model and benchmark")
    place = {name: row for row, name in enumerate(scored)}
    both = [row for row, name in enumerate(rows) if name in place]
    if len(both) < LEAST:
        raise InputError(
            f"{losses}: {len(both)} of its {len(rows)} models have scores in {scores}; "
            f"correlations need {LEAST} at least"
        )
    means = points[[place[rows[row]] for row in both]].mean(1)
    errors = 1 - means if metric == "accuracy" else means
    different = len(np.unique(errors))
    if different == 1:
        raise InputError(f"{scores}: all models have one score, so there is no order to compare")
    if different < len(errors):
        log.warning("%s: %d models have the score of another", scores, len(errors) - different)
    whole = np.asarray(np.isfinite(values[both]).all(0))
    if not whole.any():
        raise InputError(f"{losses}: no column has a loss of every model")
    if not whole.all():
        log.warning("%s: %d columns lack a model's loss, left out", losses, int((~whole).sum()))
    names = tuple(name for name, keep in zip(columns, whole.tolist(), strict=True) if keep)
    return LossTable(tuple(rows[row] for row in both), names, values[both][:, whole], errors)


def _read(path: str) -> tuple[str, list[str], list[str], NDArray[np.float64]]:
    """The first column's name, the row names in it, the other columns' names, their numbers."""
    try:
        if Path(path).suffix == ".parquet":
            table = pq.read_table(path)
        else:
            table = pyarrow.csv.read_csv(path)
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: is no table in CSV or Parquet ({reason})") from error
    first, *columns = table.column_names
    rows = table.column(first).cast(pa.string()).to_pylist()
    if len(set(rows)) < len(rows) or None in rows:
        raise InputError(f"{path}: the names in column {first!r} are not one for each row")
    values = np.empty((len(rows), len(columns)))
    for number, name in enumerate(columns):
        column = table.column(name)
        kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_null)
        if not any(kind(column.type) for kind in kinds):
            raise InputError(f"{path}: column {name!r} holds {column.type}, not numbers")
        values[:, number] = column.cast(pa.float64()).to_numpy()
    return first, rows, columns, values
