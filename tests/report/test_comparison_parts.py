"""What a comparison shows first, and where its charts put their marks."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataworth.report import comparison_charts, comparison_plots
from dataworth.report.charts import Spec
from dataworth.report.comparison_charts import Column, Estimate, dots, limits, ticks
from dataworth.report.comparison_evidence import centred
from dataworth.report.comparison_laws import binned, means
from dataworth.report.comparison_plots import Curve, curves, heat, log_ticks, spread, stacked
from dataworth.results import doubts
from dataworth.results import reading as reading_
from dataworth.results.comparison import Comparison, Measure, Row
from dataworth.results.format import MINUS, TIMES

FINITE = st.floats(-1e6, 1e6)
LOSS: Measure = {"name": "loss", "label": "Loss", "unit": "nats", "lower_is_better": True}
GAIN: Measure = {"name": "gain", "label": "Gain", "unit": "", "lower_is_better": False}


def row(name: str, mean: float, half: float = 0.01, verdict: Any = "better") -> Row:
    difference = mean - 3.0
    return {
        "selection": name,
        "mean": mean,
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "points": [difference] * 3,
        "verdict": verdict,
    }


def base(**change: Any) -> Comparison:
    made: Comparison = {
        "comparison_version": 1,
        "title": "A comparison",
        "targets": ["math"],
        "selections": [
            {"name": "random", "kind": "baseline"},
            {"name": "a", "kind": "steps"},
            {"name": "b", "kind": "steps"},
        ],
        "measures": [LOSS],
        "trainings": [
            {"id": f"{size}{seed}", "selection": "a", "target": None, "seed": seed}
            | {"size": size, "parameters": parameters, "tokens": 100, "epochs": 0.5}  # type: ignore[list-item]
            for size, parameters in (("tiny", 10), ("large", 1_000))
            for seed in range(5)
        ],
        "results": [],
        "leaderboards": [
            {"target": "math", "size": "tiny", "tokens": 100, "measure": "loss"}
            | {"baseline": "random", "rows": [row("a", 2.9), row("b", 2.8), row("random", 3.0)]},  # type: ignore[list-item]
            {"target": "math", "size": "large", "tokens": 100, "measure": "loss"}
            | {"baseline": "random", "rows": [row("a", 2.5), row("random", 3.0)]},  # type: ignore[list-item]
        ],
    }
    made.update(change)  # type: ignore[typeddict-item]
    return made


def test_the_fullest_leaderboard_leads() -> None:
    """Not the largest models, if fewer selections were trained there."""
    read = reading_.read(base())
    assert read.setting == reading_.Setting("tiny", 100)
    assert read.order == ["b", "a", "random"]
    assert [reading_.setting_of(b).size for b in reading_.others(base(), read)] == ["large"]


def test_most_compute_leads_among_equals() -> None:
    given = base()
    given["leaderboards"][0]["rows"].pop(1)
    assert reading_.read(given).setting == reading_.Setting("large", 100)


def test_mean_over_targets_leads() -> None:
    given = base()
    mean: Any = {**given["leaderboards"][0], "target": None}
    given["leaderboards"].append(mean)
    read = reading_.read(given)
    assert read.board is mean and set(read.boards) == {None, "math"}


def test_more_is_better_where_it_is() -> None:
    board = base()["leaderboards"][0]
    assert [r["selection"] for r in reading_.ranked(board, LOSS)] == ["b", "a", "random"]
    assert [r["selection"] for r in reading_.ranked(board, GAIN)] == ["random", "a", "b"]


def test_colours_go_to_the_first_five() -> None:
    names = [f"s{i}" for i in range(8)]
    rows = [row(name, 2 + i / 10) for i, name in enumerate(names)]
    given = base()
    given["leaderboards"][0]["rows"] = [*rows, row("random", 3.0)]
    colours = reading_.read(given).colours
    assert [colours[name] for name in names[:5]] == [f"var(--c{i})" for i in range(1, 6)]
    assert {colours[name] for name in names[5:]} == {"var(--pool)"}
    assert colours["random"] == "var(--ink)"


def test_winner_is_shown_to_be_better_and_no_bound() -> None:
    given = base()
    read = reading_.read(given)
    best = reading_.winner(read.board, read)
    assert best is not None and best["selection"] == "b"
    given["selections"][2]["bound"] = True
    read = reading_.read(given)
    best = reading_.winner(read.board, read)
    assert best is not None and best["selection"] == "a"
    assert reading_.tally(read.board, read) == {"better": 1, "no difference shown": 0, "worse": 0}
    for one in given["leaderboards"][0]["rows"]:
        one["verdict"] = "no difference shown"
    assert reading_.winner(read.board, read) is None


@pytest.mark.parametrize(
    ("half", "decimals"), [(0.3, 2), (0.06, 2), (0.043, 3), (0.0075, 3), (0.004, 4), (30, 0)]
)
def test_digits(half: float, decimals: int) -> None:
    assert reading_.digits([row("a", 2.9, half)]) == decimals


def test_fixed() -> None:
    assert reading_.fixed(-0.12345, 3, signed=True) == f"{MINUS}0.123"
    assert reading_.fixed(0.12345, 3, signed=True) == "+0.123"
    assert reading_.fixed(-0.0001, 2, signed=True) == "0.00"
    assert reading_.fixed(1234.5, 0) == "1,234"
    assert reading_.fixed(None, 2) == "n/a"


def test_tokens_and_multipliers() -> None:
    assert [reading_.tokens(n) for n in (950, 200_000, 50_000, 1_500_000, 1e6)] == [
        "950",
        "200 k",
        "50 k",
        "1.5 M",
        "1 M",
    ]
    assert reading_.multiplier(2.398) == f"{TIMES}2.40"
    assert reading_.multiplier(0.62) == f"{TIMES}0.620"
    assert reading_.multiplier(math.inf) == "n/a"
    assert reading_.multiplier(8e5) == f"over {TIMES}100"
    assert reading_.multiplier(0.001) == f"under {TIMES}0.01"
    assert reading_.multiplier_interval({"low": 0.0, "high": 2.0}) == "under 0.01 to 2.00"
    assert reading_.multiplier_interval({"low": None, "high": 2.0}) == ""


def test_nothing_to_distrust() -> None:
    given = base()
    assert doubts.comparison(given, reading_.read(given)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"warnings": ["The target is small."]}, "The target is small."),
        ({"trainings": []}, "Nothing was trained."),
        ({"gave_up": ["size large"]}, "1 thing of the plan was left out"),
        (
            {"predictions": [{"metric": "kl", "measure": "loss", "r": 0.9, "n": 4}]},
            "as few as 4 points",
        ),
        (
            {
                "scaling": [
                    {"selection": "a", "target": "math", "axis": "tokens", "points": []}
                    | {"multiplier": {"value": 2.0, "outside": True}}
                ]
            },
            "1 compute multiplier was read outside the measured range: a (math)",
        ),
    ],
)
def test_distrust(change: dict[str, Any], words: str) -> None:
    given = base(**change)
    assert words in " ".join(doubts.comparison(given, reading_.read(given)))


def test_distrust_of_few_seeds_repeats_and_many_intervals() -> None:
    given = base()
    given["trainings"] = given["trainings"][:2]
    given["trainings"][0]["epochs"] = 9.0
    given["leaderboards"][0]["rows"] += [row(f"s{i}", 2.9) for i in range(37)]
    text = " ".join(doubts.comparison(given, reading_.read(given)))
    assert "Only 2 seeds" in text
    assert "Passes over the text: a 9.00" in text
    assert "40 intervals of 95 %: if nothing differed, about 2 would" in text


# Charts


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> list[Spec]:
    """The specifications in place of drawn charts."""
    found: list[Spec] = []

    def note(spec: Spec, label: str) -> str:
        found.append(spec)
        return ""

    monkeypatch.setattr(comparison_charts, "svg", note)
    monkeypatch.setattr(comparison_plots, "svg", note)
    return found


def marks(spec: Spec, kind: str) -> list[list[Spec]]:
    return [part["data"]["values"] for part in spec["layer"] if part["mark"]["type"] == kind]


def test_dots_stand_where_their_numbers_are(specs: list[Spec]) -> None:
    """On an axis from -1 to 1, 0 is in the middle and 0.5 three quarters along."""
    rows = {
        "a": Estimate(0.5, 0.25, 0.75, [0.5, 0.6], "red"),
        "b": Estimate(-1.0, -3.0, 0.0, [], "blue"),
        "c": Estimate(None, None, None, [0.1], "grey"),
    }
    dots(list(rows), [Column("", rows, (-1.0, 1.0))], width=800, label="x")
    (spec,) = specs
    plot = spec["width"] - comparison_charts._GAP
    points, means_ = marks(spec, "circle")
    (zero,) = next(values for values in marks(spec, "rule") if len(values) == 1)
    lines = next(values for values in marks(spec, "rule") if "a" in values[0])
    assert zero["x"] == pytest.approx(plot / 2, abs=0.1)
    assert [mark["x"] for mark in means_] == pytest.approx([0.75 * plot, 0], abs=0.1)
    assert [mark["x"] for mark in points] == pytest.approx([0.75 * plot, 0.8 * plot], abs=0.1)
    assert lines[0]["a"] == pytest.approx(0.625 * plot, abs=0.1)
    # What goes on past the axis ends at its edge, with an arrow.
    assert lines[1]["a"] == 0
    arrows = [v for v in marks(spec, "text") if v and v[0].get("t") == "◂"]
    assert [arrow["x"] for arrow in arrows[0]] == [0]


def test_columns_stand_side_by_side(specs: list[Spec]) -> None:
    one = {"a": Estimate(0.0, None, None, [], "red")}
    dots(["a"], [Column(str(k), one, (-1.0, 1.0)) for k in range(3)], width=900, label="x")
    _, means_ = marks(specs[0], "circle")
    first, second, third = (mark["x"] for mark in means_)
    assert second - first == third - second == pytest.approx(specs[0]["width"] // 3)


@given(
    st.lists(
        st.tuples(FINITE, st.floats(0, 1e7), st.lists(FINITE, max_size=5)), min_size=1, max_size=6
    )
)
@example([(0.0, 5e-324, [])])
@example([(5e-324, 0.0, [])])
@example([(0.0, 0.0, [])])
def test_limits_hold_points_and_zero(given_: list[tuple[float, float, list[float]]]) -> None:
    rows = [Estimate(c, c - h, c + h, points, "") for c, h, points in given_]
    low, high = limits(rows)
    seen = [0.0, *(r.centre for r in rows), *(p for r in rows for p in r.points)]
    assert low < min(seen) and max(seen) < high  # type: ignore[type-var]
    span = max(seen) - min(seen)  # type: ignore[operator, type-var]
    if span > 1e-3:
        assert high - low <= 1.07 * (1 + 2 * comparison_charts._SIDE) * span


@given(st.floats(-1e5, 1e5), st.floats(1e-6, 1e5), st.integers(40, 900))
def test_ticks_are_round_and_within(low: float, span: float, wide: int) -> None:
    high = low + span
    found = ticks(low, high, wide)
    slack = 1e-9 * max(abs(low), abs(high), 1)
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert found == sorted(found)
    assert 1 <= len(found) <= max(4, wide // comparison_charts._TICK + 2)


@given(st.lists(st.floats(-50, 250), min_size=1, max_size=9), st.floats(1, 20), st.floats(150, 200))
def test_spread_keeps_order_and_distance(places: list[float], gap: float, high: float) -> None:
    moved = spread(places, gap, 0.0, high)
    order = sorted(range(len(places)), key=lambda i: places[i])
    in_order = [moved[i] for i in order]
    assert all(b - a >= gap - 1e-6 for a, b in pairwise(in_order))
    if gap * (len(places) - 1) <= high:
        assert in_order[-1] <= high + 1e-6 and in_order[0] >= -1e-6


def test_spread_leaves_alone_what_is_apart() -> None:
    assert spread([90.0, 10.0, 50.0], 13, 0, 100) == [90.0, 10.0, 50.0]


def test_log_ticks() -> None:
    assert log_ticks(50, 400) == [50, 100, 200]
    assert log_ticks(1, 1e6) == [10.0**k for k in range(7)]


def test_curves_of_one_x_are_not_drawn(specs: list[Spec]) -> None:
    one = Curve("a", "red", [(1.0, 2.0)], [(1.0, 2.0)])
    keys: Any = {"x_title": "x", "y_title": "y", "label": "x", "width": 300, "height": 200}
    assert curves([one], log=True, **keys) is None
    assert curves([Curve("a", "red", [(0.0, 1.0), (2.0, 1.0)])], log=True, **keys) is None
    assert curves([Curve("a", "red", [(0.0, 1.0), (2.0, 1.0)])], log=False, **keys) == ""


def test_stacked_bars_follow_each_other(specs: list[Spec]) -> None:
    stacked([("a", [("red", 0.25, "math"), ("blue", 0.75, "code")])], width=400, label="x")
    (bars,) = marks(specs[0], "bar")
    wide = specs[0]["width"]
    assert bars[0]["a"] == 0 and bars[1]["a"] == pytest.approx(0.25 * wide, abs=0.1)
    assert bars[1]["b"] == pytest.approx(wide - 1, abs=0.1)
    words = [mark["t"] for values in marks(specs[0], "text") for mark in values]
    assert "code" in words


def test_heat_shows_jaccard_below_and_ranks_above(specs: list[Spec]) -> None:
    heat(["a", "b"], [[1.0, 0.25], [0.25, 1.0]], [[1.0, -0.5], [-0.5, 1.0]], width=300, label="x")
    (cells,) = marks(specs[0], "rect")
    below = next(cell for cell in cells if cell["x"] < cell["y"])
    above = next(cell for cell in cells if cell["x"] > cell["y"])
    assert (below["t"], below["o"], below["c"]) == ("25", 0.25, "var(--selection)")
    assert (above["t"], above["o"], above["c"]) == (f"{MINUS}50", 0.5, "var(--loss)")


def test_centred_within_targets() -> None:
    points: Any = [
        {"selection": "a", "target": "math", "x": 1.0, "y": 10.0},
        {"selection": "b", "target": "math", "x": 3.0, "y": 20.0},
        {"selection": "a", "target": "code", "x": 7.0, "y": 1.0},
        {"selection": "b", "target": "code", "x": math.nan, "y": 1.0},
    ]
    assert centred(points) == [(-1.0, -5.0, "a"), (1.0, 5.0, "b"), (0.0, 0.0, "a")]


def test_means_and_bins() -> None:
    assert means([(2.0, 1.0), (1.0, 5.0), (2.0, 3.0)]) == [(1.0, 5.0), (2.0, 2.0)]
    points = [(float(x), float(x)) for x in range(1, 401)]
    line = binned(points)
    # 40 stretches of ten; the first four lie before a tenth of the training
    assert len(line) == 36
    assert line[0] == (44.5, 44.5)
    assert line[-1] == (395.0, 395.0)  # the last one has its right end too
    assert binned([]) == [] and binned([(1.0, math.nan)]) == []
