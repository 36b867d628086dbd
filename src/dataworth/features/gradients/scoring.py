"""Scores of examples for queries: queries in memory, examples streamed past them.

Every score is the estimated reduction of the query's loss in nats; see `preconditioners.base`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dataworth.errors import ConfigError
from dataworth.features.gradients.batches import Examples
from dataworth.features.gradients.engine import Gradients, Of
from dataworth.features.gradients.factors import Factors
from dataworth.features.gradients.low_rank import LowRank, compress
from dataworth.features.gradients.preconditioners.base import Preconditioner
from dataworth.features.gradients.preconditioners.kronecker import Eigen
from dataworth.features.gradients.preconditioners.simple import Identity

# Bytes of query gradients that are held at a time.
HELD = 1 << 30


def query_vectors(
    engine: Gradients, queries: Examples, preconditioner: Preconditioner | None = None
) -> Tensor:
    """Return the queries' gradients, preconditioned and scaled: [q, P]."""
    preconditioner = preconditioner or Identity()
    out = torch.empty(len(queries), engine.size, dtype=engine.dtype, device=engine.device)
    for rows, batch in queries:
        out[torch.from_numpy(rows)] = engine.gradients(batch, "measure")
    return preconditioner.apply(out) * preconditioner.scale


def _groups(engine: Gradients, queries: int, held: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows of queries whose gradients fit into `held` bytes together."""
    size = torch.empty((), dtype=engine.dtype).element_size()
    together = max(1, held // (size * engine.size))
    for start in range(0, queries, together):
        yield np.arange(start, min(start + together, queries))


def _stream(
    engine: Gradients,
    examples: Examples,
    queries: Examples,
    preconditioner: Preconditioner,
    out: NDArray[np.float32],
    score: Callable[[Factors, Tensor], Tensor],
    held: int,
) -> None:
    """Fill `out` [n, q, ...], some queries at a time."""
    for chosen in _groups(engine, len(queries), held):
        vectors = query_vectors(engine, queries.take(chosen), preconditioner)
        for rows, batch in examples:
            values = score(engine.factors(batch), vectors)
            out[rows[:, None], chosen[None, :]] = values.cpu().numpy()


def scores(
    engine: Gradients,
    examples: Examples,
    queries: Examples,
    preconditioner: Preconditioner | None = None,
    *,
    rank: int | None = None,
    held: int = HELD,
) -> NDArray[np.float32]:
    """Return scores [n, q], float32: rows as in `examples`, columns as in `queries`.

    `held`: bytes of query gradients in memory; more queries mean more passes over the examples.
    `rank`: keep the queries' gradients in thin matrices of this rank (`low_rank`), all at once, in
    one pass; only for linear preconditioners.
    """
    chosen = preconditioner or Identity()
    if rank is not None:
        return _low_rank(engine, examples, queries, chosen, rank, held)

    def score(factors: Factors, vectors: Tensor) -> Tensor:
        if chosen.linear:
            return factors.scores(vectors)
        return chosen.train(factors.gradients()) @ vectors.T

    out = np.empty((len(examples), len(queries)), np.float32)
    _stream(engine, examples, queries, chosen, out, score, held)
    return out


def _low_rank(
    engine: Gradients,
    examples: Examples,
    queries: Examples,
    preconditioner: Preconditioner,
    rank: int,
    held: int,
) -> NDArray[np.float32]:
    if not preconditioner.linear:
        raise ConfigError(f"{preconditioner.name} needs whole gradients: leave `rank` out")
    parts = [
        compress(engine.blocks, query_vectors(engine, queries.take(chosen), preconditioner), rank)
        for chosen in _groups(engine, len(queries), held)
    ]
    vectors = LowRank.joined(parts)
    out = np.empty((len(examples), len(queries)), np.float32)
    for rows, batch in examples:
        out[rows] = vectors.scores(engine.factors(batch)).cpu().numpy()
    return out


def scores_by_block(
    engine: Gradients,
    examples: Examples,
    queries: Examples,
    preconditioner: Preconditioner | None = None,
    *,
    held: int = HELD,
) -> NDArray[np.float32]:
    """Return scores by block [n, q, blocks]; their sum over blocks is the whole."""
    chosen = preconditioner or Identity()

    def score(factors: Factors, vectors: Tensor) -> Tensor:
        if chosen.linear:
            return factors.scores_by_block(vectors)
        moved = chosen.train(factors.gradients())
        parts = [moved[:, b.span] @ vectors[:, b.span].T for b in engine.blocks]
        return torch.stack(parts, -1)

    out = np.empty((len(examples), len(queries), len(engine.blocks)), np.float32)
    _stream(engine, examples, queries, chosen, out, score, held)
    return out


def self_scores(
    engine: Gradients, examples: Examples, preconditioner: Preconditioner | None = None
) -> NDArray[np.float32]:
    """Return each example's score for itself [n], in its training loss: large if it is unlike the
    rest, mislabelled examples among it.
    """
    chosen = preconditioner or Identity()
    out = np.empty(len(examples), np.float32)
    for rows, batch in examples:
        factors = engine.factors(batch)
        if isinstance(chosen, Identity):
            values = factors.squared_norms() * chosen.scale
        elif isinstance(chosen, Eigen):
            values = chosen.squares(factors) * chosen.scale
        else:
            gradients = factors.gradients()
            values = (chosen.apply(gradients) * chosen.train(gradients)).sum(1) * chosen.scale
        out[rows] = values.cpu().numpy()
        del factors  # or the next batch's would be made beside them
    return out


def scores_over_draws(
    engine: Gradients,
    examples: Sequence[Examples],
    queries: Sequence[Examples],
    preconditioner: Preconditioner | None = None,
    *,
    unit: bool = True,
    held: int = HELD,
) -> NDArray[np.float32]:
    """Return mean scores [n, q] over draws, for losses that hang on random numbers (diffusion).

    Each of `examples` has the same items in the same order with other random numbers, and so have
    `queries`. `unit`: the example's gradient in each draw is divided by its length, so that draws
    (timesteps) with large gradients do not decide alone (Diffusion-ReTrac, Xie et al. 2024,
    arXiv 2401.09031); the scores are then for a step of that length, not in nats. Without, the
    inner product of mean gradients. Draws that both sides have in common lower the variance.

    Raises ConfigError without draws, for draws of unlike lengths, and for a preconditioner that is
    not linear.
    """
    chosen = preconditioner or Identity()
    if not chosen.linear:
        raise ConfigError(f"{chosen.name} cannot be averaged over draws: it is not linear")
    for side in (examples, queries):
        if len({len(draw) for draw in side}) != 1:
            raise ConfigError("there is at least one draw, and all have the same items")
    out = np.empty((len(examples[0]), len(queries[0])), np.float32)
    for group in _groups(engine, len(queries[0]), held):
        drawn = [query_vectors(engine, draw.take(group), chosen) for draw in queries]
        vectors = torch.stack(drawn).mean(0)
        total = torch.zeros(len(out), len(group), dtype=engine.dtype, device=engine.device)
        for draw in examples:
            for rows, batch in draw:
                factors = engine.factors(batch)
                values = factors.scores(vectors)
                if unit:
                    # A gradient of length 0 has no direction, and products of 0.
                    values = values / factors.squared_norms().sqrt().clamp_min(1e-30)[:, None]
                total[torch.from_numpy(rows)] += values
                del factors  # or the next batch's would be made beside them
        out[:, group] = (total / len(examples)).cpu().numpy()
    return out


def scores_by_position(
    engine: Gradients,
    examples: Examples,
    queries: Examples,
    preconditioner: Preconditioner | None = None,
) -> list[NDArray[np.float32]]:
    """Split each example's scores by its positions: a list of [q, positions].

    Padding is cut off. What has no position (a classifier's last layer) is left out, so that a sum
    may be short of the whole score by it. For few examples: the queries' gradients are held at
    once. ConfigError for a preconditioner that is not linear.
    """
    chosen = preconditioner or Identity()
    if not chosen.linear:
        raise ConfigError(f"{chosen.name} cannot be told apart by position: it is not linear")
    vectors = query_vectors(engine, queries, chosen)
    out: list[NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * len(examples)
    for rows, batch in examples:
        values = engine.factors(batch).scores_by_position(vectors).positions.cpu().numpy()
        for index, row in enumerate(rows):
            mask = slice(None) if batch.mask is None else batch.mask[index].cpu().numpy()
            out[row] = values[index][:, mask].astype(np.float32)
    return out


def gradient_lengths(engine: Gradients, examples: Examples, of: Of = "loss") -> NDArray[np.float32]:
    """Return each example's gradient norm [n], without forming it where that is cheaper."""
    out = np.empty(len(examples), np.float32)
    for rows, batch in examples:
        out[rows] = engine.factors(batch, of).squared_norms().sqrt().cpu().numpy()
    return out
