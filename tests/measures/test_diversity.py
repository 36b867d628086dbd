"""Word n-grams and the variety of texts, against plain counting."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.features.grams import ngrams_of, words_of
from dataworth.measures.diversity import compression_ratio, distinct, like_sized
from features.twins import tokens_of
from methods.fitting import docs
from testdata import read_rows

texts = st.lists(st.text(st.sampled_from("ab .,"), max_size=30), max_size=8)


def plain(text: str, n: int) -> list[tuple[str, ...]]:
    words = tokens_of(text)
    return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]


@settings(deadline=None, derandomize=True)
@given(texts, st.integers(1, 5))
def test_ngrams_against_plain_ones(some: list[str], n: int) -> None:
    """Equal where the words are equal, else different; and never across documents."""
    made = ngrams_of(words_of(docs(some)), n)
    known: dict[tuple[str, ...], int] = {}
    for row, text in enumerate(some):
        hashes = made.hashes[made.spans[row] : made.spans[row + 1]].tolist()
        grams = plain(text, n)
        assert len(hashes) == len(grams)
        for gram, number in zip(grams, hashes, strict=True):
            assert known.setdefault(gram, number) == number
    assert len(set(known.values())) == len(known)
    assert len(made) == len(some)


@pytest.mark.parametrize("n", [1, 2, 3, 13])
def test_ngrams_of_real_text(small_pool: Path, n: int) -> None:
    some = [row["text"] for row in read_rows(small_pool)][:40]
    grams = [gram for text in some for gram in plain(text, n)]
    made = ngrams_of(words_of(docs(some)), n)
    assert len(made.hashes) == len(grams)
    assert len(np.unique(made.hashes)) == len(set(grams))
    assert distinct(docs(some), n) == len(set(grams)) / len(grams)
    assert distinct(some, n) == distinct(docs(some), n)


def test_distinct_by_hand() -> None:
    assert distinct(["a b a b"], 1) == 0.5
    assert distinct(["a b a b"], 2) == 2 / 3  # a b, b a, a b
    assert distinct(["a b", "a b"], 2) == 0.5  # "b a" would cross documents
    assert distinct(["a", "b"], 2) != distinct(["a b"], 2)
    for nothing in ([], [""], ["a"]):
        assert math.isnan(distinct(nothing, 2))


def test_words_without_signs() -> None:
    def grams(text: str) -> list[int]:
        return words_of(docs([text]), punctuation=False).hashes.tolist()

    assert grams("Don't stop -- now!") == grams("don t STOP now")
    assert grams("\u201cso\u201d \u2014 it\u2026 is") == grams("so it is")
    assert grams("a_b") == grams("a b")
    assert len(grams("漢字かな")) == 4  # written without spaces: a word each
    assert grams("naïve") == grams("naive") and len(grams("naïve")) == 1
    assert grams("… !?") == [] and grams("") == []
    with_signs = words_of(docs(["Don't stop!"]))
    assert with_signs.counts.tolist() == [5]


def test_compression() -> None:
    same, varied = ["the same words"] * 200, [f"{i * 7919 % 9973} {i}" for i in range(200)]
    assert compression_ratio(same) > 20 > compression_ratio(varied) > 1
    raw = "".join(text + "\n" for text in varied).encode()
    squeeze = zlib.compressobj(6)
    packed = squeeze.compress(raw) + squeeze.flush()
    assert compression_ratio(varied) == pytest.approx(len(raw) / len(packed), rel=0.01)
    assert math.isnan(compression_ratio([]))
    assert compression_ratio(docs(same)) == compression_ratio(same)


def test_like_sized() -> None:
    small, large = docs(["abc"] * 4), docs(["abcde"] * 100)
    a, b, size = like_sized(small, large, 1_000)
    assert (len(a), len(b), size) == (4, 2, 12)
    a, b, size = like_sized(small, large, 6)
    assert (len(a), len(b), size) == (2, 1, 6)
    a, b, size = like_sized(docs(["a giant text"]), large, 5)
    assert (len(a), len(b)) == (1, 1)
    a, b, size = like_sized(docs([]), large, 5)
    assert (len(a), size) == (0, 0)
