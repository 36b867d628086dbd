"""Tables with a column of vectors, for the mechanisms that compare documents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanism.tables import MemoryTable, make_table


def cloud(count: int, width: int = 5, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of random directions around a common one."""
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(count, width)) + 0.5).astype(np.float32)


def table_with(vectors: Any, utilities: Any = None, **options: Any) -> MemoryTable:
    """A table of documents with these vectors, and a utility of 0 unless one is given."""
    rows = np.asarray(vectors, np.float32)
    table = make_table(np.zeros(len(rows)) if utilities is None else utilities, **options)
    table.vector_columns = {"embedding:embed": rows}
    return table


def rotated(vectors: NDArray[np.float32], seed: int = 1) -> NDArray[np.float32]:
    """The vectors, turned by a random orthogonal matrix."""
    width = vectors.shape[1]
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))
    return np.asarray(vectors @ turn, np.float32)
