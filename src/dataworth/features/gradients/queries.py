"""Vectors of any number of queries, in a file, to multiply documents' gradients with.

They are read from the file as they are needed, so they do not have to fit into memory.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from dataworth.corpus.documents import Documents
from dataworth.engine.files import atomic
from dataworth.errors import InputError
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.preconditioners.base import Preconditioner

TOGETHER = 1 << 24
"""Numbers of query vectors that are worked on at a time."""


def fit_vectors(
    reader: Reader, queries: Documents, preconditioner: Preconditioner, path: Path
) -> None:
    """Write what gradients are multiplied with: float32 [queries, P], a `.npy` file.

    A query's measure is its loss in nats per token. InputError for a query without a token.
    """
    engine = reader.engine
    group = max(1, TOGETHER // engine.size)
    with atomic(path) as temporary:
        out = open_memmap(temporary, "w+", np.float32, (len(queries), engine.size))
        for start in range(0, len(queries), group):
            count = min(group, len(queries) - start)
            vectors = torch.empty(count, engine.size, dtype=engine.dtype, device=engine.device)
            for row in range(len(vectors)):
                number = start + row
                gradient, tokens = reader.gradient(queries.take(np.array([number])))
                if not tokens:
                    raise InputError(f"query {number + 1} has no token to predict: leave it out")
                vectors[row] = gradient / tokens
            moved = preconditioner.apply(vectors) * preconditioner.scale
            out[start : start + len(vectors)] = moved.cpu().numpy()
        out.flush()
        del out


def mapped(vectors: NDArray[np.float32]) -> Tensor:
    """Map the vectors of a file into memory, read when they are needed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # nothing writes to them
        return torch.from_numpy(vectors)
