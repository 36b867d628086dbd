"""Exact copies by hand; near ones against the true Jaccard similarity of shingles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError, DataworthError
from dataworth.features.grams import ngrams_of, words_of
from dataworth.measures import duplicates
from dataworth.measures.duplicates import BINS, epsilon_for, exact, kept_shares, near, sketches
from methods.fitting import docs
from testdata import read_rows


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 9), max_size=30))
def test_exact(values: list[int]) -> None:
    uid = np.array(values, np.uint64)
    found = exact(uid)
    counts = [values.count(value) for value in set(values)]
    assert found.documents == len(values) and found.distinct == len(counts)
    assert found.repeated == sum(counts) - len(counts)
    assert found.largest == max(counts, default=0)


def test_exact_with_copies() -> None:
    found = exact(np.array([7, 8, 7], np.uint64), np.array([3, 1, 2], np.uint16))
    assert (found.documents, found.distinct, found.repeated, found.largest) == (6, 2, 4, 5)


def shingles(text: str) -> set[int]:
    words = words_of(docs([text]), punctuation=False)
    return set(ngrams_of(words, duplicates.SHINGLE).hashes.tolist())


def changed(text: str, share: float, random: np.random.Generator) -> str:
    """The text with a share of its words replaced."""
    words = text.split()
    for place in np.flatnonzero(random.random(len(words)) < share):
        words[place] = f"w{random.integers(10**9)}"
    return " ".join(words)


@pytest.fixture(scope="module")
def texts(small_pool: Path) -> list[str]:
    return [row["text"] for row in read_rows(small_pool) if len(row["text"]) > 1_000][:150]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.03, 0.1])
def test_sketches_estimate_the_jaccard_similarity(texts: list[str], share: float) -> None:
    random = np.random.default_rng(0)
    others = [changed(text, share, random) for text in texts]
    true = [
        len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))
        for a, b in zip(texts, others, strict=True)
    ]
    a, b = sketches(docs(texts))[0], sketches(docs(others))[0]
    equal = (a == b).mean(1)
    found = (equal - 1 / 256) / (1 - 1 / 256)
    # Unbiased: the mean error of 150 pairs is small beside that of one, sqrt(s (1 - s) / 48).
    error = np.sqrt(np.mean(true) * (1 - np.mean(true)) / BINS)
    assert abs(np.mean(found - true)) < 4 * error / np.sqrt(len(true)) + 1e-9
    assert np.std(found - true) < 2 * error + 1e-9


def test_unrelated_texts_are_not_alike(texts: list[str]) -> None:
    group = near(sketches(docs(texts))[0])
    moved = np.flatnonzero(group != np.arange(len(group)))
    for row in moved:  # what is found is true
        a, b = shingles(texts[row]), shingles(texts[group[row]])
        assert len(a & b) / len(a | b) > 0.4


def test_planted_near_duplicates_are_found(texts: list[str]) -> None:
    random = np.random.default_rng(1)
    planted = [changed(text, 0.01, random) for text in texts[:60]]
    true = [
        len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))
        for a, b in zip(texts, planted, strict=False)
    ]
    group = near(sketches(docs(texts + planted))[0])
    found = [group[len(texts) + i] == group[i] for i in range(60)]
    clear = [hit for hit, similarity in zip(found, true, strict=True) if similarity > 0.85]
    assert len(clear) > 30 and np.mean(clear) > 0.9
    # Where the first of a group stands does not hang on the order of the rest.
    assert (group <= np.arange(len(group))).all() and (group[group] == group).all()


def test_chains_are_one_group() -> None:
    sketch = np.random.default_rng(2).integers(0, 256, (4, BINS)).astype(np.uint8)
    sketch[2] = sketch[0]
    sketch[2, -6:] += 1  # 42 of 48 bins: alike
    sketch[3] = sketch[2]
    sketch[3, :6] += 1  # alike the third, not the first (36 of 48 is 0.749: that is alike too)
    sketch[3, 6:12] += 1
    assert near(sketch).tolist() == [0, 1, 0, 0]
    assert near(sketch[:0]).tolist() == []


def test_similarity_below_the_limit_is_not_alike() -> None:
    sketch = np.random.default_rng(3).integers(0, 256, (2, BINS)).astype(np.uint8)
    for same, expected in ((34, [0, 0]), (33, [0, 1])):  # 34/48 = 0.708, 33/48 = 0.6875
        sketch[1] = sketch[0] + 1
        sketch[1, :same] = sketch[0, :same]
        assert near(sketch).tolist() == expected


def test_short_and_empty_texts() -> None:
    table, known = sketches(docs(["", "!!", "one two", "One, two!", "two one", "one"]))
    assert known.tolist() == [False, False, True, True, True, True]
    assert (table[2] == table[3]).all()
    assert not (table[2] == table[4]).all() and not (table[2] == table[5]).all()
    assert sketches(docs([]))[0].shape == (0, BINS)


def test_several_epsilons_of_one_deduplication() -> None:
    """Ten documents: two copies, one near one, and a row that was never compared."""
    similarity = np.array([1, 1, 0.97, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0, np.nan], np.float32)
    shares = kept_shares(similarity, [1e-4, 0.05, 0.45, 1.0])
    assert shares == pytest.approx({1e-4: 0.8, 0.05: 0.7, 0.45: 0.6, 1.0: 0.1})
    assert epsilon_for(similarity, 0.7) == pytest.approx(0.4, abs=2e-5)
    for share in (0.1, 0.35, 0.5, 0.8):
        epsilon = epsilon_for(similarity, share)
        assert kept_shares(similarity, [epsilon])[epsilon] >= share
    with pytest.raises(DataworthError, match=r"no epsilon keeps 90.0% of the documents: 20.0% are"):
        epsilon_for(similarity, 0.9)
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        epsilon_for(similarity, 0)
    with pytest.raises(DataworthError, match="no document was compared"):
        kept_shares(np.array([np.nan]), [0.1])
