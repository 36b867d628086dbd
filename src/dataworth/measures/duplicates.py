"""Texts that a selection holds more than once: to the byte, and nearly.

Near: sketches of 48 bins of 5-word shingles (`features.sketches`), 192 bytes a document. Documents
that share one of 8 bands of 6 bins are compared; they are near duplicates if the Jaccard similarity
that the bins estimate is at least 0.7. Of pairs with similarity s, a share of 1 - (1 - s^6)^8 is
compared: 0.998 at 0.9, 0.91 at 0.8, 0.63 at 0.7, 0.12 at 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError, DataworthError
from dataworth.features.grams import Words, words_of
from dataworth.features.sketches import band_keys, estimated_jaccard, sketch_words

SHINGLE = 5
BINS = 48
BANDS = 8
ALIKE = 0.7
MEASURED = (
    f"Sketches of {SHINGLE}-word shingles, {BINS} bins; estimated Jaccard similarity of {ALIKE} or "
    "more"
)


@dataclass(frozen=True)
class Exact:
    """`repeated`: documents whose text came before; `largest`: copies of the most frequent text."""

    documents: int
    distinct: int
    repeated: int
    largest: int


def kept_shares(
    similarity: NDArray[np.floating[Any]], epsilons: Sequence[float]
) -> dict[float, float]:
    """Return the share of documents that a deduplication by meaning keeps, for several epsilons.

    `similarity` [n]: the greatest cosine of each document with one before it in its cluster, NaN
    for documents that it never saw; those above 1 - epsilon go.
    """
    counts = _compared(similarity)
    return {e: float(np.mean(counts <= np.float32(1 - e))) for e in epsilons}


def epsilon_for(similarity: NDArray[np.floating[Any]], share: float) -> float:
    """Return the greatest epsilon, to five decimals, that keeps at least a share of documents.

    `similarity` as of `kept_shares`. Raises ConfigError for a share outside (0, 1], DataworthError
    where no epsilon above 0 does: so many documents are copies.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"the share to keep must be above 0 and at most 1, not {share:g}")
    ordered = np.sort(_compared(similarity))
    bound = float(ordered[int(np.ceil(share * len(ordered) - 1e-9)) - 1])
    epsilon = float(np.floor((1 - bound) * 1e5 + 1e-3) / 1e5)
    if epsilon <= 0:
        most = float(np.mean(ordered < 1 - 1e-5))
        raise DataworthError(
            f"no epsilon keeps {share:.1%} of the documents: {1 - most:.1%} are copies of others"
        )
    return epsilon


def _compared(similarity: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    known = np.asarray(similarity, np.float32)
    known = known[~np.isnan(known)]
    if not len(known):
        raise DataworthError("no document was compared with others: there is no similarity")
    return known


def exact(uid: NDArray[np.uint64], copies: NDArray[np.integer] | None = None) -> Exact:
    """Exact duplicates by uid. `copies` [n]: how often each document is there; None: once."""
    if not len(uid):
        return Exact(0, 0, 0, 0)
    many = np.ones(len(uid), np.int64) if copies is None else copies.astype(np.int64)
    distinct, place = np.unique(uid, return_inverse=True)
    counts = np.bincount(place, many).astype(np.int64)
    total = int(counts.sum())
    return Exact(total, len(distinct), total - len(distinct), int(counts.max()))


def sketches(documents: Documents) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return (a sketch of each document uint32 [n, 48], whether it has one bool [n]).

    A text without a word has none. One of fewer than five words is one shingle.
    """
    return sketches_of(words_of(documents, punctuation=False))


def sketches_of(words: Words) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """`sketches` of words that were cut before."""
    return sketch_words(words, SHINGLE, BINS)


def near(sketch: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the group of near duplicates of each document, int64 [n]: its first member's row.

    `sketch` uint32 [n, 48], of different texts. Groups are chains: a member is near to one other.
    """
    n = len(sketch)
    parent = np.arange(n)
    for packed in band_keys(sketch, BANDS).T:
        order = np.argsort(packed, kind="stable")
        same = packed[order[1:]] == packed[order[:-1]]
        # To the first of those with one key, and to the one before.
        starts = np.flatnonzero(np.concatenate([[True], ~same])) if n else np.empty(0, np.int64)
        sizes = np.diff(np.append(starts, n))
        leader = order[np.repeat(starts, sizes)]
        later = np.flatnonzero(np.concatenate([[False], same])) if n else starts
        pairs = {(int(a), int(b)) for a, b in zip(leader[later], order[later], strict=True)}
        pairs |= {(int(a), int(b)) for a, b in zip(order[later - 1], order[later], strict=True)}
        if not pairs:
            continue
        both = np.array(sorted(pairs))
        alike = estimated_jaccard(sketch[both[:, 0]], sketch[both[:, 1]]) >= ALIKE
        for a, b in both[alike].tolist():
            _join(parent, a, b)
    return np.array([_root(parent, row) for row in range(n)], np.int64)


def _root(parent: NDArray[np.int64], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = int(parent[row])
    return row


def _join(parent: NDArray[np.int64], a: int, b: int) -> None:
    first, second = sorted((_root(parent, a), _root(parent, b)))
    parent[second] = first
