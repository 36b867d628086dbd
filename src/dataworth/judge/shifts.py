"""Which n-grams a selection has more or less of than the pool: in words, not buckets."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from dataworth.corpus.documents import Documents
from dataworth.features.ngrams import HashedNgrams

_TEXT_BYTES = 1_500_000
_LEAST_DOCUMENTS = 3
_WORDS = HashedNgrams()


@dataclass(frozen=True)
class Shift:
    """An n-gram with its rates per million n-grams, and the log of their ratio (add-one)."""

    ngram: str
    pool: float
    selection: float
    log_ratio: float


def ngram_shifts(
    pool: Documents, selection: Documents, *, most: int = 15
) -> tuple[list[Shift], list[Shift]]:
    """(gained, lost): those that tell the two apart best, by log ratio times square root of count.

    On at most 1.5 MB of text of each; an n-gram must be in three documents or more.
    """
    before, before_total, before_in = _counts(pool)
    after, after_total, after_in = _counts(selection)
    if not before_total or not after_total:
        return [], []
    scored = []
    for gram in before.keys() | after.keys():
        if before_in[gram] + after_in[gram] < _LEAST_DOCUMENTS:
            continue
        a, b = after[gram], before[gram]
        ratio = math.log((a + 1) / (after_total + 1)) - math.log((b + 1) / (before_total + 1))
        rate = (a + b) / (after_total + before_total)
        scored.append((ratio * math.sqrt(rate), gram, ratio))
    scored.sort(key=lambda item: (-item[0], item[1]))

    def shift(gram: str, ratio: float) -> Shift:
        return Shift(
            gram, 1e6 * before[gram] / before_total, 1e6 * after[gram] / after_total, ratio
        )

    gained = [shift(gram, ratio) for score, gram, ratio in scored[:most] if score > 0]
    lost = [shift(gram, ratio) for score, gram, ratio in scored[::-1][:most] if score < 0]
    return gained, lost


def _counts(documents: Documents) -> tuple[Counter[str], int, Counter[str]]:
    """(occurrences, their total, documents that hold it) of the first documents' n-grams."""
    enough = np.cumsum(documents.text_bytes) <= _TEXT_BYTES
    few = max(int(np.count_nonzero(enough)), min(1, len(documents)))
    counts: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    for row in range(few):
        grams = Counter(gram for gram, _ in _WORDS.grams(documents.text(row)))
        counts.update(grams)
        holders.update(grams.keys())
    return counts, counts.total(), holders
