"""Contamination: planted n-grams are found, one word fewer is not, phrases do not count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataworth.measures.contamination import COMMON, Seen, answer, contamination, index
from methods.fitting import docs
from testdata import read_rows


def words(first: int, count: int) -> str:
    return " ".join(f"w{i}" for i in range(first, first + count))


LONG = words(0, 30)  # 18 n-grams of 13 words


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (LONG, 1.0),
        (words(0, 13), 1 / 18),
        (words(5, 14), 2 / 18),
        (words(0, 12), 0.0),  # one word too few
        (words(0, 6) + " other " + words(6, 12), 0.0),
        (words(0, 21), 9 / 18),
        (words(0, 20), 8 / 18),
        ("W0, w1; W2 -- w3! (w4) w5... \u201cw6\u201d w7 w8 w9 w10 w11 w12.", 1 / 18),
    ],
)
def test_the_rule(text: str, share: float) -> None:
    found = contamination(docs(["nothing of it", text]), docs([LONG, words(100, 40)]))
    assert found.documents == 2 and found.short == 0 and found.selected == 2
    assert found.shares.tolist() == pytest.approx([share, 0])
    assert found.hit == (share > 0) and found.holding == (share > 0)
    assert found.held == (share >= 0.5)
    assert found.equal == (text == LONG)


def test_short_documents() -> None:
    """8 to 12 words are looked for as a whole, fewer not at all."""
    validation = docs([words(0, 8), words(50, 12), words(90, 7), "", words(0, 8) + "!"])
    found = contamination(docs(["and " + words(0, 8) + " then", words(90, 7)]), validation)
    assert (found.documents, found.short) == (3, 2)
    assert found.shares.tolist() == pytest.approx([1, 0, np.nan, np.nan, 1], nan_ok=True)
    assert found.hit == found.held == 2 and found.holding == 1
    assert found.equal == 1  # the text of 7 words, letter for letter
    # Eight words in a row of a longer validation document are no n-gram of it.
    assert contamination(docs([words(0, 8)]), docs([LONG])).hit == 0


def test_repeated_ngrams_count_once() -> None:
    text = " ".join(["same"] * 40) + " " + words(0, 20)
    found = contamination(docs([" ".join(["same"] * 13)]), docs([text]))
    assert 0 < found.shares[0] < 0.1


def test_exactly_the_planted_documents(small_pool: Path, target_file: Callable[..., Path]) -> None:
    validation = [row["text"] for row in read_rows(target_file("wiki_books", "val"))][:60]
    pool = [row["text"] for row in read_rows(small_pool)][:600]
    clean = contamination(docs(pool), docs(validation))
    assert clean.held == clean.equal == 0 and clean.hit <= 1
    planted = dict(zip((3, 77, 401), validation[10:13], strict=True))
    dirty = [f"{text} {planted.get(row, '')}" for row, text in enumerate(pool)]
    found = contamination(docs(dirty), docs(validation))
    assert found.held == 3 and found.holding == clean.holding + 3 and found.equal == 0
    assert np.flatnonzero(found.shares >= 0.5).tolist() == [10, 11, 12]
    copied = contamination(docs([*pool, validation[7]]), docs(validation))
    assert copied.equal == 1 and copied.held == 1


def test_common_phrases_do_not_count() -> None:
    phrase = "licensed under the terms of that one licence which all of them carry along today"
    validation = docs([f"{phrase} {words(i * 50, 20)}" for i in range(2)])
    selection = docs([f"{words(1_000, 5)} {phrase}"])
    for holders, hits in ((COMMON, 2), (COMMON + 1, 0)):
        sample = docs([f"{phrase} number {i}" for i in range(holders)] + ["other words"] * 50)
        found = contamination(selection, validation, sample)
        assert (found.hit, found.holding) == (hits, min(hits, 1)), holders
    # In one validation document only, it may be the answer to it: then it counts.
    alone = contamination(selection, validation.take(np.arange(1)), sample)
    assert alone.hit == 1


def test_parts_add_up() -> None:
    looked = index(docs([LONG, words(100, 40)]))
    parts = [docs([words(0, 20), "x"]), docs([words(10, 20), LONG]), docs([])]
    seen = [looked.look(part) for part in parts]
    merged = seen[0].merge(seen[1]).merge(seen[2])
    whole = looked.look(docs([text for part in parts for text in part.texts()]))
    assert isinstance(merged, Seen)
    a, b = answer(looked, merged), answer(looked, whole)
    assert a.shares.tolist() == b.shares.tolist()
    assert (a.holding, a.selected, a.equal) == (b.holding, b.selected, b.equal) == (3, 4, 1)


def test_nothing_to_look_for() -> None:
    for validation in ([], ["short"]):
        found = contamination(docs([LONG]), docs(validation))
        assert (found.documents, found.hit, found.holding) == (0, 0, 0)
    found = contamination(docs([]), docs([LONG]), docs([LONG]))
    assert (found.documents, found.hit, found.selected) == (1, 0, 0)
