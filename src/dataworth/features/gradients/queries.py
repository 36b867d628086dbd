"""Scores of documents for queries, both of any number: vectors in a file, scores in a store.

    fit_vectors(reader, queries, preconditioner, path)      [q, P], mapped
    store = build(corpus, QueryScores(source, reading, path, settings), folder)

A row of the store is one document: its score for each query, and last its tokens. The queries'
vectors are read from the file as they are needed, so neither side has to fit into memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from dataworth.corpus.documents import Documents
from dataworth.engine.device import exclusive
from dataworth.engine.files import atomic, check_array, damaged, read_array
from dataworth.errors import InputError
from dataworth.features.embeddings.running import one_thread
from dataworth.features.gradients.language import Reader, Readers
from dataworth.features.gradients.preconditioners.base import Preconditioner
from dataworth.features.gradients.reading import Reading

TOGETHER = 1 << 24
"""Numbers of query vectors that are worked on at a time."""


def fit_vectors(
    reader: Reader, queries: Documents, preconditioner: Preconditioner, path: Path
) -> None:
    """Write what gradients are multiplied with: float32 [queries, P], a `.npy` file.

    A query's measure is its loss in nats a token. InputError for a query without a token.
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
            found = preconditioner.apply(vectors) * preconditioner.scale
            out[start : start + len(vectors)] = found.cpu().numpy()
        out.flush()
        del out


def mapped(path: Path) -> Tensor:
    """The vectors in a file, read when they are needed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # nothing writes to them
        return torch.from_numpy(_vectors(path))


def _vectors(path: Path) -> NDArray[np.float32]:
    remedy = "delete the folder it lies in and run the same command again"
    with damaged(path, remedy):
        return check_array(read_array(path, remedy, mapped=True), np.float32, (None, None))


class QueryScores:
    """The scores of documents for the queries of a file, and their tokens: a feature for a store.

    `settings`: all that the vectors depend on. `unit`: the documents' gradients have length 1, as
    the vectors then should, so that scores are cosines.
    """

    name = "query_scores"
    dtype = "float32"
    columns: tuple[str, ...] = ()

    def __init__(
        self,
        source: str,
        reading: Reading,
        vectors: Path,
        settings: Mapping[str, Any],
        *,
        unit: bool = False,
    ) -> None:
        self.vectors = vectors
        self.unit = unit
        self.settings = dict(settings)
        self._readers = Readers(source, reading)

    @cached_property
    def dimension(self) -> int:
        """Queries, and one."""
        return len(_vectors(self.vectors)) + 1

    def working(self) -> AbstractContextManager[None]:
        """One thread for each worker."""
        return one_thread("lm")

    def values(self, documents: Documents) -> NDArray[np.float64]:
        """[n, queries + 1]."""
        reader = self._readers()
        together = max(1, TOGETHER // reader.engine.size)
        vectors = mapped(self.vectors)
        with exclusive(reader.engine.device):
            if self.unit:
                found, lengths, tokens = reader.scores_and_lengths(
                    documents, vectors, together=together
                )
                found /= np.maximum(lengths, 1e-30)[:, None]
            else:
                found, tokens = reader.scores(documents, vectors, together=together)
        return np.concatenate([found, tokens[:, None].astype(np.float64)], 1)
