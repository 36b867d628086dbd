"""Page and terminal of an attribution: well-formed, inert, small, true to its numbers."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from dataworth.report import attribution_page, attribution_summary
from dataworth.results import doubts
from dataworth.results.attribution import Attribution, Check
from report.attribution_example import document, example, query
from report.pages import PAYLOADS, check, words
from report.pages import check as check_page


def shown(given: Attribution, *, terminal: bool = False) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    attribution_summary.show(given, Console(file=file, force_terminal=terminal, width=100))
    return raw.getvalue().decode()


def test_numbers(tmp_path: Path) -> None:
    path = attribution_page.write(example(), tmp_path / "page.html")
    text = words(check(path.read_text("utf-8")))
    for wanted in (
        "92,047",
        "40.0 M tokens",
        "Query 3",
        "+0.500",
        "60.0%",
        "is among the training",
    ):
        assert wanted in text, wanted
    assert "Most helpful" in text and "Most harmful" in text and "5 copies" in text


@pytest.mark.parametrize("attack", PAYLOADS)
def test_text_can_do_nothing(attack: str) -> None:
    given = example(2)
    given["queries"][0]["text"] = given["model"] = given["train"] = given["about"] = attack
    given["unit"] = given["notes"][0] = given["solver"] = attack
    for doc in given["queries"][0]["helpful"]:
        doc["file"] = attack
        doc["pieces"] = [(character, 0.1) for character in attack]  # a piece a character
    check(attribution_page.render(given))
    said = shown(given)
    assert "\x1b" not in said and "\u202e" not in said and "\x07" not in said


def test_pieces_keep_the_text_and_its_marks() -> None:
    one = document(1, 1.0)
    one["pieces"] = [("cafe", 0.5), ("\u0301", 0.5), (" ", 0.0), ("noir", -1.0)]
    given = query(1)
    given["helpful"], given["harmful"] = [one], []
    html = attribution_page.render(example(1, queries=[given]))
    assert "None harms." in words(check(html))
    assert '<span class="tint" style="--a:.42">cafe\u0301</span>' in html
    assert '<span class="tint loss" style="--a:.42">noir</span>' in html


def test_the_excerpt_is_where_the_score_is_made() -> None:
    one = document(1, 1.0)
    one["pieces"] = [(f"w{i} ", 1.0 if 700 <= i < 710 else 0.0) for i in range(1500)]
    given = query(1)
    given["helpful"], given["harmful"] = [one], []
    html = attribution_page.render(example(1, queries=[given]))
    first = html.partition('class="docs"')[2].partition("<details>")[0]
    assert "w705" in first and "w5 " not in first


def test_the_beginning_of_a_document_is_a_piece_of_its_own() -> None:
    one = document(1, 1.0)
    one["pieces"], one["start"] = [("first", 0.5), (" second", 0.25)], -1.0
    given = query(1)
    given["helpful"], given["harmful"] = [one], []
    html = attribution_page.render(example(1, queries=[given]))
    assert '<span class="tint loss" style="--a:.42">(start)</span> <span' in html
    assert '<span class="tint" style="--a:.21">first</span>' in html
    one["start"] = 0.001  # too faint to be shown
    assert ">(start)<" not in attribution_page.render(example(1, queries=[given]))


def test_a_check_is_told() -> None:
    check: Check = {
        "correlation": 0.517,
        "ranks": 0.47,
        "spread": 4.8,
        "architecture": "Llama<b>",
        "parameters": 1512,
    }
    given = example(1, check=check)
    said = "correlation 0.52 with the exact answer, of ranks 0.47, on a tiny Llama<b> of 1,512"
    assert said in words(check_page(attribution_page.render(given)))
    assert "check" in shown(given) and "0.52" in shown(given)
    none = example(1, check={"why": "nothing remembered"})
    assert "not checked: nothing remembered" in words(check_page(attribution_page.render(none)))


def test_many_queries_stay_small_and_say_so() -> None:
    given = example(80)
    many = [document(i + 1, 1.0 / (i + 1), "0 <&> " * 150) for i in range(8)]
    for one in given["queries"]:
        one["helpful"] = many
    html = attribution_page.render(given)
    assert len(html.encode()) < 2_000_000
    assert "more in attribution.json" in words(check(html))
    assert "70 more queries" in shown(given)


def test_doubts() -> None:
    calm = example(3, common=[])
    for one in calm["queries"]:
        one["helpful"] = [document(1, 1.0) | {"tokens": 400}]  # type: ignore[typeddict-item]
    assert len(doubts.attribution(calm)) == 1
    assert len(doubts.attribution(calm | {"residual": 0.05})) == 1  # type: ignore[arg-type]
    unsolved = doubts.attribution(calm | {"residual": 0.29})  # type: ignore[arg-type]
    assert "0.290 times as long" in unsolved[1] and "more steps" in unsolved[1]
    long = example(3)
    for one in long["queries"]:
        one["share_positive"] = 0.99
        for doc in one["helpful"]:
            doc["tokens"] = 20_000
    said = " ".join(doubts.attribution(long | {"solver": "identity"}))  # type: ignore[arg-type]
    for wanted in ("times as many tokens", "nearly all documents help", "at the top of 3", "Plain"):
        assert wanted in said


def test_nothing_asked_is_a_forecast() -> None:
    given = example(0, common=[], used={})
    assert "estimated" in shown(given)
    check(attribution_page.render(given))
