"""The comparison in the terminal: who is better, on which targets, and what to distrust.

As in `report/summary.py`, what comes from data is never trusted with the terminal, and where the
output is no terminal the own words and lines are plain ASCII.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataworth.report.comparison_boards import over
from dataworth.report.plots import estimate, limits
from dataworth.report.summary import data, plain, styled
from dataworth.results import doubts
from dataworth.results import format as f
from dataworth.results import reading as reading_
from dataworth.results.comparison import Comparison, Row
from dataworth.results.inert import visible
from dataworth.results.reading import BETTER, UNSHOWN, WORSE, Reading, fixed

SHOWN_ROWS = 40
SHOWN_TARGETS = 8
SHOWN_FINDINGS = 12
SHOWN_METRICS = 6
NAME = 24
STRIP = 41  # characters of the picture of an interval
SHORTEST_STRIP = 15
_WORDS = {BETTER: "better", WORSE: "worse", UNSHOWN: "not shown"}
_STYLE = {BETTER: "blue", WORSE: "red"}


def show(comparison: Comparison, console: Console) -> None:
    """Print the leaderboard, the targets, multipliers, predictions, findings and doubts."""
    reading = reading_.read(comparison)
    title = visible(comparison.get("title") or "Comparison", 200)
    console.print(data(console, title, "bold"), soft_wrap=True)
    for heading, table in _tables(comparison, reading, console):
        console.print(data(console, heading, "bold"), soft_wrap=True)
        console.print(table)
    findings = [visible(text, 400) for text in comparison.get("findings") or []]
    _listed(console, "What follows", findings[:SHOWN_FINDINGS], "")
    _listed(console, "What to distrust", doubts.comparison(comparison, reading), "yellow")
    left_out = [visible(text, 400) for text in comparison.get("gave_up") or []]
    _listed(console, "Left out", left_out[:SHOWN_FINDINGS], "dim")


def _tables(
    comparison: Comparison, reading: Reading, console: Console
) -> Iterator[tuple[str, Table]]:
    board = reading.board
    if board is not None and reading.setting is not None:
        where = f"{over(board['target'], len(reading.targets))}; {reading.setting.words}"
        yield f"{reading_.label(reading.measure)}, {where}", _leaderboard(reading, console)
    known = [target for target in reading.targets if target in reading.boards]
    if 1 < len(known) <= SHOWN_TARGETS:
        yield "Difference by target (* no difference shown)", _targets(reading, known, console)
    multipliers = _multipliers(comparison, reading, console)
    if multipliers.row_count:
        baseline = visible(reading.baseline or "the baseline", NAME)
        yield f"Times as much that {baseline} needs for the same, mean over targets", multipliers
    predictions = [
        p
        for p in comparison.get("predictions") or []
        if p["measure"] == reading.measure["name"] and f.finite(p["r"]) is not None
    ]
    if predictions:
        predictions.sort(key=lambda p: -abs(p["r"] or 0.0))
        labels = {m["name"]: m["label"] for m in comparison.get("metrics") or []}
        table = _grid("left", "right", "left")
        for p in predictions[:SHOWN_METRICS]:
            low, high = fixed(p.get("low"), 2, signed=True), fixed(p.get("high"), 2, signed=True)
            name = f"  {visible(labels.get(p['metric'], p['metric']), 40)}"
            cells = (name, fixed(p["r"], 2, signed=True), f"{low} to {high}, {p['n']} points")
            table.add_row(*[data(console, cell) for cell in cells])
        yield f"Correlation of cheap metrics with {visible(reading.measure['label'], 40)}", table


def _leaderboard(reading: Reading, console: Console) -> Table:
    """Return a row per selection: name, verdict, difference, interval, its picture if it fits."""
    board = reading.board
    table = _grid("left", "left", "right", "right", "left")
    if board is None:
        return table
    rows = reading_.ranked(board, reading.measure)[:SHOWN_ROWS]
    decimals = reading_.digits(rows)
    low, high = limits(estimate(row, "") for row in rows)
    longest = max(len(visible(row["selection"], NAME)) for row in rows)
    room = console.width - longest - 3 * decimals - 38
    wide = min(STRIP, room) if room >= SHORTEST_STRIP else 0
    for row in rows:
        name, verdict = row["selection"], row.get("verdict") or ""
        words = _WORDS.get(verdict, "")
        if name == board["baseline"]:
            words = "baseline"
        elif name in reading.bounds:
            words = "a bound"
        style = _STYLE.get(verdict, "dim")
        picture = strip(row, low, high, plain=plain(console), width=wide)
        difference = f.finite(row.get("difference"))
        table.add_row(
            data(console, f"  {visible(name, NAME)}"),
            data(console, words, style),
            data(console, "" if difference is None else fixed(difference, decimals, signed=True)),
            data(console, reading_.interval(row, decimals), "dim"),
            Text(picture, style=style),
        )
    return table


def strip(row: Row, low: float, high: float, *, plain: bool, width: int) -> str:
    """Draw an interval in characters: a line from end to end, a dot at the mean, a bar at 0."""
    if width < 2 or not high > low:
        return ""

    def place(value: float) -> int:
        return round((width - 1) * (min(max(value, low), high) - low) / (high - low))

    zero, line, dot = ("|", "-", "o") if plain else ("│", "─", "●")
    cells = [" "] * width
    if low <= 0 <= high:
        cells[place(0)] = zero
    a, b = f.finite(row.get("low")), f.finite(row.get("high"))
    if a is not None and b is not None:
        for i in range(place(a), place(b) + 1):
            cells[i] = line
    centre = f.finite(row.get("difference"))
    if centre is not None:
        cells[place(centre)] = dot
    return "".join(cells)


def _targets(reading: Reading, known: list[str], console: Console) -> Table:
    """Return a row per selection, a column per target; a star where no difference is shown."""
    table = _grid("left", *["right"] * len(known))
    table.add_row(Text(), *[data(console, visible(target, 14), "dim") for target in known])
    rows = {
        target: {row["selection"]: row for row in reading.boards[target]["rows"]}
        for target in known
    }
    decimals = {target: min(3, reading_.digits(rows[target].values())) for target in known}
    names = [name for name in reading.order if name != reading.baseline][:SHOWN_ROWS]
    for name in names:
        cells = [data(console, f"  {visible(name, NAME)}")]
        for target in known:
            row = rows[target].get(name)
            verdict = row.get("verdict") if row else None
            text = fixed(row.get("difference"), decimals[target], signed=True) if row else ""
            star = " " if verdict in _STYLE else "*"
            style = _STYLE.get(verdict or "", "dim")
            cells.append(data(console, f"{text}{star}" if row else "", style))
        table.add_row(*cells)
    return table


def _multipliers(comparison: Comparison, reading: Reading, console: Console) -> Table:
    """Return rows of selection, tokens or compute, multiplier, interval."""
    table = _grid("left", "left", "right", "left")
    for name in reading.order[:SHOWN_ROWS]:
        for one in comparison.get("scaling") or []:
            given = one.get("multiplier")
            mine = one["selection"] == name and one["target"] is None
            if not mine or given is None or f.finite(given.get("value")) is None:
                continue
            spread = reading_.multiplier_interval(given)
            outside = ", outside the measured range" if given.get("outside") else ""
            value = reading_.multiplier(given.get("value"))
            cells = (f"  {visible(name, NAME)}", one["axis"], value, f"{spread}{outside}")
            table.add_row(*[data(console, cell) for cell in cells])
    return table


def _grid(*columns: str) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for justify in columns:
        table.add_column(
            overflow="fold", justify="right" if justify == "right" else "left", no_wrap=True
        )
    return table


def _listed(console: Console, heading: str, texts: list[str], style: str) -> None:
    if texts:
        console.print(styled(console, heading, "bold"))
    for text in texts:
        console.print(data(console, f"  - {text}", style), soft_wrap=True)
