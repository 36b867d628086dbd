"""Logistic regression on hashed n-grams, by a truncated Newton method.

With the shares of n-grams of document i as row x_i, labels y_i in {-1, +1}, weights c_i, and a
penalty p_j of each bucket,

    min over (w, b)   1/2 sum_j p_j w_j^2 + sum_i c_i log(1 + exp(-y_i (w x_i + b)))

which is strictly convex in w; the intercept b is not penalised. Each Newton direction is found by
conjugate gradients with the diagonal of the Hessian as preconditioner, to a residual that falls
with the gradient (Nocedal and Wright, "Numerical Optimization", 2006, section 7.1), and followed
by a line search. Sums run in one order on one thread, so the same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.kernels.simd import INTS, eager
from dataworth.features.ngrams.hashed import HashedNgrams

Floats = NDArray[np.float64]
_ROUNDS, _PRODUCTS, _HALVINGS = 100, 200, 40

_IDS = "Array(uint32, 1, 'C', readonly=True)"
_READ = "Array(float64, 1, 'C', readonly=True)"
_MATRIX = f"{INTS}, {_IDS}, {_IDS}, {_READ}"


@eager(f"int64({INTS}, {_IDS}, uint32[::1], int64[::1], uint32[::1], uint32[::1])")
def _merge(spans, ids, seen, out_spans, out_ids, out_counts):  # type: ignore[no-untyped-def]
    """Join equal buckets of each row, in the order of first occurrence; return how many."""
    total = 0
    for row in range(len(spans) - 1):
        first = total
        for at in range(spans[row], spans[row + 1]):
            bucket = ids[at]
            if seen[bucket] == 0:
                out_ids[total] = bucket
                total += 1
            seen[bucket] += 1
        for at in range(first, total):
            bucket = out_ids[at]
            out_counts[at] = seen[bucket]
            seen[bucket] = 0
        out_spans[row + 1] = total
    return total


@eager(f"void({_MATRIX}, {_READ}, float64[::1])")
def _times(spans, ids, counts, scale, vector, out):  # type: ignore[no-untyped-def]
    """Write X v; the last entry of `vector` is the intercept's."""
    last = vector[len(vector) - 1]
    for row in range(len(spans) - 1):
        total = 0.0
        for at in range(spans[row], spans[row + 1]):
            total += counts[at] * vector[ids[at]]
        out[row] = total * scale[row] + last


@eager(f"void({_MATRIX}, {_READ}, float64[::1])")
def _transposed(spans, ids, counts, scale, residual, out):  # type: ignore[no-untyped-def]
    """Add X' r to `out`, of buckets and the intercept."""
    for row in range(len(spans) - 1):
        value = residual[row]
        out[len(out) - 1] += value
        value *= scale[row]
        for at in range(spans[row], spans[row + 1]):
            out[ids[at]] += counts[at] * value


@eager(f"void({_MATRIX}, {_READ}, float64[::1])")
def _diagonal(spans, ids, counts, scale, curvature, out):  # type: ignore[no-untyped-def]
    """Add the diagonal of X' diag(d) X to `out`."""
    for row in range(len(spans) - 1):
        value = curvature[row]
        out[len(out) - 1] += value
        value *= scale[row] * scale[row]
        for at in range(spans[row], spans[row + 1]):
            count = np.float64(counts[at])
            out[ids[at]] += count * count * value


@eager(f"void({_MATRIX}, {_READ}, {_READ}, float64[::1])")
def _curved(spans, ids, counts, scale, curvature, vector, out):  # type: ignore[no-untyped-def]
    """Add X' diag(d) X v to `out`: a row is read twice while it is in the cache."""
    last = len(vector) - 1
    for row in range(len(spans) - 1):
        total = 0.0
        for at in range(spans[row], spans[row + 1]):
            total += counts[at] * vector[ids[at]]
        value = (total * scale[row] + vector[last]) * curvature[row]
        out[last] += value
        value *= scale[row]
        for at in range(spans[row], spans[row + 1]):
            out[ids[at]] += counts[at] * value


@dataclass(frozen=True)
class Shares:
    """Shares of n-grams of `n` documents: sparse rows of `buckets` columns.

    Row i has the entries `counts[j] * row_scale[i]` in the columns `ids[j]`, for j from `spans[i]`
    to `spans[i + 1]`. `spans` int64 [n+1], `ids`, `counts` uint32, `row_scale` float64 [n].
    """

    spans: NDArray[np.int64]
    ids: NDArray[np.uint32]
    counts: NDArray[np.uint32]
    row_scale: Floats
    buckets: int

    def __len__(self) -> int:
        return len(self.row_scale)

    @staticmethod
    def of(feature: HashedNgrams, documents: Documents) -> Shares:
        """Return the shares of n-grams of some documents."""
        spans, ids = feature.rows(documents)
        out_spans = np.zeros(len(spans), np.int64)
        out_ids, counts = np.empty(len(ids), np.uint32), np.empty(len(ids), np.uint32)
        seen = np.zeros(feature.buckets, np.uint32)
        total = _merge(spans, ids, seen, out_spans, out_ids, counts)
        row_scale = 1.0 / np.maximum(np.diff(spans), 1)
        return Shares(
            out_spans, out_ids[:total].copy(), counts[:total].copy(), row_scale, feature.buckets
        )

    def take(self, rows: NDArray[np.int64]) -> Shares:
        """Return some rows, in the order given."""
        sizes = np.diff(self.spans)[rows]
        spans = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        at = np.arange(spans[-1]) + np.repeat(self.spans[rows] - spans[:-1], sizes)
        return Shares(spans, self.ids[at], self.counts[at], self.row_scale[rows], self.buckets)

    def above(self, other: Shares) -> Shares:
        """Return these rows with those of another below them."""
        return Shares(
            np.concatenate([self.spans, self.spans[-1] + other.spans[1:]]),
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.counts, other.counts]),
            np.concatenate([self.row_scale, other.row_scale]),
            self.buckets,
        )

    def times(self, vector: Floats) -> Floats:
        """Return the logit of each row, float64 [n], of weights [buckets + 1] with intercept."""
        out = np.empty(len(self))
        _times(self.spans, self.ids, self.counts, self.row_scale, vector, out)
        return out

    def mean(self, weights: Floats) -> Floats:
        """Return the mean row, float64 [buckets], of weighted documents [n]."""
        return self.add(_transposed, weights / weights.sum())[:-1]

    def add(self, kernel: Callable[..., None], *vectors: Floats) -> Floats:
        """Return what one of the kernels above adds to zeros, float64 [buckets + 1]."""
        out = np.zeros(self.buckets + 1)
        kernel(self.spans, self.ids, self.counts, self.row_scale, *vectors, out)
        return out


def train_logistic(
    rows: Shares,
    labels: NDArray[np.bool_],
    weights: Floats,
    penalty: Floats | float,
    *,
    tolerance: float = 1e-3,
) -> Floats:
    """Return the weights of a logistic regression, with its intercept last: float64 [buckets + 1].

    Parameters
    ----------
    rows : the documents' shares.
    labels : bool [n], True for the positive class.
    weights : float64 [n], how much each document counts in the loss.
    penalty : above 0, of each bucket, float64 [buckets], or of all.
    tolerance : the norm of the gradient at the end, as a share of that at zero weights, each in the
        variables in which all penalties are 1.
    """
    penalty = np.append(np.broadcast_to(penalty, rows.buckets), 0.0)
    unit = 1 / np.sqrt(np.where(penalty > 0, penalty, 1.0))
    signs = np.where(labels, 1.0, -1.0)
    solution, logits = np.zeros(rows.buckets + 1), np.zeros(len(rows))
    value, first = _objective(solution, penalty, logits, signs, weights), 0.0
    for _ in range(_ROUNDS):
        wrong = _sigmoid(-signs * logits)  # the probability of the other class
        gradient = rows.add(_transposed, -weights * signs * wrong) + penalty * solution
        norm = _norm(gradient * unit)
        first = first or norm
        if norm <= tolerance * first:
            break
        curvature = weights * wrong * (1 - wrong)
        step = _direction(rows, curvature, penalty, unit, gradient, _forcing(norm, first) * norm)
        change, slope = rows.times(step), _dot(gradient, step)
        size = 1.0
        for _ in range(_HALVINGS):
            moved = solution + size * step
            new = _objective(moved, penalty, logits + size * change, signs, weights)
            if new <= value + 1e-4 * size * slope:
                break
            size /= 2
        else:  # rounding: nothing better can be told apart
            break
        solution, logits, value = moved, logits + size * change, new
    return solution


def _forcing(norm: float, first: float) -> float:
    """Return the residual of a direction as a share of the gradient: the less, the nearer."""
    return float(min(0.1, np.sqrt(norm / first)))


def balanced(labels: NDArray[np.bool_]) -> Floats:
    """Return weights float64 [n] with which both classes count alike and the mean is 1."""
    sizes = np.bincount(labels, minlength=2)
    share: Floats = (len(labels) / (2 * np.maximum(sizes, 1)))[labels.astype(np.int64)]
    return share


def calibrate(logits: Floats, labels: NDArray[np.bool_], weights: Floats) -> tuple[float, float]:
    """Return Platt's (slope, intercept): the probability is the logistic of slope * z + intercept.

    Platt, "Probabilistic outputs for support vector machines", 1999: the targets are
    (N+ + 1)/(N+ + 2) and 1/(N- + 2) instead of 1 and 0, so that classes told apart without an
    error do not give endless slopes. Newton's method on the two parameters (Lin, Lin and Weng
    2007).
    """
    positives, negatives = int(labels.sum()), int((~labels).sum())
    target = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    spread = float(np.sqrt(np.mean(np.square(logits)))) or 1.0
    design = np.stack([logits / spread, np.ones(len(logits))], axis=1)

    def loss(at: Floats) -> float:
        z = logits / spread * at[0] + at[1]
        return _dot(weights, np.logaddexp(0, z) - target * z)

    solution = np.zeros(2)
    value = loss(solution)
    for _ in range(_ROUNDS):
        p = _sigmoid(logits / spread * solution[0] + solution[1])
        gradient = np.einsum("nk,n->k", design, weights * (p - target))
        hessian = np.einsum("nk,n,nl->kl", design, weights * p * (1 - p), design) + 1e-12 * np.eye(
            2
        )
        step, size = -np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-10 and loss(solution + size * step) > value + 1e-4 * size * gradient @ step:
            size /= 2
        solution = solution + size * step
        value = loss(solution)
        if np.abs(gradient).max() <= 1e-9 * weights.sum():
            break
    return float(solution[0] / spread), float(solution[1])


def _dot(left: Floats, right: Floats) -> float:
    """Return a sum of products in NumPy's order: BLAS sums otherwise on each number of cores."""
    return float(np.sum(left * right))


def _norm(vector: Floats) -> float:
    return float(np.sqrt(_dot(vector, vector)))


def _sigmoid(values: Floats) -> Floats:
    """Return 1 / (1 + exp(-z)), without overflow."""
    half: Floats = 0.5 * (1 + np.tanh(0.5 * values))
    return half


def _objective(
    solution: Floats, penalty: Floats, logits: Floats, signs: Floats, weights: Floats
) -> float:
    loss = _dot(weights, np.logaddexp(0, -signs * logits))
    return 0.5 * _dot(penalty * solution, solution) + loss


def _direction(
    rows: Shares,
    curvature: Floats,
    penalty: Floats,
    unit: Floats,
    gradient: Floats,
    residual: float,
) -> Floats:
    """Return -H^-1 g by preconditioned conjugate gradients, to a norm of the residual."""
    diagonal = np.maximum(rows.add(_diagonal, curvature) + penalty, 1e-300)
    step, left = np.zeros_like(gradient), -gradient
    scaled = left / diagonal
    along, size = scaled.copy(), _dot(left, scaled)
    for _ in range(_PRODUCTS):
        product = rows.add(_curved, curvature, along) + penalty * along
        length = size / _dot(along, product)
        step += length * along
        left -= length * product
        if _norm(left * unit) <= residual:
            break
        scaled = left / diagonal
        size, before = _dot(left, scaled), size
        along = scaled + (size / before) * along
    return step
