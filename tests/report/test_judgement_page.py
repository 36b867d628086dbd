"""Page and terminal of a judgement: well-formed, inert, true to its numbers."""

from __future__ import annotations

import copy
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dataworth.report import charts, judgement_page, judgement_summary
from dataworth.report.judgement_sections import as_report
from dataworth.results import doubts
from dataworth.results.judgement import Metrics
from report import pages
from report.judgement_example import judgement
from report.pages import check, words

FIXED = {"kind", "scale"}
FREE = {"bad", "settings", "fields"}
REQUIRED = {"judgement_version", "title", "selection", "name", "kind", "documents", "distinct"}
REQUIRED |= {"value", "targets", "exact", "exact_share", "common", "jaccard", "what", "spearman"}
REQUIRED |= {"words", "hit", "hit_share", "text", "share", "uid", "edges", "field", "parts", "pool"}
REQUIRED |= {"column", "histogram", "ngram", "log_ratio", "path", "bad"}


@pytest.fixture(scope="module")
def made(data: Path) -> Metrics:
    return judgement(data)


def small(**change: Any) -> Metrics:
    one: Metrics = {
        "judgement_version": 1,
        "title": "Is data/ any good?",
        "selection": {"name": "data/", "kind": "files", "documents": 3, "distinct": 2},
    }
    one.update(change)  # type: ignore[typeddict-item]
    return one


def shown(given: Metrics, *, terminal: bool = False) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    judgement_summary.show(given, Console(file=file, force_terminal=terminal, width=100))
    return raw.getvalue().decode()


def test_numbers(made: Metrics) -> None:
    html = judgement_page.render(made)
    text = words(check(html))
    assert f"Judged {made['selection']['documents']}" in text
    for target in made["targets"]:
        assert target["name"] in text and f"{target['name']}, validation" in text
        reduction = target["gain"]
        assert reduction is not None and f"{reduction['bound']:.3f}" in text
    for part in (
        "7 (5.9%)",
        "3 (2.5%)",
        "5 (8.1%)",
        "47.0%",
        "pool 53.0%",
        "2.71, pool 2.42",
        "51.7%",
        "0.356",
        "+0.910",
        "chosen by gumbel_top_k",
        "gumbel_top_k(temperature=0.14)",
        "mean 0.310 of 0.800 nats over 2 targets",
        made["warnings"][0],
        made["notes"][0],
    ):
        assert part in text, part


def test_same_bytes_from_json(made: Metrics, tmp_path: Path) -> None:
    before = copy.deepcopy(made)
    html = judgement_page.render(made)
    assert judgement_page.render(json.loads(json.dumps(made))) == html
    assert before == made
    written = judgement_page.write(made, tmp_path / "report.html")
    assert written.read_text("utf-8") == html


def test_validation_sets_are_no_targets_of_the_verdict(made: Metrics) -> None:
    given: Any = copy.deepcopy(made)
    for target in given["targets"]:
        target["gain"].update({"value": 1.0, "random": 0.0, "random_spread": 0.01})
        target["validation"]["gain"].update({"value": -1.0})
    assert judgement_page.verdict(given).word == "Yes"
    assert len(as_report(given, validation=True)["targets"]) == 4


def test_hostile_everywhere(made: Metrics) -> None:
    given: Any = pages.hostile(made, FIXED | {"column"}, FREE)
    text = words(check(judgement_page.render(given)))
    assert "<script>alert(1)</script>" in text and "U+202E" in text
    assert not set("\x1b\x07\x9b\u202e") & set(shown(given))


def test_every_optional_leaf_may_be_missing(made: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "svg", lambda spec, label: "<svg></svg>")
    places = list(pages.optional_places(made, REQUIRED))
    assert len(places) > 40
    for path in places:
        reduced = pages.without(made, path)
        judgement_page.render(reduced)
        shown(reduced)


def test_least() -> None:
    html = judgement_page.render(small())
    text = words(check(html))
    assert "Judged 3" in text and "2 of them different" in text and "Not measured" in text
    assert "<svg" not in html
    assert shown(small()).splitlines()[:2] == ["Is data/ any good?", shown(small()).splitlines()[1]]


def test_composition_without_a_pool_is_of_the_selection_alone() -> None:
    parts = [
        {"value": "a", "pool": {"documents": 0}, "selection": {"documents": 3}},
        {"value": "b", "pool": {"documents": 0}, "selection": {"documents": 1}},
    ]
    text = words(
        check(judgement_page.render(small(composition=[{"field": "lang", "parts": parts}])))
    )
    assert "a 75.0%" in text and "b 25.0%" in text
    assert "was" not in text and "of the pool" not in text


def test_unknown_numbers(made: Metrics) -> None:
    given: Any = copy.deepcopy(made)
    given["diversity"]["selection"] = {"distinct_1": math.nan, "compression_ratio": math.inf}
    given["overlap"][0].update({"jaccard": math.nan, "share": None})
    given["contamination"][0].update({"hit_share": math.nan, "held": None})
    given["mean"]["value"] = math.nan
    text = (words(check(judgement_page.render(given))) + shown(given)).lower()
    assert not re.search(r"\b(nan|inf)\b", text)


def test_distrust() -> None:
    target = {"name": "math", "documents": 60}
    reduction = {"value": 0.5, "held_out": False, "documents": 60}
    given = small(warnings=["First."], targets=[{**target, "gain": reduction}])
    first, *rest = doubts.judgement(given)
    assert first == "First."
    assert "the examples that chose, for math" in " ".join(rest)
    assert "few target documents: math 60" in " ".join(rest)
    assert doubts.judgement(small()) == []


def test_summary(made: Metrics) -> None:
    text = shown(made)
    assert text.isascii() and "\x1b" not in text
    for part in (
        "contamination: math",
        "7 of 118",
        "touched, 3 held by half or more, 1 to the letter",
        "shared with other/",
        "51.7%",
        "Jaccard 0.356, by chance 0.0530",
        "pool 53.0%",
        "0.310 nats",
        "What to distrust",
    ):
        assert part in " ".join(text.split()), part  # however long cells are folded
    assert "\x1b[1m" in shown(made, terminal=True)
