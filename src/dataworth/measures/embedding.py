"""Is an embedding fit for curating pretraining data? Measures against losses and sources.

After Sam et al. 2025 ("Analyzing Similarity Metrics for Data Selection for Language Model
Pretraining", arXiv 2502.02494), who ask whether (1) near documents have near pretraining losses,
(2) diversifying with the embedding trains a better model, (3) clusters separate the sources. Their
exact definitions could not be found; those here are ours, in closed form. A loss is that of a model
that was not trained on the document: float64 [n], or [n, c] for several checkpoints, where
differences are Euclidean.

Vectors are compared by cosine: center them first (`features.embeddings.fit_centring`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.uid import hash_uid
from dataworth.features.embeddings.base import unit_rows
from dataworth.measures.statistics import spearman

Floats = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]

_BLOCK = 1 << 25
_PAIRS, _SHUFFLE = 0x70616972, 0x73687566  # streams of `hash_uid`


@dataclass(frozen=True)
class Reduction:
    """The share of the loss's variance that clusters explain.

    `value`: 1 - within / total. `chance`: what as many random clusters explain, (K-1)/(N-1).
    `adjusted`: 1 - (1 - value)(N-1)/(N-K), 0 by chance. `clusters`: those with a document.
    """

    value: float
    adjusted: float
    chance: float
    clusters: int


def variance_reduction(loss: NDArray[np.floating[Any]], clusters: Labels) -> Reduction:
    """Return the reduction of the loss's variance within clusters, int [n], of any sizes.

    It is the R² of a regression on one indicator a cluster. NaN where all losses are equal, or
    every document is a cluster of its own.
    """
    values = _columns(loss)
    _, labels = np.unique(clusters, return_inverse=True)
    counts = np.bincount(labels)
    n, k = len(values), len(counts)
    centred = values - values.mean(axis=0)
    total = float(np.square(centred).sum())
    within = 0.0
    for column in centred.T:
        means = np.bincount(labels, column) / counts
        within += float(np.square(column - means[labels]).sum())
    if n < 2 or total == 0:
        return Reduction(float("nan"), float("nan"), float("nan"), k)
    value = 1 - within / total
    adjusted = 1 - (1 - value) * (n - 1) / (n - k) if n > k else float("nan")
    return Reduction(value, adjusted, (k - 1) / (n - 1), k)


def shuffled(labels: Labels, seed: int) -> Labels:
    """Return the labels in a random order: clusters of the same sizes that know nothing."""
    place = np.arange(len(labels), dtype=np.uint64)
    return labels[np.argsort(hash_uid(seed, place, _SHUFFLE))]


@dataclass(frozen=True)
class Predictability:
    """The fit of losses predicted by neighbours: `r2` = 1 - MSE / variance (below 0 is worse
    than the mean), `spearman`; `documents` that had `k` neighbours."""

    r2: float
    spearman: float
    documents: int


def neighbours(
    vectors: NDArray[np.floating[Any]],
    k: int = 10,
    *,
    rows: NDArray[np.int64] | None = None,
    groups: Labels | None = None,
) -> NDArray[np.int64]:
    """Return the `k` nearest other documents by cosine, exactly, nearest first, int64 [rows, k].

    `rows`: the documents to look for neighbours of (all). `groups` int [n]: documents of one's own
    group are no neighbours, such as chunks of one book; labels below 0 are no group. Where fewer
    than `k` are left, -1. Ties go to the smaller row.
    """
    unit = unit_rows(vectors)
    wanted = np.arange(len(unit)) if rows is None else np.asarray(rows, np.int64)
    out = np.full((len(wanted), k), -1, np.int64)
    if not len(unit):
        return out
    step = max(1, _BLOCK // len(unit))
    for start in range(0, len(wanted), step):
        mine = wanted[start : start + step]
        near = unit[mine] @ unit.T
        if groups is not None:
            own = groups[mine][:, None]
            near[(own == groups[None, :]) & (own >= 0)] = -np.inf
        near[np.arange(len(mine)), mine] = -np.inf
        out[start : start + step] = _top(near, k)
    return out


def _top(near: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Columns of the `k` largest finite values of each row, -1 where there are fewer."""
    width = min(k, near.shape[1])
    # Ties at the edge would come in any order: the smaller column first, as everywhere.
    edge = -np.partition(-near, width - 1, axis=1)[:, width - 1 : width]
    out = np.full((len(near), k), -1, np.int64)
    for row in range(len(near)):
        columns = np.flatnonzero(near[row] >= edge[row])
        columns = columns[np.isfinite(near[row, columns])]
        best = columns[np.argsort(-near[row, columns], kind="stable")][:width]
        out[row, : len(best)] = best
    return out


def knn_prediction(near: NDArray[np.int64], loss: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The mean loss of each row's neighbours, float64 [rows] or [rows, c]; NaN where one is -1."""
    values = np.asarray(loss, np.float64)
    guess: NDArray[np.float64] = values[near].mean(axis=1)
    guess[(near < 0).any(axis=1)] = np.nan
    return guess


def knn_predictability(
    near: NDArray[np.int64],
    loss: NDArray[np.floating[Any]],
    *,
    rows: NDArray[np.int64] | None = None,
) -> Predictability:
    """Return the mean loss of each document's neighbours as a prediction of its own.

    `near`: what `neighbours` gave for `rows`; `loss` [n] or [n, c] of all documents. Spearman is of
    the first column. Documents with fewer than k neighbours are left out.
    """
    values = _columns(loss)
    guess = knn_prediction(near, values)
    own = values if rows is None else values[rows]
    full = np.isfinite(guess).all(axis=1)
    if full.sum() < 2:
        return Predictability(float("nan"), float("nan"), int(full.sum()))
    own, guess = own[full], guess[full]
    spread = float(np.square(own - own.mean(axis=0)).sum())
    r2 = 1 - float(np.square(own - guess).sum()) / spread if spread > 0 else float("nan")
    return Predictability(r2, spearman(own[:, 0], guess[:, 0]), int(full.sum()))


@dataclass(frozen=True)
class PairCurve:
    """The difference between the losses of two documents, as a function of their cosine.

    `edges` float64 [bins+1] of cosine, `difference` float64 [bins] the mean |Δ loss|, NaN without
    pairs, `pairs` int64 [bins]. `random`: Spearman of cosine and -|Δ loss| over random pairs;
    `near`: the same over the pairs of nearest documents. `ratio`: the mean |Δ loss| of near pairs
    over that of random ones, below 1 if near documents have near losses.
    """

    edges: Floats
    difference: Floats
    pairs: NDArray[np.int64]
    random: float
    near: float
    ratio: float


def pair_curve(
    vectors: NDArray[np.floating[Any]],
    loss: NDArray[np.floating[Any]],
    *,
    pairs: int = 200_000,
    bins: int = 20,
    top: float = 0.01,
    near: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> PairCurve:
    """Return the pair curve over random pairs, and over near ones.

    Near pairs: the `top` share of the random pairs by cosine, or, if given, of each document and
    its neighbours `near` int64 [n, k] (-1: none). Bins hold as many random pairs each, so their
    edges are quantiles of the cosine.
    """
    unit, values = unit_rows(vectors), _columns(loss)
    left, right = random_pairs(len(unit), pairs, seed)
    cosine, apart = _compare(unit, values, left, right)
    edges = np.quantile(cosine, np.linspace(0, 1, bins + 1)) if len(cosine) else np.zeros(bins + 1)
    place = np.clip(np.searchsorted(edges, cosine, side="right") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        difference = np.bincount(place, apart, bins) / count
    if near is None:
        close = np.argsort(-cosine, kind="stable")[: max(2, round(top * len(cosine)))]
        near_cosine, near_apart = cosine[close], apart[close]
    else:
        own = np.repeat(np.arange(len(near)), near.shape[1])
        other = near.ravel()
        near_cosine, near_apart = _compare(unit, values, own[other >= 0], other[other >= 0])
    mean = apart.mean() if len(apart) else float("nan")
    return PairCurve(
        edges,
        difference,
        count,
        spearman(cosine, -apart),
        spearman(near_cosine, -near_apart),
        float(near_apart.mean() / mean) if len(near_apart) and mean > 0 else float("nan"),
    )


def random_pairs(n: int, pairs: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random pairs of two different of `n` rows; none for fewer than two rows."""
    if n < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    place = np.arange(2 * pairs, dtype=np.uint64)
    draws = hash_uid(seed, place, _PAIRS)
    left = (draws[:pairs] % np.uint64(n)).astype(np.int64)
    step = (draws[pairs:] % np.uint64(n - 1)).astype(np.int64) + 1
    return left, (left + step) % n


def _compare(
    unit: NDArray[np.float32], values: Floats, left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Cosine and distance of the losses of some pairs."""
    cosine = np.empty(len(left))
    for start in range(0, len(left), 1 << 14):
        part = slice(start, start + (1 << 14))
        cosine[part] = np.einsum("nd,nd->n", unit[left[part]], unit[right[part]])
    return cosine, np.linalg.norm(values[left] - values[right], axis=1)


def purity(clusters: Labels, sources: Labels) -> float:
    """Share of documents whose source is the commonest of their cluster: 1/N Σ_c max_s n_cs.

    One cluster for all has the share of the largest source: the baseline.
    """
    table = contingency(clusters, sources)
    return float(table.max(axis=1).sum() / table.sum()) if table.size else float("nan")


def nmi(clusters: Labels, sources: Labels) -> float:
    """Normalised mutual information, I(C; S) / mean(H(C), H(S)); 0 if one of both is constant.

    It grows with the number of clusters, also for clusters that know nothing: compare at equal K,
    or with `shuffled` labels.
    """
    table = contingency(clusters, sources).astype(np.float64)
    if not table.size:
        return float("nan")
    joint = table / table.sum()
    p, q = joint.sum(axis=1), joint.sum(axis=0)
    seen = joint > 0
    shared = float(np.sum(joint[seen] * np.log(joint[seen] / np.outer(p, q)[seen])))
    entropy = -float(np.sum(p * np.log(p))) / 2 - float(np.sum(q * np.log(q))) / 2
    return max(shared, 0.0) / entropy if entropy > 0 and min(len(p), len(q)) > 1 else 0.0


def contingency(clusters: Labels, sources: Labels) -> NDArray[np.int64]:
    """Documents of each cluster and source, int64 [clusters, sources], those that occur."""
    _, rows = np.unique(clusters, return_inverse=True)
    _, columns = np.unique(sources, return_inverse=True)
    if not len(rows):
        return np.empty((0, 0), np.int64)
    width = int(columns.max()) + 1
    counts = np.bincount(rows * width + columns, minlength=(int(rows.max()) + 1) * width)
    return counts.reshape(-1, width)


def source_accuracy(
    near: NDArray[np.int64], sources: Labels, *, rows: NDArray[np.int64] | None = None
) -> float:
    """Share of documents whose neighbours vote for their own source.

    Of sources with as many votes, the one of the nearest neighbour among them counts. Documents
    without a neighbour are left out.
    """
    own = sources if rows is None else sources[rows]
    right = total = 0
    for mine, nearest in zip(own.tolist(), near, strict=True):
        votes = sources[nearest[nearest >= 0]]
        if not len(votes):
            continue
        values, first, counts = np.unique(votes, return_index=True, return_counts=True)
        best = np.lexsort((first, -counts))[0]
        right += int(values[best]) == mine
        total += 1
    return right / total if total else float("nan")


@dataclass(frozen=True)
class Residual:
    """`values` float64, what the covariates leave of the loss (its mean kept), and their `r2`."""

    values: Floats
    r2: float


def residualise(
    loss: NDArray[np.floating[Any]],
    numbers: Mapping[str, NDArray[Any]] | None = None,
    labels: Mapping[str, NDArray[Any]] | None = None,
) -> Residual:
    """Return the loss without what trivial signals explain, by least squares.

    `numbers`: covariates [n], such as the logarithm of the length or the chunk's position; each
    comes in with its square. `labels`: one indicator a value, such as the language. The residual is
    orthogonal to all of them.
    """
    values = _columns(loss)
    n = len(values)
    design = [np.ones(n)]
    for number in (numbers or {}).values():
        column = np.asarray(number, np.float64)
        spread = column.std()
        if spread > 0:
            column = (column - column.mean()) / spread
            design += [column, np.square(column)]
    for label in (labels or {}).values():
        solution, places = np.unique(label, return_inverse=True)
        design += [(places == value).astype(np.float64) for value in range(1, len(solution))]
    matrix = np.stack(design, axis=1)
    weights, *_ = np.linalg.lstsq(matrix, values, rcond=None)
    rest = values - matrix @ weights
    total = float(np.square(values - values.mean(axis=0)).sum())
    r2 = 1 - float(np.square(rest).sum()) / total if total > 0 else float("nan")
    kept = rest + values.mean(axis=0)
    return Residual(kept[:, 0] if np.ndim(loss) == 1 else kept, r2)


def _columns(loss: NDArray[np.floating[Any]]) -> Floats:
    """Losses as float64 [n, c]."""
    values = np.asarray(loss, np.float64)
    return values[:, None] if values.ndim == 1 else values
