"""Numbers in words, inert text, and shared bins."""

from __future__ import annotations

import html
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataworth.results import doubts, verdict
from dataworth.results import format as f
from dataworth.results.histogram import counts, histogram, shared_edges
from dataworth.results.inert import markup, split_excerpt, visible
from dataworth.results.selection import Metrics

ANY_TEXT = st.text(st.characters(codec=None), max_size=200)


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (f.count, 1_234_567, "1,234,567"),
        (f.count, None, "n/a"),
        (f.count, -5, f"{f.MINUS}5"),
        (f.short, 999, "999"),
        (f.short, 9_999, "9,999"),
        (f.short, 12_345, "12.3 k"),
        (f.short, 999_900, "1.00 M"),
        (f.short, 2.5e12, "2.50 T"),
        (f.short, 0.5, "0.500"),
        (f.size, 999, "999 bytes"),
        (f.size, 14_200_000, "14.2 MB"),
        (f.size, 3e15, "3,000 TB"),
        (f.real, 0.0, "0"),
        (f.real, -0.0, "0"),
        (f.real, -1.234, f"{f.MINUS}1.23"),
        (f.real, 1e-7, f"1.00e{f.MINUS}07"),
        (f.real, math.nan, "n/a"),
        (f.real, math.inf, "n/a"),
        (f.share, 0.5, "50.0%"),
        (f.share, 1, "100%"),
        (f.share, 0.00001, "<0.01%"),
        (f.share, 0.0004, "0.04%"),
        (f.factor, 7.6, f"{f.TIMES}7.60"),
        (f.factor, 0.1, "÷10.0"),
        (f.factor, 0, "n/a"),
        (f.duration, 0.42, "0.42 s"),
        (f.duration, 12.44, "12.4 s"),
        (f.duration, 192, "3 min 12 s"),
        (f.duration, 14_700, "4 h 05 min"),
    ],
)
def test_format(function: object, value: float | None, text: str) -> None:
    assert function(value) == text  # type: ignore[operator]


def test_share_of_nothing() -> None:
    assert f.share(0, 0) == "n/a"


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_has_words(value: float) -> None:
    for function in (f.count, f.short, f.size, f.real, f.share, f.factor, f.duration):
        assert function(value)


def test_controls_are_named() -> None:
    assert visible("a\x00b") == "a[U+0000]b"
    assert visible("a\u202eb\u200b\u200b") == f"a[U+202E]b[U+200B {f.TIMES}2]"
    assert visible("a\nb\tc") == "a b c"
    assert visible("x" * 10, 5) == "xxxx…"
    assert visible("\x00" * 50, 20) == f"[U+0000 {f.TIMES}20]…"
    assert len(visible("a\x01" * 50, 20)) == 20
    assert visible("\u0301") == "\u25cc\u0301"


def test_languages_are_left_alone() -> None:
    for text in ("می‌خواهم", "क्‍ष", "naïve", "👩‍👩‍👧", "mañana", "ไม่มีที่", "שָׁלוֹם"):
        assert visible(text) == text
        assert markup(text) == text


@given(ANY_TEXT)
def test_nothing_unseen_is_left(text: str) -> None:
    for shown in (visible(text), markup(text)):
        assert not re.search(
            "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown
        )
        shown.encode("utf-8")


@given(ANY_TEXT)
def test_markup_holds_no_tag_but_its_own(text: str) -> None:
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)

    parser = Tags()
    parser.feed(markup(text))
    parser.close()
    assert set(tags) <= {"i"}


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=80))
def test_markup_keeps_what_can_be_read(text: str) -> None:
    kept = re.sub(r'<i class="u">[^<]*</i>', "", markup(text))
    assert set(html.unescape(kept)) <= set(text)


@given(ANY_TEXT, st.integers(1, 100), st.integers(1, 5))
def test_excerpt_loses_nothing(text: str, characters: int, lines: int) -> None:
    first, rest = split_excerpt(text, characters, lines)
    assert first + rest == text
    assert len(first) <= max(characters, 0) + 1 or not rest


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=50),
    st.booleans(),
)
def test_bins_hold_every_finite_value(values: list[float], log: bool) -> None:
    array = np.array(values, dtype=np.float64)
    edges = shared_edges([array], bins=7, log=log)
    assert len(edges) == 8 and np.all(np.diff(edges) > 0)
    inside, outside = counts(array, edges)
    assert inside.sum() + outside == np.isfinite(array).sum()


def test_series_share_bins() -> None:
    result = histogram(pool=np.arange(100.0), selection=np.array([5.0]), target=np.array([]))
    assert "target" not in result
    assert sum(result["pool"]) + result["outside"]["pool"] == 100
    assert len(result["pool"]) == len(result["selection"]) == len(result["edges"]) - 1


def base() -> Metrics:
    return {
        "metrics_version": 1,
        "run": {},
        "accounting": {"documents": 1000, "eligible": 900, "kept": {"documents": 100}},
        "targets": [
            {
                "name": "math",
                "gain": {
                    "value": 1.0,
                    "bound": 2.0,
                    "random": 0.0,
                    "random_spread": 0.1,
                    "held_out": True,
                    "documents": 500,
                },
            }
        ],
    }


def test_nothing_to_distrust() -> None:
    assert doubts.selection(base()) == []
    assert verdict.verdict(base()).word == "Yes"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": 0.15}, "than chance"),
        ({"held_out": False}, "the examples that chose"),
        ({"documents": 20}, "few target documents: math 20"),
        ({"value": None}, "not measured for math"),
    ],
)
def test_targets_to_distrust(change: dict[str, object], words: str) -> None:
    metrics = base()
    metrics["targets"][0]["gain"].update(change)  # type: ignore[union-attr,typeddict-item]
    assert words in " ".join(doubts.selection(metrics))


def test_weights_and_lengths_to_distrust() -> None:
    metrics = base()
    metrics["utilities"] = [
        {
            "column": "utility:step:math",
            "effective_sample_size": 1.0,
            "effective_of": 553,
            "spearman_length": 0.62,
        }
    ]
    metrics["lengths"] = {
        "unit": "words",
        "histogram": {"edges": [1, 2]},
        "median": {"pool": 100, "selection": 900},
    }
    text = " ".join(doubts.selection(metrics))
    assert "1.00 of 553" in text and "+0.620" in text and "900 words" in text


def test_bad_lines_and_budget_to_distrust() -> None:
    metrics = base()
    metrics["accounting"]["bad"] = {"invalid_json": 50}
    metrics["accounting"]["budget"] = {"asked": "1B", "note": "Only 5 M tokens are eligible."}
    text = " ".join(doubts.selection(metrics))
    assert "50 lines (4.8%)" in text and "Only 5 M tokens" in text


def test_own_warnings_come_first() -> None:
    metrics = base()
    metrics["targets"] = []
    metrics["warnings"] = ["The target overlaps the pool."]
    assert doubts.selection(metrics)[0] == "The target overlaps the pool."
