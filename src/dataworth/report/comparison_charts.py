"""Dots with intervals: leaderboards, targets side by side, correlations.

One chart draws them all: a row for each name, a column of dots for each target, words to the
right. Drawn as `report/charts.py` draws: data values only, colours as CSS variables, every size
given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dataworth.report.charts import Spec, layer, names_width, padding, svg
from dataworth.results import format as f
from dataworth.results.inert import visible

MUTED = "var(--muted)"
INK = "var(--ink)"
NAME = 28  # characters of a name

_SIDE = 1.5  # an interval may make an axis longer than its points by this part on each side
_LEAST = 1e-12  # differences smaller than this are rounding
_GAP = 18  # pixels between columns
_TICK = 52  # pixels that a number of an axis wants
_HEAD = 7.2  # pixels a character of a heading


class Estimate(NamedTuple):
    """A dot, its 95 % interval (None: not known) and the single values it is the mean of."""

    centre: float | None
    low: float | None
    high: float | None
    points: Sequence[float]
    colour: str


@dataclass(frozen=True)
class Column:
    """Dots on one axis of their own, by the name of their row."""

    head: str
    rows: Mapping[str, Estimate]
    domain: tuple[float, float] | None = None  # else it fits the rows

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the axis."""
        return self.domain or limits(self.rows.values())


@dataclass(frozen=True)
class Words:
    """Words to the right of the dots, by the name of their row; `width` in pixels."""

    head: str
    rows: Mapping[str, str]
    width: int
    strong: bool = False


@dataclass
class _Marks:
    """What is drawn, each in pixels from the left and rows from the top."""

    dots: list[Spec] = field(default_factory=list)
    lines: list[Spec] = field(default_factory=list)
    arrows: list[Spec] = field(default_factory=list)
    points: list[Spec] = field(default_factory=list)
    zeros: list[Spec] = field(default_factory=list)
    heads: list[Spec] = field(default_factory=list)
    ticks: list[Spec] = field(default_factory=list)
    words: list[Spec] = field(default_factory=list)


def dots(
    names: Sequence[str],
    columns: Sequence[Column],
    words: Sequence[Words] = (),
    *,
    width: int,
    row: int = 24,
    title: str = "",
    label: str,
) -> str:
    """The chart as SVG: a row of `row` pixels a name; `width` is pixels of the whole picture.

    Each column's axis fits its own numbers and 0. An interval far wider than all points ends in
    an arrow at the edge of its axis. `title` stands below the axes; `label` is for those
    who cannot see the chart.
    """
    shown = [visible(name, NAME) for name in names]
    left = names_width(shown)
    plot = width - left - sum(part.width for part in words)
    each = plot // max(1, len(columns))
    big = len(columns) == 1
    marks = _Marks()
    for number, column in enumerate(columns):
        _draw(marks, names, column, number * each, each - _GAP)
    at = plot
    for part in words:
        at += part.width
        marks.heads.append({"x": at, "t": visible(part.head, 24), "s": "end"})
        marks.words += [
            {
                "i": i + 0.5,
                "x": at,
                "t": part.rows.get(name, ""),
                "c": INK if part.strong else MUTED,
            }
            for i, name in enumerate(names)
        ]
    height = row * len(names)
    spec = {
        "width": width - left,
        "height": height,
        "padding": padding(left, 0, 26, 40 if title else 22),
        "layer": _layers(marks, shown, left, width, height, visible(title, 140), big),
    }
    return svg(spec, label)


def _draw(marks: _Marks, names: Sequence[str], column: Column, start: int, wide: int) -> None:
    """One column's marks, `start` pixels from the left and `wide` pixels wide."""
    low, high = column.limits

    def place(value: float) -> float:
        return round(start + wide * (min(max(value, low), high) - low) / (high - low), 1)

    head = visible(column.head, max(3, int(wide / _HEAD)))
    marks.heads.append({"x": start, "t": head, "s": "start"})
    if low <= 0 <= high:
        marks.zeros.append({"x": place(0)})
    marks.ticks += [{"x": place(tick), "t": number(tick)} for tick in ticks(low, high, wide)]
    for i, name in enumerate(names):
        given = column.rows.get(name)
        centre = f.finite(given.centre) if given else None
        if given is None or centre is None:
            continue
        marks.dots.append({"i": i + 0.44, "x": place(centre), "c": given.colour})
        a, b = f.finite(given.low), f.finite(given.high)
        if a is not None and b is not None:
            ends = {"a": place(a), "b": place(b)}
            marks.lines.append({"i": i + 0.44, "c": given.colour, **ends})
            beyond = [("a", "\N{BLACK LEFT-POINTING SMALL TRIANGLE}")] if a < low else []
            beyond += [("b", "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}")] if b > high else []
            marks.arrows += [
                {"i": i + 0.44, "x": ends[end], "t": sign, "c": given.colour}
                for end, sign in beyond
            ]
        marks.points += [
            {"i": i + 0.78, "x": place(value), "c": given.colour}
            for value in given.points
            if f.finite(value) is not None and low <= value <= high
        ]


def _layers(
    marks: _Marks, names: Sequence[str], left: int, width: int, height: int, title: str, big: bool
) -> list[Spec]:
    plot = {"scale": {"domain": [0, width - left], "range": [0, width - left], "nice": False}}
    x: Spec = {"type": "quantitative", "axis": None, **plot}
    rows = {"scale": {"domain": [len(names), 0], "nice": False}}
    y: Spec = {"field": "i", "type": "quantitative", "axis": None, **rows}
    at, text = {"field": "x", **x}, {"field": "t"}
    colour: Spec = {"field": "c", "type": "nominal", "scale": None}
    small: Spec = {"type": "text", "fontSize": 11, "color": MUTED}

    def drawn(values: list[Spec], mark: Spec, **encoding: Spec) -> Spec:
        return {"data": {"values": values}, **layer(mark, **encoding)}

    stripe = {"type": "rule", "color": "var(--line)", "strokeWidth": 1}
    zero = {"type": "rule", "color": "var(--axis)", "strokeWidth": 1}
    line = {"type": "rule", "strokeWidth": 2.5 if big else 2}
    point = {"type": "circle", "size": 13 if big else 9, "opacity": 0.45}
    dot = {"type": "circle", "size": 62 if big else 36, "opacity": 1}
    head = {"type": "text", "fontSize": 11 if big else 12, "align": "left"}
    head |= {"color": MUTED} if big else {"color": INK, "fontWeight": 600}
    of_names = [{"i": i + 0.5, "t": name} for i, name in enumerate(names)]
    stripes = [{"i": i} for i in range(len(names) + 1)]
    word = {"type": "text", "align": "right", "fontSize": 12}
    starts = [part for part in marks.heads if part["s"] == "start"]
    ends = [part for part in marks.heads if part["s"] == "end"]
    across = {"x": {"value": -left}, "x2": {"value": width - left}}
    layers = [
        drawn(stripes, stripe, y=y, **across),
        drawn(marks.zeros, zero, x=at),
        drawn(marks.points, point, x=at, y=y, color=colour),
        drawn(marks.lines, line, x={"field": "a", **x}, x2={"field": "b"}, y=y, color=colour),
        drawn(marks.arrows, {"type": "text", "fontSize": 13}, x=at, y=y, text=text, color=colour),
        drawn(marks.dots, dot, x=at, y=y, color=colour),
        drawn(
            of_names, {**word, "align": "left", "color": INK}, x={"value": -left}, y=y, text=text
        ),
        drawn(marks.words, word, x=at, y=y, text=text, color=colour),
        drawn(starts, head, x=at, y={"value": -12}, text=text),
        drawn(ends, {**small, "align": "right"}, x=at, y={"value": -12}, text=text),
        drawn(marks.ticks, small, x=at, y={"value": height + 12}, text=text),
    ]
    if title:
        below = {"x": {"value": 0}, "y": {"value": height + 31}}
        layers.append(drawn([{"t": title}], {**small, "align": "left"}, **below, text=text))
    return layers


def limits(rows: Iterable[Estimate]) -> tuple[float, float]:
    """The ends of an axis: all points, means and 0; intervals too unless they are far wider."""
    near, ends = [0.0], []
    for row in rows:
        near += [v for v in map(f.finite, (row.centre, *row.points)) if v is not None]
        ends += [v for v in map(f.finite, (row.low, row.high)) if v is not None]
    low, high = min(near), max(near)
    span = high - low or max(map(abs, ends), default=0.0)
    span = span if span > _LEAST else 1.0
    low = max(min([low, *ends]), low - _SIDE * span)
    high = min(max([high, *ends]), high + _SIDE * span)
    edge = 0.03 * max(high - low, span)
    return low - edge, high + edge


def ticks(low: float, high: float, wide: int) -> list[float]:
    """Round numbers between the ends, as many as there is room for, but two or more."""
    raw = (high - low) / max(2, wide // _TICK)
    power = 10.0 ** math.floor(math.log10(raw))
    steps = [size * power for size in (0.5, 1, 2, 4, 5, 10)]
    at = next(i for i, step in enumerate(steps) if step >= raw * 0.999)
    found = _multiples(steps[at], low, high)
    return found if len(found) > 1 or at == 0 else _multiples(steps[at - 1], low, high)


def _multiples(step: float, low: float, high: float) -> list[float]:
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(k * step, 12) for k in range(first, last + 1)]


def number(value: float) -> str:
    """A number of an axis, with a typographic minus."""
    return f"{value:g}".replace("-", f.MINUS)


def estimate(row: Mapping[str, Any], colour: str) -> Estimate:
    """The dot of a leaderboard's row: its difference from the baseline."""
    points = row.get("points") or []
    return Estimate(row.get("difference"), row.get("low"), row.get("high"), points, colour)
