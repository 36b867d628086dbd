"""Charts of a comparison: dots with intervals, curves, scatter plots, stacked bars, heat maps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dataworth.report.svg import (
    AXIS,
    CHARACTER,
    INK,
    MUTED,
    NAME,
    REST,
    Canvas,
    Scale,
    log_ticks,
    names_width,
    number,
    room,
    ticks,
)
from dataworth.results import format as f
from dataworth.results.inert import visible

SIDE = 1.5  # an interval may make an axis longer than its points by this share on each side
GAP = 18  # pixels between columns
_LEAST = 1e-12  # differences smaller than this are rounding
_HEAD = 7.2  # pixels a character of a heading
_LABEL_GAP = 13  # pixels between the names at the ends of lines
_FEW_PLACES = 6  # as many places of points are the ticks of their axis
_LEFT = 46  # pixels to the left of a plot, for the numbers of its axis


class Estimate(NamedTuple):
    """A dot, its 95 % interval (None: not known) and the single values it is the mean of."""

    centre: float | None
    low: float | None
    high: float | None
    points: Sequence[float]
    colour: str


def estimate(row: Mapping[str, Any], colour: str) -> Estimate:
    """Return the dot of a leaderboard's row: its difference from the baseline."""
    points = row.get("points") or []
    return Estimate(row.get("difference"), row.get("low"), row.get("high"), points, colour)


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
    """Draw a row of `row` pixels for each name; `width` is pixels of the whole picture.

    Each column's axis fits its own numbers and 0. An interval far wider than all points ends in
    an arrow at the edge of its axis. `title` stands below the axes; `label` is for those
    who cannot see the chart.
    """
    top, left = 26, names_width([visible(name, NAME) for name in names])
    each = (width - left - sum(part.width for part in words)) // max(1, len(columns))
    bottom = top + row * len(names)
    canvas = Canvas(width, bottom + (40 if title else 22), label)
    for i in range(len(names) + 1):
        canvas.line(0, top + row * i, width, top + row * i)
    for k, column in enumerate(columns):
        start = left + k * each
        x = Scale(*column.limits, start, start + each - GAP)
        _dots(canvas, names, column, x, row, big=len(columns) == 1)
    at = float(left + each * len(columns))
    for part in words:
        at += part.width
        canvas.text(at, 14, part.head, at="end", colour=MUTED, size=11, limit=24)
        for i, name in enumerate(names):
            colour, y = INK if part.strong else MUTED, top + row * (i + 0.5)
            canvas.text(at, y, part.rows.get(name, ""), at="end", colour=colour)
    for i, name in enumerate(names):
        canvas.text(0, top + row * (i + 0.5), name, limit=NAME)
    canvas.text(left, bottom + 31, title, colour=MUTED, size=11, limit=140)
    return str(canvas)


def _dots(
    canvas: Canvas, names: Sequence[str], column: Column, x: Scale, row: int, *, big: bool
) -> None:
    top, bottom = 26, 26 + row * len(names)
    head = {"colour": MUTED, "size": 11} if big else {"size": 12, "weight": 600}
    canvas.text(x.start, 14, column.head, limit=max(3, int((x.end - x.start) / _HEAD)), **head)
    if x.low <= 0 <= x.high:
        canvas.line(x(0), top, x(0), bottom, AXIS)
    for tick in ticks(x.low, x.high, x.end - x.start):
        canvas.text(x(tick), bottom + 12, number(tick), at="middle", colour=MUTED, size=11)
    for i, name in enumerate(names):
        one = column.rows.get(name)
        centre = f.finite(one.centre) if one else None
        if one is None or centre is None:
            continue
        y = top + row * (i + 0.44)
        a, b = f.finite(one.low), f.finite(one.high)
        for value in one.points:
            if f.finite(value) is not None and x.low <= value <= x.high:
                below = top + row * (i + 0.78)
                canvas.dot(x(value), below, 2 if big else 1.7, one.colour, opacity=0.45)
        if a is not None and b is not None:
            ends = x(max(a, x.low)), x(min(b, x.high))
            canvas.line(ends[0], y, ends[1], y, one.colour, 2.5 if big else 2)
            for beyond, end, sign in ((a < x.low, 0, "◂"), (b > x.high, 1, "▸")):
                if beyond:
                    canvas.text(ends[end], y, sign, at="middle", colour=one.colour, size=13)
        canvas.dot(x(min(max(centre, x.low), x.high)), y, 4.4 if big else 3.4, one.colour)


def limits(rows: Iterable[Estimate]) -> tuple[float, float]:
    """Return the ends of an axis: all points, means and 0; intervals unless they are far wider."""
    near, ends = [0.0], []
    for row in rows:
        near += [v for v in map(f.finite, (row.centre, *row.points)) if v is not None]
        ends += [v for v in map(f.finite, (row.low, row.high)) if v is not None]
    low, high = min(near), max(near)
    span = high - low or max(map(abs, ends), default=0.0)
    span = span if span > _LEAST else 1.0
    low = max(min([low, *ends]), low - SIDE * span)
    high = min(max([high, *ends]), high + SIDE * span)
    edge = 0.03 * max(high - low, span)
    return low - edge, high + edge


class Curve(NamedTuple):
    """A line and its single points, in data units, in the colour of its selection."""

    name: str
    colour: str
    line: Sequence[tuple[float, float]]
    points: Sequence[tuple[float, float]] = ()


def curves(
    lines: Sequence[Curve],
    *,
    width: int,
    height: int,
    x_title: str,
    y_title: str,
    log: bool,
    label: str,
) -> str | None:
    """Draw lines with their names at the right end; grey ones have none. None without any.

    `width` and `height` are pixels of the whole picture; `log`: of the x axis.
    """
    xs = [x for curve in lines for x, _ in (*curve.line, *curve.points)]
    ys = [y for curve in lines for _, y in (*curve.line, *curve.points)]
    if not xs or not max(xs) > min(xs) or (log and min(xs) <= 0):
        return None
    named = [curve for curve in lines if curve.colour != REST and curve.line]
    right = max((names_width([visible(c.name, 20)]) for c in named), default=6) + 2
    edge = (max(xs) / min(xs)) ** 0.03 if log else 1.0
    x = Scale(min(xs) / edge, max(xs) * edge, _LEFT, width - right, log)
    y = Scale(*room(min(ys), max(ys)), height - 40, 22)
    marks = None
    if log:
        places = sorted({a for curve in lines for a, _ in curve.points})
        marks = places if 0 < len(places) <= _FEW_PLACES else log_ticks(x.low, x.high)
    canvas = _plot(width, height, x, y, x_title, y_title, label, marks)
    # Grey first, so that what has a colour lies on top.
    for curve in sorted(lines, key=lambda curve: curve.colour != REST):
        strong = curve.colour != REST
        if curve.line:
            line = [(x(a), y(b)) for a, b in curve.line]
            canvas.path(line, curve.colour, width=1.9 if strong else 1.1)
    for curve in sorted(lines, key=lambda curve: curve.colour != REST):
        for a, b in curve.points:
            canvas.dot(x(a), y(b), 2.1, curve.colour, opacity=0.5)
    ends = [y(curve.line[-1][1]) for curve in named]
    for curve, at in zip(named, spread(ends, _LABEL_GAP, y.end, y.start), strict=True):
        canvas.text(x.end + 7, at, curve.name, colour=curve.colour, size=11, weight=600, limit=20)
    return str(canvas)


def scatter(
    points: Sequence[tuple[float, float, str]],
    *,
    width: int,
    height: int,
    x_title: str,
    y_title: str,
    label: str,
) -> str | None:
    """Draw points (x, y, colour), coloured ones on top; None when there is nothing to draw."""
    if not points:
        return None
    x = Scale(*room(min(p[0] for p in points), max(p[0] for p in points)), _LEFT, width - 10)
    y = Scale(*room(min(p[1] for p in points), max(p[1] for p in points)), height - 40, 22)
    canvas = _plot(width, height, x, y, x_title, y_title, label)
    for a, b, colour in sorted(points, key=lambda point: point[2] != REST):
        canvas.dot(x(a), y(b), 3.1, colour, opacity=0.75)
    return str(canvas)


def _plot(
    width: int,
    height: int,
    x: Scale,
    y: Scale,
    x_title: str,
    y_title: str,
    label: str,
    marks: Sequence[float] | None = None,
) -> Canvas:
    canvas = Canvas(width, height, label)
    canvas.y_axis(y, x.start, x.end, number)
    canvas.x_axis(x, y.start + 2, title=visible(x_title, 100), marks=marks)
    canvas.text(4, 9, y_title, colour=MUTED, size=11, limit=80)
    return canvas


def stacked(
    rows: Sequence[tuple[str, Sequence[tuple[str, float, str]]]], *, width: int, label: str
) -> str:
    """Draw a bar for each row, in parts (colour, share, name); wide parts carry their names."""
    left = names_width([visible(name, 22) for name, _ in rows])
    wide = width - left - 6
    canvas = Canvas(width, 20 * len(rows) + 4, label)
    for i, (row, parts) in enumerate(rows):
        y, start = 4 + 20 * i, 0.0
        canvas.text(0, y + 8, row, limit=22)
        for colour, share, name in parts:
            a, b = left + wide * start, left + wide * (start + share)
            start += share
            # A hair of the page between the parts tells neighbours of like colour apart.
            canvas.rect(a, y, b - a - 1, 16, colour)
            if len(visible(name, 24)) * CHARACTER * 0.9 + 8 < b - a:
                middle, page = (a + b) / 2, "var(--page)"
                canvas.text(
                    middle, y + 8, name, at="middle", colour=page, size=10.5, weight=600, limit=24
                )
    return str(canvas)


def heat(
    names: Sequence[str],
    lower: Sequence[Sequence[float | None]],
    upper: Sequence[Sequence[float | None]] | None,
    *,
    width: int,
    label: str,
) -> str:
    """Draw a square of numbers: `lower` (0 to 1) below the diagonal, `upper` (-1 to 1) above it.

    Rows carry their names, columns their names upright. Cells show hundredths.
    """
    left = names_width([visible(name, 20) for name in names])
    count = max(1, len(names))
    cell = min(34, (width - left) // count)
    side, top = cell * count, names_width([visible(name, 20) for name in names]) - 8
    canvas = Canvas(left + side + 2, top + side + 2, label)
    for i, name in enumerate(names):
        canvas.text(0, top + (i + 0.5) * cell, name, size=11.5, limit=20)
        x = left + (i + 0.5) * cell
        canvas.text(x, top - 6, name, colour=MUTED, size=10.5, limit=20, upright=True)
        for j in range(len(names)):
            table = lower if j < i else upper
            value = f.finite(table[i][j]) if table is not None and i != j else None
            if value is None:
                continue
            colour = "var(--selection)" if j < i else "var(--c1)" if value >= 0 else "var(--loss)"
            strength, x, y = min(1.0, abs(value)), left + j * cell, top + i * cell
            canvas.rect(x, y, cell - 1, cell - 1, colour, opacity=max(strength, 0.001))
            if cell >= 15:
                ink = "var(--page)" if strength > 0.6 else INK
                text = f"{round(100 * value)}".replace("-", f.MINUS)
                middle = x + cell / 2, y + cell / 2
                canvas.text(*middle, text, at="middle", colour=ink, size=10 if cell >= 20 else 9)
    return str(canvas)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return the places moved apart to at least `gap`, in their order, as little as a sweep can.

    Within [low, high] if they fit in there.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved: dict[int, float] = {}
    at = -math.inf
    for i in order:
        at = max(places[i], at + gap, low)
        moved[i] = at
    at = max(high, low + gap * (len(places) - 1)) + gap
    for i in reversed(order):
        at = min(moved[i], at - gap)
        moved[i] = at
    return [moved[i] for i in range(len(places))]
