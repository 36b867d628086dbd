"""Shares of a document's tokens in its scores, for a few documents that are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataworth.corpus.documents import Documents
from dataworth.features.gradients.factors import Factors
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.modules import Call


def by_position(
    reader: Reader,
    documents: Documents,
    vectors: Tensor,
    of: Sequence[NDArray[np.int64]] | None = None,
) -> list[NDArray[np.float32]]:
    """Split inner products of documents' gradients with vectors [q, P] by token.

    `of`: for each document, the rows of the vectors that count for it; all if it is not given.
    For each document [its vectors, 1 + tokens of the text that is read]: first the part of the
    token that stands before the text (0 if there is none), then those of the text's tokens. They
    sum to the whole. Each document is read once, in batches with others, whatever they are asked
    for.
    """
    items = reader.items(documents)
    read = reader.read(documents)
    every = np.arange(len(vectors))
    wanted = [every] * len(documents) if of is None else list(of)
    out = [
        np.zeros((len(asked), 1 + len(one.places)), np.float32)
        for asked, one in zip(wanted, read, strict=True)
    ]
    for rows, batch in reader.examples(items):
        factors = reader.engine.factors(batch)
        owners = items.owner[rows]
        for query in np.unique(np.concatenate([wanted[owner] for owner in owners])).tolist():
            some = np.flatnonzero([query in wanted[owner] for owner in owners])
            chosen = factors if len(some) == len(rows) else _some(factors, some)
            products = chosen.scores_by_position(
                vectors[query : query + 1].to(reader.engine.device)
            )
            values, rest = products.positions.cpu().numpy()[:, 0], products.rest.cpu().numpy()[:, 0]
            for i, row in enumerate(rows[some]):
                owner = items.owner[row]
                into = out[owner][int(np.flatnonzero(wanted[owner] == query)[0])]
                # Place 0 is the token before the text; the one after it predicts nothing.
                first = int(items.number[row]) * (reader.context - 1) + 1 - read[owner].before
                places = np.clip(first + np.arange(values.shape[1]), 0, len(into) - 1)
                np.add.at(into, places, values[i])
                into += rest[i] / len(into)
        del factors  # or the next batch's would be made beside them
    return out


def _some(factors: Factors, rows: NDArray[np.int64]) -> Factors:
    """Return the factors of some examples of the batch."""
    at = torch.from_numpy(rows).to(factors.losses.device)

    def take(call: Call) -> Call:
        right = None if call.right is None else call.right[at]
        return replace(call, left=call.left[at], right=right)

    calls = [[take(call) for call in calls] for calls in factors.calls]
    return Factors(factors.blocks, calls, factors.losses[at], factors.dtype)
