"""Gain: how much better a selection's words predict the target's than random documents' do.

    q(w) = 0.9 · selection(w) + 0.1 · pool(w)
    gain = mean over the target's words w of  log q(w) - log q_random(w),   in nats per word

where selection(w) and pool(w) are the shares of a word (runs of word characters or of signs,
lower-cased), and q_random is the same for random documents of the pool of as much text. It is the
likelihood of a mixture language model as it is used in retrieval (Jelinek-Mercer smoothing, Zhai
and Lafferty, "A Study of Smoothing Methods for Language Models", 2004), asked for the target.

A word that a selection lacks costs at most log 10 more than the pool's own, so a small selection is
not rewarded for covering rare words, as it is by a small floor. One weight of the pool serves all
budgets: it was chosen among others by how the gain goes with the loss of models trained on
selections (benchmarks/results/ruler.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.features.ngrams import HashedNgrams

WORDS = HashedNgrams(ngrams=1, buckets=2**31, tokens="mixed")
POOL_SHARE = 0.1
DRAWS = 10
_TEXT_BYTES = 4 * 2**20  # looked at of each side
_PRIOR_BYTES = 16 * 2**20
_UNSEEN = 0.5  # of a word in the pool's counts
_STREAM = 0x6761696E  # of `hash_uid`, for the random selections
MEASURED = f"words, {POOL_SHARE:.0%} of the pool's mixed in, at equal size"


@dataclass(frozen=True)
class Gain:
    """`value` in nats per word of the target; `bound`: of a selection just like the target.

    `random_spread`: standard deviation over `draws` random selections of the same size.
    `documents`: how many of the selection it was measured on.
    """

    value: float
    bound: float
    random_spread: float
    draws: int
    documents: int


@dataclass(frozen=True)
class Sightings:
    """Places of the target's words in documents, to count any part of these fast.

    `places`: of each word, its number in the vocabulary of `size` words, or -1; `spans` int64
    [n + 1]: where each document's words begin.
    """

    spans: NDArray[np.int64]
    places: NDArray[np.int64]
    size: int

    def shares(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the share of each word of the vocabulary in some of the documents."""
        sizes = self.spans[rows + 1] - self.spans[rows]
        total = int(sizes.sum())
        at = np.repeat(self.spans[rows] - (np.cumsum(sizes) - sizes), sizes) + np.arange(total)
        places = self.places[at]
        counts: NDArray[np.int64] = np.bincount(places[places >= 0], minlength=self.size)
        return counts / max(total, 1)


class Ruler:
    """A target's words, and the pool's shares of them.

    `pool`: random documents of the pool; at most 16 MiB are looked at.
    """

    def __init__(self, target: Documents, pool: Documents) -> None:
        pool = pool.take(_beginning(pool, _PRIOR_BYTES, 0))
        ids = WORDS.rows(target)[1]
        self._vocabulary, counts = np.unique(ids, return_counts=True)
        self.target = counts / max(len(ids), 1)
        whole = self.look(pool)
        seen = np.bincount(whole.places[whole.places >= 0], minlength=len(counts)) + _UNSEEN
        self.pool = seen / (len(whole.places) + _UNSEEN * len(counts))

    def look(self, documents: Documents) -> Sightings:
        """Return where the target's words stand in documents."""
        spans, ids = WORDS.rows(documents)
        size = len(self._vocabulary)
        if not size:
            return Sightings(spans, np.full(len(ids), -1, np.int64), 0)
        places = np.searchsorted(self._vocabulary, ids)
        places[places == size] = 0
        return Sightings(spans, np.where(self._vocabulary[places] == ids, places, -1), size)

    def likelihood(self, shares: NDArray[np.float64], pool_share: float = POOL_SHARE) -> float:
        """Return the mean of log q over the target's words for a selection's `shares`, in nats."""
        q = (1 - pool_share) * shares + pool_share * self.pool
        return float(self.target @ np.log(q))


def gain(target: Documents, pool: Documents, selection: Documents, *, seed: int = 0) -> Gain:
    """Return the gain of a selection for one target; `pool` is a random sample of the pool.

    Both sides are measured on at most 4 MiB, random documents of them.
    """
    head = selection.take(_beginning(selection, _TEXT_BYTES, seed))
    ruler = Ruler(target, pool)
    draws = _random(ruler, pool, int(head.text_bytes.sum()), seed)
    mean = float(np.mean(draws)) if draws else float("nan")
    own = ruler.likelihood(ruler.look(head).shares(np.arange(len(head))))
    return Gain(
        value=own - mean,
        bound=ruler.likelihood(ruler.target) - mean,
        random_spread=float(np.std(draws, ddof=1)) if len(draws) > 1 else float("nan"),
        draws=len(draws),
        documents=len(head),
    )


def _random(ruler: Ruler, pool: Documents, size: int, seed: int) -> list[float]:
    """Likelihoods of random documents, about `size` bytes each time, none twice; at most `DRAWS`.

    Where the pool has fewer bytes, of all of it.
    """
    # A draw ends with the document that reaches its size.
    beyond = int(np.quantile(pool.text_bytes, 0.99)) if len(pool) else 0
    order = _beginning(pool, DRAWS * (size + beyond), seed)
    seen, ends = ruler.look(pool.take(order)), np.cumsum(pool.text_bytes[order])
    likelihoods: list[float] = []
    start = 0
    while len(likelihoods) < DRAWS and start < len(order):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + size)) + 1
        if stop > len(order):
            break
        likelihoods.append(ruler.likelihood(seen.shares(np.arange(start, stop))))
        start = stop
    if not likelihoods and len(order):
        likelihoods = [ruler.likelihood(seen.shares(np.arange(len(order))))]
    return likelihoods


def _beginning(documents: Documents, size: int, seed: int) -> NDArray[np.int64]:
    """Rows of random documents of about `size` bytes in all."""
    order = np.argsort(hash_uid(seed, documents.uid, _STREAM), kind="stable")
    enough = int(np.searchsorted(np.cumsum(documents.text_bytes[order]), size)) + 1
    return order[:enough]
