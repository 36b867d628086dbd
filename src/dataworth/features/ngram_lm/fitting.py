"""Interpolated modified Kneser-Ney smoothing, as KenLM's lmplz estimates without pruning.

Chen and Goodman, "An empirical study of smoothing techniques for language modeling", 1998, section
3; Heafield et al., "Scalable modified Kneser-Ney language model estimation", ACL 2013. The longest
n-grams, and those that begin a line, count as often as they occur; the others by the different
words before them. With a(hw) these counts, S(h) their sum over w, and t_i the n-grams of one length
that count i,

    Y = t1 / (t1 + 2 t2)    D1 = 1 - 2 Y t2/t1    D2 = 2 - 3 Y t3/t2    D3 = 3 - 4 Y t4/t3
    p(w | h) = (a(hw) - D(a(hw))) / S(h) + g(h) p(w | h without its first word)
    g(h) = sum over w of D(a(hw)) / S(h)

and a word alone falls back to 1 / V, V being all words but <s>.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.errors import DataworthError
from dataworth.features.ngram_lm import kernels
from dataworth.features.ngram_lm.kernels import BEGIN, END, SPECIALS
from dataworth.features.ngram_lm.model import (
    NgramModel,
    empty_table,
    lines_of,
    word_table,
)
from dataworth.features.ngrams import HashedNgrams

log = logging.getLogger("dataworth")
_FALLBACK = (0.5, 1.0, 1.5)  # of lmplz, where counts are too few or too regular

Ints = NDArray[np.int32]
Counts = NDArray[np.int64]


def fit_ngram_model(
    documents: Documents,
    order: int = 5,
    tokens: str = "wordpunct",
    *,
    minimum: int = 1,
    like: NgramModel | None = None,
) -> NgramModel:
    """Fit an n-gram model on the lines of documents.

    Parameters
    ----------
    documents : what it is fitted on; lines without a word do not count.
    order : the longest n-gram, 1 or more.
    tokens : what a word is, as in `HashedNgrams`.
    minimum : words that occur less often count as unknown.
    like : a model whose vocabulary is taken; other words count as unknown.

    Raises
    ------
    DataworthError : no document has a word.
    """
    feature = HashedNgrams(1, 2, tokens)
    _, lines = lines_of(documents)
    spans, hashes = feature.hashes(lines)
    if not len(hashes):
        raise DataworthError("an n-gram model needs text: no document has a word")
    if like is None:
        text, known = _vocabulary(feature, lines, hashes, minimum)
    else:
        text, known = like.text, like.hashes
    ids = _stream(spans, hashes, known)
    prefixes, suffixes, last, counts = _count(ids, order, len(known) + SPECIALS)
    adjusted = _adjust(prefixes, suffixes, last, counts)
    log_prob, backoff = _smooth(prefixes, suffixes, adjusted)
    sizes = np.array([len(one) for one in counts], np.int64)
    starts = np.cumsum(sizes) - sizes
    for n in range(1, len(sizes)):  # numbers among all n-grams
        prefixes[n] += np.int32(starts[n - 1])
        suffixes[n] += np.int32(starts[n - 1])
    return NgramModel(
        tokens,
        text,
        known,
        sizes,
        np.concatenate(prefixes),
        np.concatenate(suffixes),
        np.concatenate(last),
        np.concatenate(log_prob).astype(np.float32),
        np.concatenate(backoff).astype(np.float32),
    )


def _vocabulary(
    feature: HashedNgrams, lines: Documents, hashes: NDArray[np.uint64], minimum: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Return the words that occur often enough, in order of occurrence: text and hashes."""
    table = empty_table(len(hashes))
    firsts = np.empty(len(hashes), np.int64)
    firsts = firsts[: kernels.collect_words(hashes, table, firsts)]
    if minimum > 1:
        ids = np.empty(len(hashes), np.int32)
        kernels.number_words(hashes, table, ids)
        firsts = firsts[np.bincount(ids - SPECIALS) >= minimum]
    text, ends = feature.words(lines)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])[firsts]
    sizes = ends[firsts] + 1 - starts
    # The bytes of word i are starts[i] onwards: one index for each byte, word after word.
    steps = np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
    return text[steps + np.arange(len(steps))], hashes[firsts]


def _stream(
    spans: NDArray[np.int64], hashes: NDArray[np.uint64], known: NDArray[np.uint64]
) -> Ints:
    """Number all words, each line that has one within BEGIN and END."""
    numbers = np.empty(len(hashes), np.int32)
    kernels.number_words(hashes, word_table(known), numbers)
    counts = np.diff(spans)
    counts = counts[counts > 0]
    ids = np.empty(len(hashes) + 2 * len(counts), np.int32)
    begins = np.cumsum(counts + 2) - counts - 2
    inside = np.ones(len(ids), np.bool_)
    inside[begins] = inside[begins + counts + 1] = False
    ids[begins], ids[begins + counts + 1], ids[inside] = BEGIN, END, numbers
    return ids


def _count(
    ids: Ints, order: int, words: int
) -> tuple[list[Ints], list[Ints], list[Ints], list[Counts]]:
    """Return prefix, suffix, last word and occurrences of each n-gram, by length."""
    none = np.full(words, -1, np.int32)
    prefixes, suffixes, last = [none], [none.copy()], [np.arange(words, dtype=np.int32)]
    counts: list[Counts] = [np.bincount(ids, minlength=words)]
    below = ids
    for _ in range(1, order):
        room = len(ids)
        at, prefix, suffix = np.empty((3, room), np.int32)
        occurs = np.empty(room, np.int64)
        table = empty_table(room)
        total = kernels.count_ngrams(ids, below, at, table, prefix, suffix, occurs)
        if not total:
            log.warning("no line is long enough for n-grams of %d words", len(counts) + 1)
            break
        ends = np.empty(total, np.int32)
        ends[at[at >= 0]] = ids[at >= 0]
        prefixes.append(prefix[:total].copy())
        suffixes.append(suffix[:total].copy())
        last.append(ends)
        counts.append(occurs[:total].copy())
        below = at
    return prefixes, suffixes, last, counts


def _adjust(
    prefixes: list[Ints], suffixes: list[Ints], last: list[Ints], counts: list[Counts]
) -> list[Counts]:
    """Adjust the counts a(hw) of each length; <s> is never predicted and counts 0."""
    adjusted = []
    first = last[0]
    for n, occurs in enumerate(counts):
        first = first[prefixes[n]] if n else first
        if n + 1 < len(counts):
            different = np.bincount(suffixes[n + 1], minlength=len(occurs))
            occurs = np.where(first == BEGIN, occurs, different)
        adjusted.append(occurs)
    adjusted[0] = np.where(np.arange(len(adjusted[0])) == BEGIN, 0, adjusted[0])
    return adjusted


def _discounts(adjusted: Counts) -> NDArray[np.float64]:
    """Estimate D of counts 0, 1, 2, and 3 and more; lmplz's fallback where one is out of range."""
    t1, t2, t3, t4 = (float(np.count_nonzero(adjusted == i)) for i in (1, 2, 3, 4))
    if t1 and t2 and t3:
        y = t1 / (t1 + 2 * t2)
        discounts = (1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3)
        if all(0 < d <= i for i, d in enumerate(discounts, 1)):
            return np.array([0.0, *discounts])
    return np.array([0.0, *_FALLBACK])


def _smooth(
    prefixes: list[Ints], suffixes: list[Ints], adjusted: list[Counts]
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Return log10 of probabilities and of backoffs of each length."""
    logs, backoffs = [], []
    below = np.full(1, 1 / (len(adjusted[0]) - 1))  # <s> is no word to predict
    for n, counts in enumerate(adjusted):
        # Of one word, all have the same prefix and suffix: nothing.
        prefix = prefixes[n] if n else np.zeros(len(counts), np.int64)
        suffix = suffixes[n] if n else prefix
        contexts = len(adjusted[n - 1]) if n else 1
        taken = _discounts(counts)[np.minimum(counts, 3)]
        sums = np.bincount(prefix, counts, contexts)
        free = np.bincount(prefix, taken, contexts) / np.maximum(sums, 1)
        own = (counts - taken) / sums[prefix]
        below = own + free[prefix] * below[suffix]
        if n:
            backoffs.append(np.log10(np.where(sums > 0, free, 1.0)))
        logs.append(np.log10(below))
    logs[0][BEGIN] = -99.0
    backoffs.append(np.zeros(len(logs[-1])))
    return logs, backoffs
