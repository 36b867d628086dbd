"""The terminal's tables of a comparison: true, ASCII in files, deaf to terminal escapes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dataworth.report.comparison_summary import show, strip
from dataworth.results.comparison import Comparison, Row
from dataworth.results.reading import read
from report import pages
from report.comparison_example import comparison

FIXED, FREE = {"kind", "axis", "verdict"}, {"plan", "machine", "training", "targets"}


def shown(given: Comparison, *, terminal: bool = False, width: int = 120) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    show(given, Console(file=file, force_terminal=terminal, width=width))
    return raw.getvalue().decode()


@pytest.fixture(scope="module")
def given() -> Comparison:
    return comparison(6, 3, 3)


def test_numbers(given: Comparison) -> None:
    text = shown(given)
    board = read(given).board
    assert board is not None
    for row in board["rows"]:
        line = next(line for line in text.splitlines() if line.startswith(f"  {row['selection']} "))
        if row["selection"] == "random":
            assert "baseline" in line
        else:
            assert f"{row['difference']:+.3f}" in line
            assert f"{row['low']:+.3f} to {row['high']:+.3f}" in line
    for part in ("biomed", "KL reduction", "x2.63", "What follows", "What to distrust", "Left out"):
        assert part in text, part
    for sentence in [*given["findings"], *given["gave_up"]]:
        assert sentence in text


def test_file_is_ascii_and_without_colour(given: Comparison) -> None:
    assert shown(given).isascii() and "\x1b" not in shown(given)
    assert "\x1b[1m" in shown(given, terminal=True) and "●" in shown(given, terminal=True)


def test_narrow_terminals_lose_the_picture_not_the_numbers(given: Comparison) -> None:
    wide, narrow = shown(given), shown(given, width=72)
    assert "o-" in wide or "-o" in wide
    board = read(given).board
    assert board is not None
    row = board["rows"][0]
    assert f"{row['difference']:+.3f}" in narrow
    tables = narrow[: narrow.index("What follows")]
    assert all(len(line) <= 72 for line in tables.splitlines())


def test_escapes_and_markup_do_nothing(given: Comparison) -> None:
    text = shown(pages.hostile(given, FIXED, FREE))
    assert not set("\x1b\x07\x9b\u202e") & set(text)
    assert "U+001B" in text and "<script>alert(1)</script>" in text


def test_nothing() -> None:
    empty: Comparison = {
        "comparison_version": 1,
        "title": "Empty",
        "targets": [],
        "selections": [],
        "measures": [],
        "trainings": [],
        "results": [],
    }
    assert shown(empty).splitlines()[0] == "Empty"


def test_strip() -> None:
    row: Row = {"selection": "a", "mean": 1.0, "difference": 0.5, "low": 0.25, "high": 0.75}
    assert strip(row, -1, 1, plain=True, width=9) == "    |-o- "
    assert strip(row, -1, 1, plain=False, width=9) == "    │─●─ "
    row.update({"low": -5.0, "high": 5.0})
    assert strip(row, -1, 1, plain=True, width=9) == "------o--"
    row.update({"difference": None, "low": None, "high": None})
    assert strip(row, 0.5, 1, plain=True, width=4) == "    "
    assert strip(row, 1, 1, plain=True, width=4) == ""
