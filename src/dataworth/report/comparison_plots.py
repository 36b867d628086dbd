"""Curves, scatter plots, stacked bars and heat maps of a comparison.

Drawn as `report/charts.py` draws: data values only, colours as CSS variables, every size given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from dataworth.report.charts import Spec, layer, names_width, padding, svg
from dataworth.results import format as f
from dataworth.results.inert import visible

MUTED = "var(--muted)"
INK = "var(--ink)"
REST = "var(--pool)"  # the colour of what has none of its own
LABEL_GAP = 13  # pixels between the names at the ends of lines
FEW_PLACES = 6  # as many places of points are the ticks of their axis

_AXIS = 46  # pixels to the left of a plot, for the numbers of its axis
_CHARACTER = 6.4


class Curve(NamedTuple):
    """A line and its single points, in data units, in the colour of its selection."""

    name: str
    colour: str
    line: Sequence[tuple[float, float]]
    points: Sequence[tuple[float, float]] = ()


def curves(
    given: Sequence[Curve],
    *,
    width: int,
    height: int,
    x_title: str,
    y_title: str,
    log: bool,
    label: str,
) -> str | None:
    """Lines with their names at the right end; grey ones have none. `None` with nothing to draw.

    `width` and `height` are pixels of the whole picture; `log`: of the x axis.
    """
    xs = [x for curve in given for x, _ in (*curve.line, *curve.points)]
    ys = [y for curve in given for _, y in (*curve.line, *curve.points)]
    if not xs or not max(xs) > min(xs) or (log and min(xs) <= 0):
        return None
    named = [curve for curve in given if curve.colour != REST and curve.line]
    right = max((names_width([visible(c.name, 20)]) for c in named), default=6) + 2
    wide, high = width - _AXIS - right, height - 62
    low, top = _room(min(ys), max(ys))
    left_end, right_end = _room_log(min(xs), max(xs)) if log else (min(xs), max(xs))
    x = _axis("x", x_title, (left_end, right_end), log=log)
    if log:
        places = sorted({x for curve in given for x, _ in curve.points})
        few = 0 < len(places) <= FEW_PLACES
        x["axis"] |= {"values": places if few else log_ticks(left_end, right_end)}
    y = _axis("y", "", (low, top))
    # Grey first, so that what has a colour lies on top.
    ordered = sorted(given, key=lambda curve: curve.colour != REST)
    layers: list[Spec] = []
    for strong in (False, True):
        lines = [
            {"x": _digits(a), "y": _digits(b), "s": i, "c": curve.colour}
            for i, curve in enumerate(ordered)
            if (curve.colour != REST) == strong
            for a, b in curve.line
        ]
        mark = {"type": "line", "strokeWidth": 1.9 if strong else 1.1}
        detail: Spec = {"field": "s", "type": "nominal"}
        layers.append(_drawn(lines, mark, x=x, y=y, color=_colour(), detail=detail))
    points = [
        {"x": _digits(a), "y": _digits(b), "c": curve.colour}
        for curve in ordered
        for a, b in curve.points
    ]
    layers.append(
        _drawn(points, {"type": "circle", "size": 14, "opacity": 0.5}, x=x, y=y, color=_colour())
    )
    layers.append(_end_names(named, wide, high, (low, top)))
    layers.append(_y_title(y_title))
    return svg(
        {
            "width": wide,
            "height": high,
            "padding": padding(_AXIS, right, 22, 40),
            "layer": layers,
        },
        label,
    )


def _end_names(named: Sequence[Curve], wide: int, high: int, domain: tuple[float, float]) -> Spec:
    """The names at the right ends of their lines, moved apart where those meet."""
    low, top = domain
    ends = [high * (top - curve.line[-1][1]) / (top - low) for curve in named]
    names = [
        {"t": visible(curve.name, 20), "c": curve.colour, "p": round(at, 1)}
        for curve, at in zip(named, spread(ends, LABEL_GAP, 0.0, float(high)), strict=True)
    ]
    mark = {"type": "text", "align": "left", "dx": 7, "fontWeight": 600}
    place: Spec = {"field": "p", "type": "quantitative", "scale": None}
    return _drawn(names, mark, x={"value": wide}, y=place, text={"field": "t"}, color=_colour())


def scatter(
    points: Sequence[tuple[float, float, str]],
    *,
    width: int,
    height: int,
    x_title: str,
    y_title: str,
    label: str,
) -> str | None:
    """Points (x, y, colour), coloured ones on top; `None` when there is nothing to draw."""
    if not points:
        return None
    wide, high = width - _AXIS - 10, height - 62
    x = _axis("x", x_title, _room(min(p[0] for p in points), max(p[0] for p in points)))
    y = _axis("y", "", _room(min(p[1] for p in points), max(p[1] for p in points)))
    x["axis"] |= {"tickCount": 5}
    ordered = sorted(points, key=lambda point: point[2] != REST)
    data = [{"x": _digits(a), "y": _digits(b), "c": colour} for a, b, colour in ordered]
    mark = {"type": "circle", "size": 30, "opacity": 0.75}
    layers = [_drawn(data, mark, x=x, y=y, color=_colour()), _y_title(y_title)]
    spec = {"width": wide, "height": high, "padding": padding(_AXIS, 10, 22, 40)}
    return svg(spec | {"layer": layers}, label)


def stacked(
    rows: Sequence[tuple[str, Sequence[tuple[str, float, str]]]], *, width: int, label: str
) -> str:
    """A bar a row, in parts (colour, share, name); names stand in the parts wide enough."""
    names = [visible(name, 22) for name, _ in rows]
    left = names_width(names)
    wide = width - left - 6
    bars, words = [], []
    for i, (_, parts) in enumerate(rows):
        start = 0.0
        for colour, share, name in parts:
            end = start + share
            if share > 0:
                # A hair of the page between the parts tells neighbours of like colour apart.
                a, b = round(wide * start, 1), round(wide * end, 1)
                bars.append({"i": i, "a": a, "b": max(a, b - 1), "c": colour})
                inner = visible(name, 24)
                if len(inner) * _CHARACTER * 0.92 + 8 < b - a:
                    words.append({"i": i, "x": round((a + b) / 2, 1), "t": inner})
            start = end
    x: Spec = {
        "type": "quantitative",
        "axis": None,
        "scale": {"domain": [0, wide], "range": [0, wide], "nice": False},
    }
    y: Spec = {"field": "i", "type": "ordinal", "axis": None}
    y["scale"] = {"domain": list(range(len(rows))), "paddingInner": 0.2, "paddingOuter": 0.1}
    inside = {"type": "text", "fontSize": 10.5, "fontWeight": 600, "color": "var(--page)"}
    outside = {"type": "text", "align": "left", "fontSize": 12, "color": INK}
    of_rows = [{"i": i, "t": name} for i, name in enumerate(names)]
    text = {"field": "t"}
    ends = {"x": {"field": "a", **x}, "x2": {"field": "b"}}
    layers = [
        _drawn(bars, {"type": "bar"}, y=y, color=_colour(), **ends),
        _drawn(words, inside, x={"field": "x", **x}, y=y, text=text),
        _drawn(of_rows, outside, x={"value": -left}, y=y, text=text),
    ]
    spec = {"width": wide, "height": 20 * len(rows), "padding": padding(left, 6, 2, 2)}
    return svg(spec | {"layer": layers}, label)


def heat(
    names: Sequence[str],
    lower: Sequence[Sequence[float | None]],
    upper: Sequence[Sequence[float | None]] | None,
    *,
    width: int,
    label: str,
) -> str:
    """A square of numbers: `lower` (0 to 1) below the diagonal, `upper` (-1 to 1) above it.

    Rows carry the names with their numbers, columns the numbers alone. Cells show hundredths.
    """
    shown = [f"{i + 1}  {visible(name, 20)}" for i, name in enumerate(names)]
    left = names_width(shown)
    number = max(1, len(names))
    cell = min(34, (width - left) // number)
    side = cell * number
    cells = []
    for i in range(len(names)):
        for j in range(len(names)):
            table = lower if j < i else upper
            value = f.finite(table[i][j]) if table is not None and i != j else None
            if value is None:
                continue
            colour = "var(--selection)" if j < i else "var(--c1)" if value >= 0 else "var(--loss)"
            strength = round(min(1.0, abs(value)), 3)
            cells.append(
                {"x": j * cell, "y": i * cell, "x2": (j + 1) * cell - 1, "y2": (i + 1) * cell - 1}
                | {"xm": (j + 0.5) * cell, "ym": (i + 0.5) * cell, "c": colour}
                | {"o": strength, "t": _hundredths(value)}
                | {"w": "var(--page)" if strength > 0.6 else INK}
            )
    scale = {"domain": [0, side], "range": [0, side], "nice": False}
    x: Spec = {"type": "quantitative", "axis": None, "scale": scale}
    opacity: Spec = {"field": "o", "type": "quantitative", "scale": None}
    ends = {"x": {"field": "x", **x}, "x2": {"field": "x2"}, "y": {"field": "y", **x}}
    ends |= {"y2": {"field": "y2"}}
    middle = {"x": {"field": "xm", **x}, "y": {"field": "ym", **x}}
    size = 10 if cell >= 20 else 9
    text = {"field": "t"}
    word: Spec = {"type": "text", "fontSize": size}
    white: Spec = {"field": "w", "type": "nominal", "scale": None}
    rows = [{"ym": (i + 0.5) * cell, "t": name} for i, name in enumerate(shown)]
    heads = [{"xm": (i + 0.5) * cell, "t": str(i + 1)} for i in range(len(names))]
    of_rows = {"type": "text", "align": "left", "fontSize": 11.5, "color": INK}
    above: Spec = {"type": "text", "fontSize": 10.5, "color": MUTED}
    layers = [
        _drawn(cells, {"type": "rect"}, color=_colour(), fillOpacity=opacity, **ends),
        *([_drawn(cells, word, text=text, color=white, **middle)] if cell >= 15 else []),
        _drawn(rows, of_rows, x={"value": -left}, y=middle["y"], text=text),
        _drawn(heads, above, x=middle["x"], y={"value": -8}, text=text),
    ]
    spec = {"width": side, "height": side, "padding": padding(left, 2, 18, 2)}
    return svg(spec | {"layer": layers}, label)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places moved apart to at least `gap`, in their order, as little as a sweep can.

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


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, … between the ends; powers of ten alone over many decades."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 4 else (1,)
    found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [tick for tick in found if low * 0.999 <= tick <= high * 1.001]


def _drawn(values: Sequence[Spec], mark: Spec, **encoding: Spec) -> Spec:
    return {"data": {"values": list(values)}, **layer(mark, **encoding)}


def _colour() -> Spec:
    return {"field": "c", "type": "nominal", "scale": None}


def _axis(name: str, title: str, domain: tuple[float, float], *, log: bool = False) -> Spec:
    large = log or max(map(abs, domain)) >= 10_000
    axis: Spec = {"title": visible(title, 100) or None, "tickCount": 5, "labelOverlap": True}
    axis |= {"domain": False, "ticks": False, "grid": name == "y", "labelPadding": 5}
    if large:
        axis["format"] = "~s"
    scale = {"type": "log" if log else "linear", "domain": list(domain), "nice": False}
    if not log:
        scale["zero"] = False
    return {"field": name, "type": "quantitative", "scale": scale, "axis": axis}


def _y_title(text: str) -> Spec:
    mark = {"type": "text", "align": "left", "color": MUTED, "fontSize": 11}
    place = {"x": {"value": -_AXIS + 4}, "y": {"value": -13}}
    return _drawn([{"t": visible(text, 80)}], mark, text={"field": "t"}, **place)


def _room(low: float, high: float) -> tuple[float, float]:
    """The ends with a little room beyond them."""
    edge = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - edge, high + edge


def _room_log(low: float, high: float) -> tuple[float, float]:
    edge = (high / low) ** 0.03
    return low / edge, high * edge


def _digits(value: float) -> float:
    """Six significant digits: more cannot be seen, and each takes bytes."""
    return float(f"{value:.6g}")


def _hundredths(value: float) -> str:
    """0.07 as 7, 1 as 100, below 0 with a minus sign."""
    return f"{round(100 * value)}".replace("-", f.MINUS)
