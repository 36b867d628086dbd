"""The sections of a comparison's page that say who is better: leaderboard, targets, measures.

Every function returns the inside of a section, or an empty string when its part is missing.
Data enters only through `inert`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from dataworth.report.comparison_charts import Column, Words, dots, estimate
from dataworth.report.frame import folded
from dataworth.report.sections import HALF, WIDE, table
from dataworth.results import format as f
from dataworth.results import reading as reading_
from dataworth.results.comparison import Comparison, Leaderboard, Measure, Row
from dataworth.results.inert import visible, word
from dataworth.results.reading import BETTER, WORSE, Reading, fixed, interval

SHOWN_ROWS = 60
SHOWN_COLUMNS = 6  # of targets side by side
SHOWN_OTHERS = 4  # settings drawn beside the leading one
SHOWN_TARGETS = 24
_COLOUR = {BETTER: "var(--selection)", WORSE: "var(--loss)"}
_UNSHOWN = "var(--pool)"

KEY = (
    '<p class="key"><span><i class="k-dot"></i>better</span>'
    '<span><i class="k-dot k-worse"></i>worse</span>'
    '<span><i class="k-dot k-unshown"></i>no difference shown: the interval holds 0</span>'
    '<span><i class="k-line"></i>95 % interval</span>'
    '<span><i class="k-point"></i>a single seed</span></p>'
)


def leaderboard(comparison: Comparison, reading: Reading) -> str:
    """The leading leaderboard, those of other settings beside it, and all as a table."""
    board = reading.board
    if board is None:
        return ""
    rows = reading_.ranked(board, reading.measure)[:SHOWN_ROWS]
    decimals = reading_.digits(rows)
    chart = _board_chart(rows, board, reading, WIDE, decimals)
    others = reading_.others(comparison, reading)
    beside = []
    for other in others[:SHOWN_OTHERS]:
        ranked = reading_.ranked(other, reading.measure)[:SHOWN_ROWS]
        title = escape(reading_.setting_of(other).words)
        drawn = _board_chart(ranked, other, reading, HALF, decimals)
        beside.append(f"<figure><figcaption><h3>{title}</h3></figcaption>{drawn}</figure>")
    pair = f'<div class="pair">{"".join(beside)}</div>' if beside else ""
    return (
        f"{KEY}<figure>{_caption(board, reading)}{chart}</figure>"
        f"{folded('As a table', _board_table(rows, board, reading.measure))}{pair}"
    )


def _caption(board: Leaderboard, reading: Reading) -> str:
    where = over(board["target"], len(reading.targets))
    title = f"{visible(reading.measure['label'], 60)}, {where}"
    setting = reading_.setting_of(board).words
    return f'<figcaption><h3>{escape(title)}</h3><p class="lede">{escape(setting)}</p></figcaption>'


def over(target: str | None, targets: int) -> str:
    """What a leaderboard is of: a target, or the mean over so many."""
    if target is not None:
        return visible(target, 40)
    return "mean over targets" if targets > 1 else "all targets"


def _board_chart(
    rows: Sequence[Row], board: Leaderboard, reading: Reading, width: int, decimals: int
) -> str:
    wide = width == WIDE
    baseline = board["baseline"]
    known = {row["selection"]: row for row in rows}
    differences = {
        name: "baseline"
        if name == baseline
        else fixed(row.get("difference"), decimals, signed=True)
        for name, row in known.items()
    }
    words = [Words("difference", differences, 88, strong=True)]
    if wide:
        words.append(
            Words("95 % interval", {n: interval(r, decimals) for n, r in known.items()}, 148)
        )
        means = {name: fixed(row["mean"], decimals) for name, row in known.items()}
        words.append(Words("mean", means, 70))
    side = "left" if reading.measure["lower_is_better"] else "right"
    unit = reading.measure["unit"]
    title = f"difference from {visible(baseline, 30)}" + (f", {unit}" if wide and unit else "")
    return dots(
        list(known),
        [Column("", {name: estimate(row, colour(row)) for name, row in known.items()})],
        words,
        width=width,
        title=f"{title}; {side} is better",
        label=f"Leaderboard: {reading.measure['label']}, difference from {baseline}",
    )


def colour(row: Row) -> str:
    """Blue for better, orange for worse, grey where no difference is shown."""
    return _COLOUR.get(row.get("verdict") or "", _UNSHOWN)


def _board_table(rows: Sequence[Row], board: Leaderboard, measure: Measure) -> str:
    decimals = reading_.digits(rows)
    cells = []
    for row in rows:
        p = f.finite(row.get("p"))
        verdict = "baseline" if row["selection"] == board["baseline"] else row.get("verdict") or ""
        points = row.get("points") or []
        cells.append(
            f"<tr><td>{word(row['selection'], 60)}</td>"
            f'<td class="n">{fixed(row["mean"], decimals)}</td>'
            f'<td class="n">{fixed(row.get("difference"), decimals, signed=True)}</td>'
            f'<td class="n">{interval(row, decimals) or f.MISSING}</td>'
            f'<td class="n">{f.MISSING if p is None else f"{p:.2g}"}</td>'
            f'<td class="n">{len(points) or ""}</td>'
            f"<td>{word(verdict, 40)}</td></tr>"
        )
    numbers = ("mean", "difference", "95 % interval", "p", "points")
    head = [("", "selection"), *(("n", name) for name in numbers), ("", "")]
    return table(head, cells)


def targets(comparison: Comparison, reading: Reading) -> str:
    """Each target by itself: columns of dots, six abreast, and a table of the differences."""
    known = [name for name in reading.targets if name in reading.boards][:SHOWN_TARGETS]
    if len(known) < 2:
        return ""
    names = [name for name in reading.order if name != reading.baseline][:SHOWN_ROWS]
    rows = {
        target: {row["selection"]: row for row in reading.boards[target]["rows"]}
        for target in known
    }
    names = [name for name in names if any(name in rows[target] for target in known)]
    charts = []
    for first in range(0, len(known), SHOWN_COLUMNS):
        some = known[first : first + SHOWN_COLUMNS]
        columns = [
            Column(
                target,
                {name: estimate(rows[target][name], colour(rows[target][name])) for name in names
                 if name in rows[target]},
            )
            for target in some
        ]  # fmt: skip
        chart = dots(names, columns, width=WIDE, row=22, label=f"By target: {', '.join(some)}")
        charts.append(f"<figure>{chart}</figure>")
    summary = folded("As a table", matrix(names, [(target, rows[target]) for target in known]))
    return KEY + "".join(charts) + summary


def measures(comparison: Comparison, reading: Reading) -> str:
    """Every measure in the leading setting, as a table of differences from the baseline."""
    boards = reading_.by_measure(comparison, reading)
    if len(boards) < 2:
        return ""
    columns = []
    for measure in comparison.get("measures") or []:
        board = boards.get(measure["name"])
        if board:
            arrow = "lower" if measure["lower_is_better"] else "higher"
            unit = f", {measure['unit']}" if measure["unit"] else ""
            head = f"{visible(measure['label'], 40)}{visible(unit, 40)}; {arrow} is better"
            columns.append((head, {row["selection"]: row for row in board["rows"]}))
    names = [name for name in reading.order if name != reading.baseline][:SHOWN_ROWS]
    return matrix(names, columns)


def matrix(names: Sequence[str], columns: Sequence[tuple[str, Mapping[str, Row]]]) -> str:
    """Differences with half their interval: a row a selection, a column a target or measure.

    Cells are washed in the colour of the verdict, the stronger the larger the difference in its
    column; where no difference is shown they are grey text.
    """
    largest, decimals = [], []
    for _, rows in columns:
        values = [abs(f.finite(row.get("difference")) or 0.0) for row in rows.values()]
        largest.append(max(values, default=0.0) or 1.0)
        decimals.append(reading_.digits(rows.values()))
    lines = []
    for name in names:
        cells = [
            _cell(rows.get(name), largest[i], decimals[i]) for i, (_, rows) in enumerate(columns)
        ]
        lines.append(f"<tr><td>{word(name, 60)}</td>{''.join(cells)}</tr>")
    head = [("", "selection"), *(("n head", word(head, 90)) for head, _ in columns)]
    return f'<div class="scroll">{table(head, lines, "matrix")}</div>'


def _cell(row: Row | None, largest: float, decimals: int) -> str:
    difference = f.finite(row.get("difference")) if row else None
    if row is None or difference is None:
        return '<td class="n quiet"></td>'
    low, high = f.finite(row.get("low")), f.finite(row.get("high"))
    half = "" if low is None or high is None else f" ± {fixed((high - low) / 2, decimals)}"
    text = f"{fixed(difference, decimals, signed=True)}<small>{half}</small>"
    verdict = row.get("verdict")
    if verdict not in _COLOUR:
        return f'<td class="n quiet">{text}</td>'
    kind = "gain" if verdict == BETTER else "loss"
    strength = 0.05 + 0.25 * min(1.0, abs(difference) / largest)
    return f'<td class="n tint {kind}" style="--a:{strength:.2f}">{text}</td>'
