"""n-gram shifts against plain counting of n-grams in words."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dataworth.measures import shifts
from dataworth.measures.shifts import ngram_shifts
from features.twins import ngrams_of, tokens_of
from methods.fitting import docs
from testdata import read_rows


def plain(pool: list[str], selection: list[str]) -> dict[str, tuple[float, float, float, float]]:
    """n-gram → (rate in pool, rate in selection, log ratio, score), for those in 3 documents."""
    counts, holders = (Counter(), Counter()), Counter()
    for side, texts in enumerate((pool, selection)):
        for text in texts:
            grams = [" ".join(gram) for gram in ngrams_of(tokens_of(text), 2)]
            counts[side].update(grams)
            holders.update(set(grams))
    before, after = (sum(count.values()) for count in counts)
    found = {}
    for gram, documents in holders.items():
        b, a = counts[0][gram], counts[1][gram]
        both = before + after
        ratio = math.log((a / after + 1 / both) / (b / before + 1 / both))
        score = ratio * math.sqrt((a + b) / both)
        if documents >= 3:
            found[gram] = (1e6 * b / before, 1e6 * a / after, ratio, score)
    return found


@pytest.mark.parametrize("most", [15, 2_000])
def test_against_a_plain_twin(small_pool: Path, most: int) -> None:
    rows = list(read_rows(small_pool))[:100]
    pool = [row["text"] for row in rows]
    selection = [row["text"] for row in rows if row["domain"] in ("math", "code")]
    twin = plain(pool, selection)
    gained, lost = ngram_shifts(docs(pool), docs(selection), most=most)
    for sign, found in ((1, gained), (-1, lost)):
        scores = sorted((sign * s[3] for s in twin.values() if sign * s[3] > 0), reverse=True)
        assert len(found) == min(most, len(scores))
        for shift, score in zip(found, scores, strict=False):
            pool_rate, rate, ratio, own = twin[shift.ngram]
            assert (shift.pool, shift.selection) == pytest.approx((pool_rate, rate))
            assert shift.log_ratio == pytest.approx(ratio)
            assert sign * own == pytest.approx(score)
    assert len({shift.ngram for shift in gained + lost}) == len(gained + lost)


def test_words_of_two_documents_are_left_out() -> None:
    pool = docs(["the same text here"] * 5)
    gained, _ = ngram_shifts(pool, docs(["new", "new"]))
    assert gained == []
    gained, lost = ngram_shifts(pool, docs(["new", "new", "new old"] + ["plain words"] * 10))
    assert {shift.ngram for shift in gained} == {"new", "plain", "words", "plain words"}
    assert {"same text", "here"} < {shift.ngram for shift in lost}


def test_a_small_selection_gains_nothing_that_it_lacks() -> None:
    """However few n-grams it has: what is rarer there than in the pool was lost."""
    pool = docs(["the same text here"] * 500 + ["seldom said"] * 5)
    gained, lost = ngram_shifts(pool, docs(["the same text here"]))
    assert all(shift.selection > shift.pool for shift in gained)
    assert {shift.ngram for shift in lost} == {"seldom", "said", "seldom said"}
    assert all(shift.log_ratio < 0 for shift in lost)


def test_no_change() -> None:
    texts = docs(["a b c", "a b", "a c"])
    assert ngram_shifts(texts, texts) == ([], [])


@pytest.mark.parametrize("nothing", [[], [""], [" ", "\n"]])
def test_nothing_to_compare(nothing: list[str]) -> None:
    some = docs(["a b c"] * 3)
    assert ngram_shifts(some, docs(nothing)) == ([], [])
    assert ngram_shifts(docs(nothing), some) == ([], [])


def test_documents_without_words_among_others() -> None:
    pool, selection = docs(["", "a b", "a", " ", "a"]), docs([" ", "c", "c", "c", ""])
    gained, lost = ngram_shifts(pool, selection)
    assert [shift.ngram for shift in gained] == ["c"] and lost[0].ngram == "a"


def test_large_texts_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shifts, "_TEXT_BYTES", 1_000)
    first = ["early word"] * 100
    gained, _ = ngram_shifts(docs(["x y"] * 9), docs(first + ["late"] * 500))
    assert {shift.ngram for shift in gained} == {"early", "word", "early word"}
    # A giant at the beginning is still looked at.
    giant = docs(["much " * 1_000, "more"])
    assert len(shifts._few(giant)) == 1 and len(shifts._few(giant.take(np.arange(0)))) == 0
