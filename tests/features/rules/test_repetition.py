"""Repetition, quality and lines against plain Python."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents
from dataworth.features.rules.cleaning import cleaned, kinds
from dataworth.features.rules.lines import counted_lines, line_shares
from dataworth.features.rules.quality import quality
from dataworth.features.rules.repetition import repetition
from dataworth.features.rules.words import words

TEXTS = st.text(alphabet="ab.é\n #…-•漢", max_size=50)


def duplicates(pieces: list[str]) -> tuple[int, int]:
    again = [piece for number, piece in enumerate(pieces) if piece in pieces[:number]]
    return len(again), sum(map(len, again))


def top(tokens: list[str], n: int) -> int:
    grams = [" ".join(tokens[k : k + n]) for k in range(len(tokens) - n + 1)]
    if not grams:
        return 0
    gram, count = Counter(grams).most_common(1)[0]
    return len(gram) * count


def repeated(tokens: list[str], n: int) -> int:
    seen, total, k = set(), 0, 0
    while k < len(tokens) - n + 1:
        gram = "".join(tokens[k : k + n])
        if gram in seen:
            total, k = total + len(gram), k + n
        else:
            seen.add(gram)
            k += 1
    return total


@settings(deadline=None)
@given(TEXTS)
def test_repetition(text: str) -> None:
    (row,) = repetition(Documents.from_texts([text]), (2, 3), (2, 5))
    if not text:
        assert np.isnan(row).all()
        return
    wanted = []
    for pieces in (re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)):
        count, characters = duplicates(pieces)
        wanted += [count / len(pieces), characters / len(text)]
    tokens = words(text)
    wanted += [top(tokens, n) / len(text) for n in (2, 3)]
    wanted += [repeated(tokens, n) / len(text) for n in (2, 5)]
    assert row.tolist() == wanted


@settings(deadline=None)
@given(TEXTS)
def test_quality(text: str) -> None:
    (row,) = quality(Documents.from_texts([text]), ["a", "ab"])
    tokens, lines = words(text), text.splitlines()
    if tokens:
        ellipses = text.count("...") + text.count("…")
        assert row[2:4].tolist() == [text.count("#") / len(tokens), ellipses / len(tokens)]
    if lines:
        bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines)
        ends = sum(line.rstrip().endswith(("...", "…")) for line in lines)
        assert row[4:6].tolist() == [bullets / len(lines), ends / len(lines)]
    assert row[7] == len({"a", "ab"}.intersection(tokens))
    assert row[8] == sum(token in ("a", "ab") for token in tokens)


@settings(deadline=None)
@given(TEXTS)
def test_fineweb(text: str) -> None:
    (row,) = line_shares(Documents.from_texts([text]), 3)
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        assert np.isnan(row).all()
        return
    assert row.tolist() == [
        sum(line.endswith(".") for line in lines) / len(lines),
        sum(len(line) <= 3 for line in lines) / len(lines),
        duplicates(lines)[1] / len(text.replace("\n", "")),
        text.count("\n") / len(words(text)),
    ]


def test_c4_looks_only_at_lines_that_count() -> None:
    """A bracket in a line without an end mark is not seen, nor are citations."""
    text = "\n".join(
        [
            "one two { three",
            "This line counts. It has two sentences. [12]Really[edit].",
            "Enable JavaScript to read this line.",
            "By this you accept our Privacy Policy.",
            "too short.",
            "x" * 1001 + " is a long word here.",
            "And it goes on and on...",
        ]
    )
    options = {"longest_word": 1000, "least_words": 3, "citations": True}
    rules = {"line_ends": True, "javascript": True, "policies": True}
    several = [text, text + "\nThis { is seen.", "Lorem Ipsum dolor sit amet."]
    rows = counted_lines(Documents.from_texts(several), **options, **rules)
    assert rows[:, :3].tolist() == [[0, 0, 3], [0, 1, 4], [1, 0, 1]]
    assert rows[0, 3] == 1 / 7


def test_refinedweb_and_kinds() -> None:
    texts = [
        "A proper line of text.\nSign-in here\nSHOUTED WORDS HERE\n2,031\n3 likes\nword\n",
        "A proper line of text.",
        "",
    ]
    removed = cleaned(Documents.from_texts(texts), 10)[:, 0]
    assert removed[:2].tolist() == [9 / 14, 0] and np.isnan(removed[2])
    code = "int main() {\n  return f(x,\n    y)\n}\n"
    rows = kinds(Documents.from_texts([code, "漢字 is English?", "Привет."]))
    assert rows[0, 2] == 0.75 and rows[1, 2] == 0
    assert rows[1, 1] == 2 / 11 and rows[2, 0] == 0
