"""Charts of a selection: distributions, shares before and after, gains on targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dataworth.report.svg import (
    AXIS,
    CHARACTER,
    INK,
    MUTED,
    NAME,
    PAGE,
    Canvas,
    Scale,
    log_ticks,
    names_width,
    percent,
)
from dataworth.results import format as f
from dataworth.results.inert import visible
from dataworth.results.selection import Histogram, Series

SERIES: tuple[Series, ...] = ("pool", "selection", "target")
_COLOUR = {"pool": "var(--pool-text)", "selection": "var(--selection)", "target": "var(--target)"}
_AXIS = 40  # pixels to the left of a plot, for the numbers of its axis

Box = tuple[float, float, float, float]
"""Left, top, width, height, in pixels."""


def distribution(
    histogram: Histogram, *, unit: str, width: int, height: int, threshold: float | None = None
) -> str | None:
    """Draw shares of documents per bin, an outline for each series, and the cut.

    `width` and `height` are pixels of the whole picture. None with nothing to draw.
    """
    edges, log = histogram["edges"], histogram.get("scale") == "log"
    shares = _shares(histogram)
    if not shares or len(edges) < 2 or not edges[0] < edges[-1] or (log and edges[0] <= 0):
        return None
    top = 1.16 * max(max(values) for values in shares.values())
    x = Scale(edges[0], edges[-1], _AXIS, width - 14, log)
    y = Scale(0.0, top, height - 42, 10)
    canvas = Canvas(width, height, f"Share of documents by {unit}: {' and '.join(shares)}")
    canvas.y_axis(y, x.start, x.end, percent)
    canvas.line(x.start, y.start, x.end, y.start, AXIS)
    marks = log_ticks(edges[0], edges[-1]) if log else None
    canvas.x_axis(x, y.start + 2, title=unit, marks=marks)
    for name, values in shares.items():
        _outline(canvas, name, [x(edge) for edge in edges], [y(value) for value in values], y.start)
    taken: list[Box] = []
    cut = f.finite(threshold)
    if cut is not None and edges[0] <= cut <= edges[-1]:
        label, left = f"cut {f.real(cut)}", x(cut) < (x.start + x.end) / 2
        wide = len(label) * CHARACTER + 8
        canvas.line(x(cut), y.start, x(cut), y.end, INK)
        at, text_at = ("start", x(cut) + 4) if left else ("end", x(cut) - 4)
        canvas.text(text_at, 17, label, at=at, size=11, halo=True)
        taken.append((x(cut) if left else x(cut) - wide, 10, wide, 15))
    for name, (at_x, at_y) in _label_places(shares, edges, x, y, taken).items():
        colour = _COLOUR[name]
        canvas.text(at_x, at_y, name, at="middle", colour=colour, size=11, weight=600, halo=True)
    return str(canvas)


def _outline(
    canvas: Canvas, series: str, edges: Sequence[float], heights: Sequence[float], floor: float
) -> None:
    steps = [(edges[i + k], height) for i, height in enumerate(heights) for k in (0, 1)]
    closed = [(edges[0], floor), *steps, (edges[-1], floor)]
    if series == "pool":
        canvas.path(closed, "var(--pool)", fill=0.45)
    elif series == "selection":
        canvas.path(closed, "var(--selection)", fill=0.16)
        canvas.path(steps, "var(--selection)", width=1.75)
    else:
        canvas.path(steps, "var(--target)", width=1.4, dash="4 2.5")


def _shares(histogram: Histogram) -> dict[str, list[float]]:
    """Return each series' counts as shares of its documents, those outside the edges included."""
    result: dict[str, list[float]] = {}
    bins, outside = len(histogram["edges"]) - 1, histogram.get("outside", {})
    for name in SERIES:
        values = [f.finite(value) or 0.0 for value in histogram.get(name) or ()]
        total = sum(values) + (f.finite(outside.get(name)) or 0)
        if bins > 0 and len(values) == bins and sum(values) > 0:
            result[name] = [value / total for value in values]
    return result


def _label_places(
    shares: dict[str, list[float]], edges: Sequence[float], x: Scale, y: Scale, taken: list[Box]
) -> dict[str, tuple[float, float]]:
    """Return where each series' name stands: over its highest bin where nothing else stands."""
    result: dict[str, tuple[float, float]] = {}
    for name, values in shares.items():
        wide = len(name) * CHARACTER + 6
        rest = [other for key, other in shares.items() if key != name]
        highest = [max((other[i] for other in rest), default=0.0) for i in range(len(values))]
        # A name reads best where its own outline is the highest.
        ranked = sorted(
            range(len(values)),
            key=lambda i: -values[i] * (1.0 if values[i] >= highest[i] else 0.5),
        )
        for i in ranked:
            middle, over = (x(edges[i]) + x(edges[i + 1])) / 2, y(values[i]) - 9
            box = (middle - wide / 2, over - 8, wide, 16.0)
            inside = box[0] >= x.start - 4 and box[0] + wide <= x.end + 4
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                result[name] = (middle, over)
                break
    return result


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def dumbbell(
    rows: Sequence[tuple[str, float, float]], *, width: int, title: str, was: str = "was"
) -> str:
    """Draw a share before (grey ring) and after (dot) for each row: label, before, after, in 0…1.

    `width` is pixels of the whole picture; `was` is the word for what was before.
    """
    left, right = names_width([visible(name, NAME) for name, _, _ in rows]), 190
    top = max((max(row[1], row[2]) for row in rows), default=1) or 1
    x = Scale(0.0, 1.02 * top, left, width - right)
    canvas = Canvas(width, 42 + 22 * len(rows), f"{title}: pool and selection")
    canvas.x_axis(x, 38, title=title, words=percent, above=True, grid=22 * len(rows))
    for i, (name, before, after) in enumerate(rows):
        y = 49 + 22 * i
        canvas.line(x(before), y, x(after), y, AXIS)
        canvas.dot(x(before), y, 3.8, PAGE, ring="var(--pool-text)")
        canvas.dot(x(after), y, 4.8, "var(--selection)")
        canvas.text(0, y, name, limit=NAME)
        canvas.text(x.end + 62, y, f.share(after), at="end", weight=600)
        canvas.text(x.end + 134, y, f"{was} {f.share(before)}", at="end", colour=MUTED)
        by = f.factor(after / before) if before and after else ""
        canvas.text(width - 4, y, by, at="end")
    return str(canvas)


def flow(steps: Sequence[tuple[str, float]], *, width: int) -> str:
    """Draw what is left after each step (name, documents), and what left there, downwards.

    `width` is pixels of the whole picture.
    """
    left, row = names_width([visible(name, NAME) for name, _ in steps]), 34
    whole = max((number for _, number in steps), default=0.0) or 1.0
    x = Scale(0.0, whole, left, width - 250)
    canvas = Canvas(width, row * len(steps), "Documents left after each step")
    for i, (name, number) in enumerate(steps):
        y, last = row * i, i == len(steps) - 1
        before = steps[i - 1][1] if i else number
        colour = "var(--selection)" if last else "var(--pool)"
        if i:
            canvas.path(
                [(x(0), y - row + 18), (x(before), y - row + 18), (x(number), y), (x(0), y)],
                "var(--pool)",
                fill=0.25,
            )
        canvas.rect(x(number), y, x(before) - x(number), 18, "var(--loss)", opacity=0.35)
        canvas.rect(x(0), y, max(1.0, x(number) - x(0)), 18, colour)
        canvas.text(0, y + 9, name, limit=NAME)
        gone = f"{f.MINUS}{f.count(before - number)}" if before > number else ""
        canvas.text(x.end + 90, y + 9, gone, at="end", colour="var(--loss)")
        canvas.text(x.end + 180, y + 9, f.count(number), at="end", weight=600)
        canvas.text(width - 4, y + 9, f.share(number, whole), at="end", colour=MUTED)
    return str(canvas)


def gains(rows: Sequence[dict[str, Any]], *, width: int) -> str:
    """Draw the gain on each target: the way to the bound, random's place, the selection's.

    Each row holds `name`, `value`, `bound`, `low`, `high` (random, two spreads around), `text`;
    numbers may be None. `width` is pixels of the whole picture.
    """
    left = names_width([visible(row["name"], NAME) for row in rows])
    numbers = [row[key] for row in rows for key in ("value", "bound", "low", "high")]
    known = [number for number in numbers if number is not None] or [1.0]
    said = max((len(row["text"]) for row in rows), default=0) * CHARACTER + 24
    x = Scale(min(0.0, *known), max(0.0, *known) or 1.0, left, width - min(said, width / 2))
    height = 4 + 30 * len(rows)
    canvas = Canvas(width, height + 42, "Gain on each target, with its bound and random selections")
    title = "gain in nats per word (0: as random documents)"
    canvas.x_axis(x, height, title=title, grid=height - 4)
    for i, row in enumerate(rows):
        y, value, bound = 19 + 30 * i, row["value"], row["bound"]
        for end, colour in ((bound, "var(--wash)"), (value, "var(--selection)")):
            if end is not None:
                a, b = sorted((x(0.0), x(end)))
                canvas.rect(a, y - 4.5, b - a, 9, colour, round_=2)
        if row["low"] is not None and row["high"] is not None:
            canvas.line(x(row["low"]), y, x(row["high"]), y, INK, 5)
        if bound is not None:
            canvas.line(x(bound), y - 8.5, x(bound), y + 8.5, "var(--target)", 2)
        canvas.text(0, y, row["name"], limit=NAME)
        canvas.text(x.end + 14, y, row["text"])
    return str(canvas)
