"""Static SVG charts: Vega-Lite specifications drawn by vl-convert, no browser and no JavaScript.

Colours are CSS variables, so that a chart follows the page into the dark and onto paper. Text from
data only ever stands in data values, never in an expression, and is made visible first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any
from unicodedata import east_asian_width

from dataworth.results import format as f
from dataworth.results.inert import visible
from dataworth.results.selection import Histogram, Series

Spec = dict[str, Any]

SERIES: tuple[Series, ...] = ("pool", "selection", "target")
_COLOUR = {"pool": "var(--pool-text)", "selection": "var(--selection)", "target": "var(--target)"}
_CHARACTER = 6.6  # pixels that a character of a label takes, on the wide side
_AXIS = 40  # pixels to the left of a plot, for the numbers of its axis
_LOG_STEPS = (1, 2, 5)

_NEEDLESS = re.compile(
    r' (?:xmlns(?::xlink)?|version|aria-\w+|role|pointer-events|font-family)="[^"]*"'
    r'| class="mark-[^"]*"| opacity="1"'
)

_CONFIG: Spec = {
    "aria": False,
    "background": None,
    "font": "sans-serif",
    "autosize": "none",  # every size is given, so that no machine's fonts change the picture
    "view": {"stroke": None},
    "axis": {
        "aria": False,
        "domainColor": "var(--axis)",
        "gridColor": "var(--line)",
        "labelColor": "var(--muted)",
        "labelFontSize": 11,
        "tickColor": "var(--axis)",
        "tickSize": 4,
        "titleColor": "var(--muted)",
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "titlePadding": 7,
    },
    "text": {"fontSize": 11},
}


def svg(spec: Spec, label: str) -> str:
    """The chart as an `<svg>` element with `label` for those who cannot see it.

    Everything in a Vega-Lite picture that could tell two drawings of one chart apart (numbers
    of clip paths) is avoided by the specifications, so the same chart is the same bytes.
    """
    import vl_convert  # takes half a second at its first call: only when a report is written

    drawn: str = vl_convert.vegalite_to_svg({"config": _CONFIG} | spec)
    # What no reader needs goes, from tags only: words that look like it are data.
    drawn = re.sub(r'<path class="(background|foreground)"[^>]*/>', "", drawn)
    drawn = re.sub("<[^>]*>", lambda tag: _NEEDLESS.sub("", tag.group()), drawn)
    name = re.sub(r'["<>&]', " ", visible(label, 200))
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)


def distribution(
    histogram: Histogram, *, unit: str, width: int, height: int, threshold: float | None = None
) -> str | None:
    """Shares of documents per bin, one outline a series, and the cut; `None` with no data.

    `width` and `height` are pixels of the whole picture.
    """
    edges, log = histogram["edges"], histogram.get("scale") == "log"
    shares = _shares(histogram)
    if not shares or len(edges) < 2 or not edges[0] < edges[-1] or (log and edges[0] <= 0):
        return None
    width, height = width - _AXIS - 14, height - 52
    top = max(max(values) for values in shares.values()) * 1.16
    x, y = _scales(edges, log, unit, top)
    layers: list[Spec] = []
    for name, values in shares.items():
        heights = [*values, values[-1]]
        data = [{"x": a, "y": b} for a, b in zip(edges, heights, strict=True)]
        layers += [
            {"data": {"values": data}, "mark": mark, "encoding": {"x": x, "y": y}}
            for mark in _marks(name)
        ]
    cut = f.finite(threshold)
    taken: list[tuple[float, float, float, float]] = []
    if cut is not None and edges[0] <= cut <= edges[-1]:
        label = f"cut {f.real(cut)}"
        layers += _cut(cut, label, _place(cut, edges, log) < 0.5)
        left = width * _place(cut, edges, log)
        wide = len(label) * _CHARACTER + 8
        taken.append((left if left < width / 2 else left - wide, 0, wide, 15))
    for name, (at_x, at_y) in _label_places(shares, edges, log, top, width, height, taken).items():
        layers.append(
            {
                "data": {"values": [{"x": at_x, "y": at_y, "t": name}]},
                "mark": {"type": "text", "dy": -9, "color": _COLOUR[name], "fontWeight": 600}
                | {"stroke": "var(--page)", "strokeWidth": 3, "strokeJoin": "round"},
                "encoding": {"x": x, "y": y, "text": {"field": "t"}},
            }
        )
    names = " and ".join(shares)
    spec = {"width": width, "height": height, "padding": padding(_AXIS, 14, 10, 42)}
    return svg(spec | {"layer": layers}, f"Share of documents by {unit}: {names}")


def _scales(edges: Sequence[float], log: bool, unit: str, top: float) -> tuple[Spec, Spec]:
    axis: Spec = {"title": visible(unit, 60), "grid": False, "labelOverlap": True}
    axis |= {"values": _log_ticks(edges), "format": ",~g"} if log else {"tickCount": 7}
    x: Spec = {
        "field": "x",
        "type": "quantitative",
        "scale": {"type": "log" if log else "linear", "domain": [edges[0], edges[-1]]}
        | {"nice": False, "zero": False},
        "axis": axis,
    }
    y: Spec = {
        "field": "y",
        "type": "quantitative",
        "scale": {"domain": [0, top], "nice": False},
        "axis": {"title": None, "format": "~%", "tickCount": 4, "domain": False, "ticks": False},
    }
    return x, y


def _log_ticks(edges: Sequence[float]) -> list[float]:
    """1, 2, 5, 10, 20, … between the outer edges; powers of ten alone over many decades."""
    low, high = math.floor(math.log10(edges[0])), math.ceil(math.log10(edges[-1]))
    steps = _LOG_STEPS if high - low <= 5 else (1,)
    ticks = [step * 10.0**power for power in range(low, high + 1) for step in steps]
    return [tick for tick in ticks if edges[0] <= tick <= edges[-1]]


def dumbbell(
    rows: Sequence[tuple[str, float, float]], *, width: int, title: str, was: str = "was"
) -> str:
    """Share before (grey ring) and after (dot) for each row: label, before, after, in 0…1.

    `width` is pixels of the whole picture; `was` is the word for what was before.
    """
    names = [visible(name, 28) for name, _, _ in rows]
    left, right = names_width(names), 190
    width -= left + right
    data = [
        {"i": i, "n": name, "a": before, "b": after, "now": f.share(after)}
        | {"was": f"{was} {f.share(before)}", "by": _factor(before, after)}
        for i, (name, (_, before, after)) in enumerate(zip(names, rows, strict=True))
    ]
    top = max((max(row[1], row[2]) for row in rows), default=1) or 1
    y: Spec = {"field": "i", "type": "ordinal", "axis": None}
    shares: Spec = {
        "type": "quantitative",
        "scale": {"domain": [0, top * 1.02], "nice": False},
        "axis": {"format": "~%", "tickCount": 6, "title": title, "orient": "top", "domain": False}
        | {"ticks": False},
    }
    before, after = {"field": "a", **shares}, {"field": "b", **shares}
    ring = {"type": "point", "filled": True, "fill": "var(--page)", "stroke": "var(--pool-text)"}
    dot = {"type": "circle", "color": "var(--selection)", "size": 74, "opacity": 1}
    return svg(
        {
            "width": width,
            "height": 22 * len(rows),
            "padding": padding(left, right, 38, 4),
            "data": {"values": data},
            "layer": [
                layer({"type": "rule", "color": "var(--axis)"}, y=y, x=before, x2={"field": "b"}),
                layer({**ring, "size": 46, "strokeWidth": 1.75, "opacity": 1}, y=y, x=before),
                layer(dot, y=y, x=after),
                words("n", y, -left, "left"),
                words("now", y, width + 62, "right", weight=600),
                words("was", y, width + 134, "right", colour="var(--muted)"),
                words("by", y, width + right - 4, "right"),
            ],
        },
        f"{title}: pool and selection",
    )


def gains(rows: Sequence[Spec], *, width: int) -> str:
    """Gain on each target: the way to the bound, random's place, the selection's place.

    Each row holds `name`, `value`, `bound`, `low`, `high` (random, two spreads around), `text`;
    numbers may be `None`. `width` is pixels of the whole picture.
    """
    names = [visible(row["name"], 28) for row in rows]
    left, right = names_width(names), 292
    width -= left + right
    data = [
        {"i": i, "zero": 0, **row, "name": name}
        for i, (name, row) in enumerate(zip(names, rows, strict=True))
    ]
    y: Spec = {"field": "i", "type": "ordinal", "axis": None}
    numbers = [row[key] for row in rows for key in ("value", "bound", "low", "high")]
    known = [number for number in numbers if number is not None] or [1.0]
    nats: Spec = {
        "type": "quantitative",
        "scale": {"domain": [min(0.0, *known), max(0.0, *known) or 1.0], "nice": False},
        "axis": {"title": "gain in nats per word (0: as random documents)", "tickCount": 6}
        | {"domain": False, "ticks": False, "format": "~g"},
    }

    def at(key: str) -> Spec:
        return {"field": key, **nats}

    track = {"type": "bar", "height": 9, "cornerRadius": 2}
    chance = {"type": "rule", "color": "var(--ink)", "strokeWidth": 5}
    bound = {"type": "tick", "color": "var(--target)", "thickness": 2, "size": 17}
    blue = {**track, "color": "var(--selection)"}
    return svg(
        {
            "width": width,
            "height": 30 * len(rows),
            "padding": padding(left, right, 4, 42),
            "data": {"values": data},
            "layer": [
                layer({**track, "color": "var(--wash)"}, y=y, x=at("zero"), x2={"field": "bound"}),
                layer(blue, y=y, x=at("zero"), x2={"field": "value"}),
                layer(chance, y=y, x=at("low"), x2={"field": "high"}),
                layer(bound, y=y, x=at("bound")),
                words("name", y, -left, "left"),
                words("text", y, width + 14, "left"),
            ],
        },
        "Gain on each target, with its bound and random selections",
    )


def padding(left: int, right: int, top: int, bottom: int) -> Spec:
    """Pixels around the plot."""
    return {"left": left, "right": right, "top": top, "bottom": bottom}


def layer(mark: Spec, **encoding: Spec) -> Spec:
    """One layer of a chart."""
    return {"mark": mark, "encoding": encoding}


def words(
    field: str, y: Spec, x: int, align: str, *, colour: str = "var(--ink)", weight: int = 400
) -> Spec:
    """A column of words beside the plot, one a row, at x pixels."""
    mark = {"type": "text", "align": align, "color": colour, "fontWeight": weight, "fontSize": 12}
    return layer(mark, y=y, x={"value": x}, text={"field": field})


def names_width(names: Sequence[str]) -> int:
    """Pixels for a column of names; wide letters (Chinese, Japanese, Korean) count twice."""
    wide = (sum(2 if east_asian_width(c) in "WF" else 1 for c in name) for name in names)
    return round(min(30, max(wide, default=0)) * _CHARACTER * 1.08) + 16


def _factor(before: float, after: float) -> str:
    return f.factor(after / before) if before and after else ""


def _shares(histogram: Histogram) -> dict[str, list[float]]:
    """Each series' counts as shares of its documents, those outside the edges included."""
    result: dict[str, list[float]] = {}
    bins = len(histogram["edges"]) - 1
    outside = histogram.get("outside", {})
    for name in SERIES:
        values = [f.finite(value) or 0.0 for value in histogram.get(name) or ()]
        total = sum(values) + (f.finite(outside.get(name)) or 0)
        if bins > 0 and len(values) == bins and sum(values) > 0:
            result[name] = [round(value / total, 6) for value in values]
    return result


def _marks(series: str) -> list[Spec]:
    step = {"interpolate": "step-after"}
    if series == "pool":
        return [
            {"type": "area", "color": "var(--pool)", "opacity": 0.45, **step},
        ]
    if series == "selection":
        return [
            {"type": "area", "color": "var(--selection)", "opacity": 0.16, **step},
            {"type": "line", "color": "var(--selection)", "strokeWidth": 1.75, **step},
        ]
    dashed = {"strokeDash": [4, 2.5], "strokeWidth": 1.4, **step}
    return [{"type": "line", "color": "var(--target)", **dashed}]


def _cut(cut: float, label: str, on_the_left: bool) -> list[Spec]:
    line = {"type": "rule", "color": "var(--ink)", "strokeWidth": 1}
    text = {
        "type": "text",
        "color": "var(--ink)",
        "align": "left" if on_the_left else "right",
        "dx": 4 if on_the_left else -4,
        "stroke": "var(--page)",
        "strokeWidth": 3,
    }
    data = {"data": {"values": [{"x": cut, "t": label}]}}
    x = {"field": "x", "type": "quantitative"}
    return [
        {**data, **layer(line, x=x)},
        {**data, **layer(text, x=x, y={"value": 7}, text={"field": "t"})},
    ]


def _place(x: float, edges: Sequence[float], log: bool) -> float:
    """Where x lies between the outer edges, 0…1, as drawn."""
    low, high = edges[0], edges[-1]
    if log:
        return math.log(x / low) / math.log(high / low)
    return (x - low) / (high - low)


def _label_places(
    shares: dict[str, list[float]],
    edges: Sequence[float],
    log: bool,
    top: float,
    width: int,
    height: int,
    taken: list[tuple[float, float, float, float]],
) -> dict[str, tuple[float, float]]:
    """Where each series' name stands: over its highest bin where no other name stands.

    Returned in data units (x, y); boxes are compared in pixels (left, top, width, height).
    """
    result: dict[str, tuple[float, float]] = {}
    for name, values in shares.items():
        wide = len(name) * _CHARACTER + 6
        others = [other for key, other in shares.items() if key != name]
        highest = [max((other[i] for other in others), default=0.0) for i in range(len(values))]
        # A name reads best where its own outline is the highest.
        ranked = sorted(
            range(len(values)),
            key=lambda i: -values[i] * (1.0 if values[i] >= highest[i] else 0.5),
        )
        for index in ranked:
            middle = (edges[index] * edges[index + 1]) ** 0.5 if log else 0.0
            middle = middle or (edges[index] + edges[index + 1]) / 2
            left = width * _place(middle, edges, log) - wide / 2
            box = (left, height * (1 - values[index] / top) - 17, wide, 16.0)
            inside = box[0] >= -4 and box[0] + wide <= width + 4
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                result[name] = (middle, values[index])
                break
    return result


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
