"""The page of a comparison: well-formed, inert, true to its numbers, small, repeatable."""

from __future__ import annotations

import copy
import json
import math
import re
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dataworth.report import charts, comparison_charts, comparison_page, comparison_plots, frame
from dataworth.results import reading as reading_
from dataworth.results.comparison import Comparison
from dataworth.results.format import MINUS
from report import pages
from report.comparison_example import comparison
from report.pages import check, words

FIXED = {"kind", "axis", "verdict"}
FREE = {"plan", "machine", "training", "targets"}
REQUIRED = {"comparison_version", "title", "targets", "selections", "measures", "trainings"}
REQUIRED |= {"results", "name", "kind", "label", "unit", "lower_is_better", "id", "selection"}
REQUIRED |= {"target", "seed", "size", "tokens", "measure", "value", "metric", "mean", "baseline"}
REQUIRED |= {"rows", "floor", "scale", "exponent", "axis", "points", "x", "y", "r", "n", "share"}
REQUIRED |= {"field", "parts", "names", "jaccard"}


@pytest.fixture(scope="module")
def small() -> Comparison:
    return comparison(5, 3, 3)


@pytest.fixture(scope="module")
def html(small: Comparison) -> str:
    return comparison_page.render(small)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> list[charts.Spec]:
    """Charts are not drawn; the list of their specifications."""
    specs: list[charts.Spec] = []

    def note(spec: charts.Spec, label: str) -> str:
        json.dumps([spec, label], allow_nan=False)
        specs.append(spec)
        return "<svg></svg>"

    monkeypatch.setattr(comparison_charts, "svg", note)
    monkeypatch.setattr(comparison_plots, "svg", note)
    return specs


def empty() -> Comparison:
    return {
        "comparison_version": 1,
        "title": "",
        "targets": [],
        "selections": [],
        "measures": [],
        "trainings": [],
        "results": [],
    }


def test_numbers(small: Comparison, html: str) -> None:
    text = words(check(html))
    board = reading_.read(small).board
    assert board is not None
    for row in board["rows"]:
        assert row["selection"] in text
        assert f"{row['mean']:.3f}" in text
        if row["selection"] != "random":
            assert f"{row['difference']:+.3f}".replace("-", MINUS) in text
            low, high = (f"{row[end]:+.3f}".replace("-", MINUS) for end in ("low", "high"))  # type: ignore[literal-required]
            assert f"{low} to {high}" in text
    for sentence in [*small["findings"], *small["warnings"], *small["gave_up"]]:
        assert sentence in text
    for title in ("Best", "Better than random ?", "What to distrust", "Leaderboard", "Scaling"):
        assert title in text
    assert f"{len(small['trainings'])} models trained" in text


def test_charts(small: Comparison, html: str) -> None:
    """One for the leaderboard, its other settings, targets, predictions, and a panel each."""
    others = len({(b["size"], b["tokens"]) for b in small["leaderboards"]}) - 1
    targets = len(small["targets"])
    scaling, scatters = 1 + targets, len(small["metrics"])
    panels = 3 * targets  # composition, overlap, loss curves
    assert html.count("<svg") == 1 + others + 1 + 1 + scaling + scatters + panels


def test_same_bytes_twice_and_from_json(small: Comparison, html: str) -> None:
    before = copy.deepcopy(small)
    assert comparison_page.render(json.loads(json.dumps(small))) == html
    assert before == small


def test_write(small: Comparison, html: str, tmp_path: Path) -> None:
    written = comparison_page.write(small, tmp_path / "report.html")
    assert written.read_text("utf-8") == html
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_hostile_everywhere(small: Comparison) -> None:
    text = words(check(comparison_page.render(pages.hostile(small, FIXED, FREE))))
    assert "<script>alert(1)</script>" in text  # there to be read, as text
    assert "U+202E" in text and "U+001B" in text


def test_nothing() -> None:
    text = words(check(comparison_page.render(empty())))
    assert "Nothing was trained." in text and "Not measured" in text


def test_every_optional_leaf_may_be_missing(small: Comparison, undrawn: list[charts.Spec]) -> None:
    places = list(pages.optional_places(small, REQUIRED))
    assert len(places) > 40
    for path in places:
        comparison_page.render(pages.without(small, path))


def test_no_number_is_a_number(small: Comparison, undrawn: list[charts.Spec]) -> None:
    """Every float that may be unknown, not finite in turn: no page and no chart shows it."""
    broken: Any = copy.deepcopy(small)
    odd = (value for _ in count() for value in (math.nan, math.inf, -math.inf, None))
    for board in broken["leaderboards"]:
        for row in board["rows"]:
            row.update({key: next(odd) for key in ("difference", "low", "high", "p")})
            row["mean"] = next(odd) or math.nan
            row["points"] = [math.nan for _ in row.get("points") or []]
    for one in broken["scaling"]:
        one["law"] = {key: next(odd) or math.nan for key in one["law"]}
        one["multiplier"] = {"value": next(odd), "low": next(odd), "high": next(odd)}
    for one in broken["predictions"]:
        one.update({key: next(odd) for key in ("low", "high", "spearman", "decision_accuracy")})
    for one in broken["trainings"]:
        one.update({"epochs": next(odd), "seconds": next(odd), "curve": [(1, math.nan)]})
    for one in broken["composition"]:
        one["parts"][0]["share"] = math.nan
    for one in broken["overlap"]:
        one["jaccard"] = [[math.nan for _ in row] for row in one["jaccard"]]
    text = words(check(comparison_page.render(broken))).lower()
    assert not re.search(r"\b(nan|inf)\b", text)


@pytest.mark.parametrize(("selections", "targets", "seeds"), [(1, 1, 1), (2, 1, 1), (3, 2, 2)])
def test_few(selections: int, targets: int, seeds: int) -> None:
    text = words(check(comparison_page.render(comparison(selections, targets, seeds))))
    assert "None shown" in text
    assert f"Only {seeds} seed" in text


def test_one_seed_measures_no_difference() -> None:
    text = words(check(comparison_page.render(comparison(3, 1, 1))))
    assert "An interval takes two seeds or more." in text


def test_many(undrawn: list[charts.Spec]) -> None:
    """Fifteen selections, thirteen targets: as many columns of dots, six abreast."""
    given: Any = comparison(15, 6, 5)
    boards = [b for b in given["leaderboards"] if b["target"]]
    given["leaderboards"] += [{**b, "target": f"{b['target']} {k}"} for b in boards for k in (2, 3)]
    given["targets"] += [f"{t} {k}" for t in list(given["targets"]) for k in (2, 3)]
    text = words(check(comparison_page.render(given)))
    assert "and 12 targets more" in text
    assert len(undrawn) < 60


def test_large_pages_give_way(small: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = len(comparison_page.render(small).encode()) - 1
    monkeypatch.setattr(frame, "MOST_BYTES", limit)
    page = comparison_page.render(small)
    assert len(page.encode()) < limit
    text = words(check(page))
    assert text.count("Too much to draw") == 1
    assert "Loss curves" in text


def test_a_bound_is_not_the_best(undrawn: list[charts.Spec]) -> None:
    given = comparison(15, 2, 3)
    text = words(check(comparison_page.render(given)))
    assert "Best top-k" in text
    assert "oracle , which knows the answer" in text
    for candidate in given["selections"]:
        candidate["bound"] = False
    assert "Best oracle" in words(check(comparison_page.render(given)))


def test_no_rank_correlations(small: Comparison, undrawn: list[charts.Spec]) -> None:
    given: Any = copy.deepcopy(small)
    for one in given["overlap"]:
        del one["rank"]
    names = given["overlap"][0]["names"]
    comparison_page.render(given)
    heats = [s for s in undrawn if any(m["mark"].get("type") == "rect" for m in s["layer"])]
    cells = heats[0]["layer"][0]["data"]["values"]
    assert len(cells) == len(names) * (len(names) - 1) / 2
