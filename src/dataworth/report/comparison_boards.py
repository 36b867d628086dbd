"""Rankings as rows and charts: leaderboards, targets and measures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dataworth.report.plots import Column, Words, estimate
from dataworth.results import format as f
from dataworth.results import reading as reading_
from dataworth.results.comparison import Comparison, Leaderboard, Row
from dataworth.results.inert import visible, word
from dataworth.results.reading import BETTER, UNSHOWN, WORSE, Reading, fixed, interval

SHOWN_ROWS = 60
SHOWN_OTHERS = 4  # settings drawn beside the leading one
SHOWN_TARGETS = 24
SHOWN_RUNNERS_UP = 3
_COLOUR = {BETTER: "var(--selection)", WORSE: "var(--loss)"}
_UNSHOWN = "var(--pool)"

Columns = Sequence[tuple[str, Mapping[str, Row]]]
"""(head, its rows by selection)."""


def over(target: str | None, targets: int) -> str:
    """Return what a leaderboard is of: a target, or the mean over so many."""
    if target is not None:
        return visible(target, 40)
    return "mean over targets" if targets > 1 else "all targets"


def setting(board: Leaderboard) -> str:
    """Return what the models of a leaderboard were trained as."""
    return reading_.setting_of(board).words


def others(comparison: Comparison, reading: Reading) -> list[Leaderboard]:
    """Return the leaderboards of other settings, the first few."""
    return reading_.others(comparison, reading)[:SHOWN_OTHERS]


def chart(board: Leaderboard, reading: Reading, wide: bool) -> dict[str, Any]:
    """Return the arguments of the chart of a leaderboard; all numbers beside it if `wide`."""
    rows = reading_.ranked(board, reading.measure)[:SHOWN_ROWS]
    lead = reading_.ranked(reading.board or board, reading.measure)[:SHOWN_ROWS]
    decimals, baseline = reading_.digits(lead), board["baseline"]
    known = {row["selection"]: row for row in rows}

    def difference(name: str) -> str:
        change = fixed(known[name].get("difference"), decimals, signed=True)
        return "baseline" if name == baseline else change

    words = [Words("difference", {name: difference(name) for name in known}, 88, strong=True)]
    if wide:
        intervals = {name: interval(row, decimals) for name, row in known.items()}
        means = {name: fixed(row["mean"], decimals) for name, row in known.items()}
        words += [Words("95 % interval", intervals, 148), Words("mean", means, 70)]
    side = "left" if reading.measure["lower_is_better"] else "right"
    unit = f", {reading.measure['unit']}" if wide and reading.measure["unit"] else ""
    return {
        "names": list(known),
        "columns": columns([("", known)], list(known)),
        "words": words,
        "title": f"difference from {visible(baseline, 30)}{unit}; {side} is better",
        "label": f"Leaderboard: {reading.measure['label']}, difference from {baseline}",
    }


def columns(given: Columns, names: Sequence[str]) -> list[Column]:
    """Return columns of dots, in the colours of their verdicts."""
    return [
        Column(head, {n: estimate(rows[n], colour(rows[n])) for n in names if n in rows})
        for head, rows in given
    ]


def colour(row: Row) -> str:
    """Return blue for better, orange for worse, grey where no difference is shown."""
    return _COLOUR.get(row.get("verdict") or "", _UNSHOWN)


def rows(board: Leaderboard, reading: Reading) -> list[dict[str, Any]]:
    """Return a leaderboard as a table, the numbers in words."""
    ranked = reading_.ranked(board, reading.measure)[:SHOWN_ROWS]
    decimals = reading_.digits(ranked)
    return [
        {
            "name": row["selection"],
            "mean": fixed(row["mean"], decimals),
            "difference": fixed(row.get("difference"), decimals, signed=True),
            "interval": interval(row, decimals) or f.MISSING,
            "p": f.MISSING if (p := f.finite(row.get("p"))) is None else f"{p:.2g}",
            "points": len(row.get("points") or []),
            "verdict": "baseline"
            if row["selection"] == board["baseline"]
            else row.get("verdict") or "",
        }
        for row in ranked
    ]


def by_target(reading: Reading) -> tuple[list[str], Columns]:
    """Return the selections but the baseline, and a column for each target."""
    known = [name for name in reading.targets if name in reading.boards][:SHOWN_TARGETS]
    rows_by_target = [
        (t, {row["selection"]: row for row in reading.boards[t]["rows"]}) for t in known
    ]
    names = [n for n in _rivals(reading) if any(n in rows_ for _, rows_ in rows_by_target)]
    return names, rows_by_target


def by_measure(comparison: Comparison, reading: Reading) -> tuple[list[str], Columns]:
    """Return the selections but the baseline, and a column for each measure."""
    boards, found = reading_.by_measure(comparison, reading), []
    for measure in comparison.get("measures") or []:
        if board := boards.get(measure["name"]):
            arrow = "lower" if measure["lower_is_better"] else "higher"
            unit = f", {measure['unit']}" if measure["unit"] else ""
            head = f"{visible(measure['label'], 40)}{visible(unit, 40)}; {arrow} is better"
            found.append((head, {row["selection"]: row for row in board["rows"]}))
    return _rivals(reading), found


def _rivals(reading: Reading) -> list[str]:
    return [name for name in reading.order if name != reading.baseline][:SHOWN_ROWS]


def heads(given: Columns) -> list[tuple[str, str]]:
    """Return the heads of a matrix, as a table has them."""
    from markupsafe import Markup

    return [("n head", Markup(word(head, 90))) for head, _ in given]


def matrix(
    names: Sequence[str], given: Columns
) -> list[tuple[str, list[Mapping[str, str] | None]]]:
    """Return a row for each selection; a cell holds its difference and how it is tinted."""
    largest, decimals = [], []
    for _, known in given:
        values = [abs(f.finite(row.get("difference")) or 0.0) for row in known.values()]
        largest.append(max(values, default=0.0) or 1.0)
        decimals.append(reading_.digits(known.values()))
    return [
        (
            name,
            [
                _cell(known.get(name), most, digits)
                for (_, known), most, digits in zip(given, largest, decimals, strict=True)
            ],
        )
        for name in names
    ]


def _cell(row: Row | None, largest: float, decimals: int) -> Mapping[str, str] | None:
    difference = f.finite(row.get("difference")) if row else None
    if row is None or difference is None:
        return None
    low, high = f.finite(row.get("low")), f.finite(row.get("high"))
    known = low is not None and high is not None
    return {
        "text": fixed(difference, decimals, signed=True),
        "half": f" ± {fixed(((high or 0) - (low or 0)) / 2, decimals)}" if known else "",
        "kind": {BETTER: "gain", WORSE: "loss"}.get(row.get("verdict") or "", ""),
        "tint": f"{0.05 + 0.25 * min(1.0, abs(difference) / largest):.2f}",
    }


def best(reading: Reading) -> dict[str, Any]:
    """Return the best selection with its difference, those after it, and the bounds."""
    board = reading.board
    if board is None:
        return {}
    ranked = reading_.ranked(board, reading.measure)
    decimals, winner = reading_.digits(ranked), reading_.winner(board, reading)
    changes = {r["selection"]: fixed(r.get("difference"), decimals, signed=True) for r in ranked}
    first = winner["selection"] if winner else None
    after = [n for n in changes if n not in (board["baseline"], first, *reading.bounds)]
    return {
        "name": first,
        "difference": changes[first] if first is not None else "",
        "interval": interval(winner, decimals) if winner else "",
        "then": [(name, changes[name]) for name in after[:SHOWN_RUNNERS_UP]],
        "bounds": [(name, change) for name, change in changes.items() if name in reading.bounds],
    }


def tally(reading: Reading) -> dict[str, Any]:
    """Return how many are better, and for each of several targets how many and the best."""
    counts = reading_.tally(reading.board, reading)
    known = [target for target in reading.targets if target in reading.boards]
    found = []
    for target in known if len(known) > 1 else []:
        board = reading.boards[target]
        mine, first = reading_.tally(board, reading), reading_.winner(board, reading)
        decimals = reading_.digits(board["rows"])
        change = fixed(first.get("difference"), decimals, signed=True) if first else ""
        number = f"{mine[BETTER]} of {sum(mine.values())}"
        found.append((target, number, first["selection"] if first else None, change))
    return {
        "whole": sum(counts.values()),
        "better": counts[BETTER],
        "unshown": counts[UNSHOWN],
        "worse": counts[WORSE],
        "targets": found,
    }
