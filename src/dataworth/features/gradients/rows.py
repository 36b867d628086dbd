"""Stored gradients: how a row is written, read, and scored out of core.

A projected gradient of k numbers is stored as k + 2: its direction, scaled to a mean square of 1,
and the natural logarithm of its length in two parts. float16 then holds any gradient to about three
digits, however small or large, and the length to five.
The direction alone (what is left of a gradient after normalising) is read without a further loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from dataworth.engine.files import atomic
from dataworth.errors import ConfigError
from dataworth.features.feature import FeatureColumn
from dataworth.features.gradients.preconditioners.base import Preconditioner
from dataworth.features.gradients.preconditioners.simple import Identity

EXTRA = 2
"""Numbers of a stored row beside the direction."""
_NOTHING = -1e4  # stands for the logarithm of the length 0
_BLOCK = 4096
# Settings of stored gradients in which two sides may differ: what texts they are of and how they
# are read, and whether they are steps.
_FREE = ("tokenizer", "context", "most", "first", "reduction", "step")


def encode(gradients: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Encode gradients [n, k] as stored rows, float32 [n, k + 2]; 16 bits a number will do."""
    values = np.asarray(gradients, np.float64)
    length = np.linalg.norm(values, axis=1)
    out = np.zeros((len(values), values.shape[1] + EXTRA), np.float32)
    some = length > 0
    scale = math.sqrt(values.shape[1]) / np.where(some, length, 1)
    out[:, :-EXTRA] = values * scale[:, None]
    log = np.where(some, np.log(np.where(some, length, 1)), _NOTHING)
    # The first part has eight digits of base 2; the second is what it loses.
    out[:, -2] = _rounded(log)
    out[:, -1] = log - out[:, -2]
    return out


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to eight binary digits, ties to even: the upper half of a float32."""
    bits = values.astype(np.float32).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)).view(np.float32)


def lengths(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the gradient norms of stored rows, [n]."""
    log = rows[:, -2].astype(np.float64) + rows[:, -1]
    return np.where(log <= _NOTHING / 2, 0.0, np.exp(np.maximum(log, _NOTHING / 2)))


def decode(rows: NDArray[Any], *, unit: bool = False) -> NDArray[np.float32]:
    """Decode gradients float32 [n, k] from stored rows; `unit`: to norm 1 (norm 0 stays)."""
    values = rows[:, :-EXTRA].astype(np.float32)
    if unit:
        length = np.linalg.norm(values, axis=1, keepdims=True)
        values /= np.where(length > 0, length, 1)
        return values
    scale = lengths(rows) / math.sqrt(values.shape[1])
    return values * scale[:, None].astype(np.float32)


class Rows(Protocol):
    """Gradients that can be read block by block."""

    def __len__(self) -> int: ...

    def blocks(self, rows: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (number of the first row, gradients float32 [at most `rows`, k]) in order."""
        ...


@dataclass(frozen=True, eq=False)
class Stored:
    """The gradients in a column of a table; `unit`: each of length 1."""

    column: FeatureColumn
    unit: bool = False

    def __len__(self) -> int:
        return len(self.column)

    @property
    def uid(self) -> NDArray[np.uint64]:
        """The uid of each row."""
        return self.column.uid

    def blocks(self, rows: int = _BLOCK) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """See `Rows`."""
        for first, block in self.column.blocks(rows):
            yield first, decode(block, unit=self.unit)


@dataclass(frozen=True, eq=False)
class Held:
    """Gradients [n, k] in memory."""

    gradients: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.gradients)

    def blocks(self, rows: int = _BLOCK) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """See `Rows`."""
        for first in range(0, len(self.gradients), rows):
            yield first, self.gradients[first : first + rows]


def score_rows(
    examples: Rows,
    queries: Rows,
    preconditioner: Preconditioner | None = None,
    *,
    out: str | Path | None = None,
    rows: int = _BLOCK,
) -> NDArray[np.float32]:
    """Score stored gradients block by block: float32 [examples, queries].

    `preconditioner`: fitted on projected gradients (`gram`), linear. `out`: a `.npy` file to write
    them to, which is mapped; else they are held in memory. At most 2 * `rows` gradients are in
    memory at a time.

    Raises ConfigError for sides that do not belong together, naming the difference: of another
    model, other modules of it, another projection (its seed counts), or of another length.
    """
    chosen = preconditioner or Identity()
    _together(examples, queries)
    if not chosen.linear:
        raise ConfigError(f"{chosen.name} cannot be applied to gradients that are projected")
    shape = (len(examples), len(queries))
    if out is None:
        result = np.empty(shape, np.float32)
        _fill(result, examples, queries, chosen, rows)
        return result
    out = Path(out)
    with atomic(out) as temporary:
        mapped = open_memmap(temporary, "w+", np.float32, shape)
        _fill(mapped, examples, queries, chosen, rows)
        mapped.flush()
    written: NDArray[np.float32] = np.load(out, mmap_mode="r", allow_pickle=False)
    return written


def _together(examples: Rows, queries: Rows) -> None:
    """Raise ConfigError for two columns whose inner products mean nothing."""
    if not (isinstance(examples, Stored) and isinstance(queries, Stored)):
        return
    ours, theirs = examples.column, queries.column
    one, other = ours.feature, theirs.feature
    if one.name != other.name:
        raise ConfigError(
            f"{ours.folder} holds {one.name} and {theirs.folder} {other.name}: only gradients of "
            "one kind can be multiplied"
        )
    names = [name for name in {**one.settings, **other.settings} if name not in _FREE]
    different = [
        f"{name} {one.settings.get(name)} and {other.settings.get(name)}"
        for name in names
        if one.settings.get(name) != other.settings.get(name)
    ]
    if different:
        raise ConfigError(
            f"the gradients in {ours.folder} and {theirs.folder} do not belong together: "
            f"{', '.join(different)}; compute one of them again as the other"
        )


def _fill(
    result: NDArray[np.float32],
    examples: Rows,
    queries: Rows,
    preconditioner: Preconditioner,
    rows: int,
) -> None:
    for column, block in queries.blocks(rows):
        vectors = torch.from_numpy(np.array(block, np.float32))
        width = vectors.shape[1]
        vectors = preconditioner.apply(vectors) * preconditioner.scale
        for row, stored in examples.blocks(rows):
            if stored.shape[1] != width:
                raise ConfigError(
                    f"the examples' gradients have {stored.shape[1]:,} numbers and the queries' "
                    f"{width:,}: project both alike"
                )
            products = torch.from_numpy(np.array(stored, np.float32)) @ vectors.T
            result[row : row + len(stored), column : column + len(block)] = products.numpy()
