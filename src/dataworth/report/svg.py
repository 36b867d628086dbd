"""A canvas of static SVG, scales and ticks: all that the charts are drawn with.

Own code instead of Vega-Lite: its renderer takes 84 MB on disk and about 0.2 s for a chart, this
takes a millisecond. Colours are CSS variables, so that a chart follows
the page into the dark and onto paper. Text from data is made visible, then escaped, by `text`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from unicodedata import east_asian_width

from dataworth.results import format as f
from dataworth.results.inert import visible

INK, MUTED, PAGE = "var(--ink)", "var(--muted)", "var(--page)"
LINE, AXIS = "var(--line)", "var(--axis)"  # of a grid, of an axis
REST = "var(--pool)"  # what has no colour of its own
NAME = 28  # characters of a name beside a chart
CHARACTER = 6.6  # pixels that a character of a label takes, on the wide side
_TICK = 52  # pixels that a number of an axis wants


@dataclass
class Canvas:
    """A picture of `width` x `height` pixels; places are pixels from its top left corner."""

    width: float
    height: float
    label: str  # for those who cannot see it
    parts: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        size = f'width="{px(self.width)}" height="{px(self.height)}"'
        box = f'viewBox="0 0 {px(self.width)} {px(self.height)}"'
        name = escape(visible(self.label, 200))
        return f'<svg role="img" aria-label="{name}" {size} {box}>{"".join(self.parts)}</svg>'

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: str = LINE, width: float = 1
    ) -> None:
        """Draw a straight line."""
        ends = f'x1="{px(x1)}" y1="{px(y1)}" x2="{px(x2)}" y2="{px(y2)}"'
        self.parts.append(f'<line {ends} stroke="{colour}" stroke-width="{width:g}"/>')

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        opacity: float = 1,
        round_: float = 0,
    ) -> None:
        """Draw a filled box from its top left corner; nothing for one without an extent."""
        if width <= 0 or height <= 0:
            return
        box = f'x="{px(x)}" y="{px(y)}" width="{px(width)}" height="{px(height)}"'
        more = f' rx="{round_:g}"' if round_ else ""
        more += f' fill-opacity="{opacity:.3g}"' if opacity < 1 else ""
        self.parts.append(f'<rect {box} fill="{colour}"{more}/>')

    def dot(
        self, x: float, y: float, radius: float, colour: str, *, opacity: float = 1, ring: str = ""
    ) -> None:
        """Draw a disc; with `ring` its outline in that colour."""
        more = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
        more += f' stroke="{ring}" stroke-width="1.75"' if ring else ""
        place = f'cx="{px(x)}" cy="{px(y)}" r="{radius:g}"'
        self.parts.append(f'<circle {place} fill="{colour}"{more}/>')

    def path(
        self,
        points: Iterable[tuple[float, float]],
        colour: str,
        *,
        width: float = 0,
        fill: float = 0,
        dash: str = "",
    ) -> None:
        """Draw a line of `width` through the points, or what it surrounds at an opacity."""
        way = "L".join(f"{px(x)},{px(y)}" for x, y in points)
        if fill:
            paint = f'fill="{colour}" fill-opacity="{fill:g}"'
        else:
            paint = f'fill="none" stroke="{colour}" stroke-width="{width:g}"'
        more = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<path d="M{way}" {paint}{more}/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        at: str = "start",
        colour: str = INK,
        size: float = 12,
        weight: int = 400,
        halo: bool = False,
        limit: int | None = None,
        upright: bool = False,
    ) -> None:
        """Write at most `limit` characters, their middle at height y; `at`: start, middle, end.

        `upright`: from y upwards, their middle at x.
        """
        if not text:
            return
        x, y = (x + 0.35 * size, y) if upright else (x, y + 0.35 * size)
        place = f'x="{px(x)}" y="{px(y)}" font-size="{size:g}" fill="{colour}"'
        more = f' text-anchor="{at}"' if at != "start" else ""
        more += f' font-weight="{weight}"' if weight != 400 else ""
        more += f' transform="rotate(-90 {px(x)} {px(y)})"' if upright else ""
        more += f' stroke="{PAGE}" stroke-width="3" stroke-linejoin="round"' if halo else ""
        self.parts.append(f"<text {place}{more}>{escape(visible(text, limit))}</text>")

    def x_axis(
        self,
        scale: Scale,
        y: float,
        *,
        title: str = "",
        marks: Sequence[float] | None = None,
        words: Callable[[float], str] | None = None,
        above: bool = False,
        grid: float = 0,
    ) -> None:
        """Write the numbers of a horizontal axis below y (or above it), and its title.

        `grid`: pixels of the lines from the axis into the plot. Numbers that would touch the one
        before are left out.
        """
        marks = marks if marks is not None else scale.ticks()
        side, free = (-1 if above else 1), -math.inf
        for mark in marks:
            label = (words or number)(mark)
            half = len(label) * CHARACTER / 2
            if grid:
                self.line(scale(mark), y, scale(mark), y - side * grid)
            if scale(mark) - half > free:
                self.text(scale(mark), y + side * 12, label, at="middle", colour=MUTED, size=11)
                free = scale(mark) + half + 4
        middle = (scale.start + scale.end) / 2
        self.text(middle, y + side * 29, title, at="middle", colour=MUTED, size=11, limit=140)

    def y_axis(
        self, scale: Scale, left: float, right: float, words: Callable[[float], str]
    ) -> None:
        """Draw the lines of a vertical axis from left to right, their numbers before them."""
        for mark in ticks(scale.low, scale.high, round(abs(scale.end - scale.start)), 42):
            self.line(left, scale(mark), right, scale(mark))
            self.text(left - 6, scale(mark), words(mark), at="end", colour=MUTED, size=11)


@dataclass(frozen=True)
class Scale:
    """From numbers, `low` to `high`, to pixels, `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * share

    def ticks(self) -> list[float]:
        """Return round numbers along it."""
        if self.log:
            return log_ticks(self.low, self.high)
        return ticks(self.low, self.high, round(abs(self.end - self.start)), 1.6 * _TICK)


def px(value: float) -> str:
    """Return pixels to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def ticks(low: float, high: float, wide: float, each: float = _TICK) -> list[float]:
    """Return round numbers between the ends, one for `each` pixels of `wide`, but two or more."""
    raw = (high - low) / max(2, wide // each)
    power = 10.0 ** math.floor(math.log10(raw))
    steps = [size * power for size in (0.5, 1, 2, 4, 5, 10)]
    at = next(i for i, step in enumerate(steps) if step >= raw * 0.999)
    found = _multiples(steps[at], low, high)
    return found if len(found) > 1 or at == 0 else _multiples(steps[at - 1], low, high)


def _multiples(step: float, low: float, high: float) -> list[float]:
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(k * step, 12) for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5, 10, … between the ends; powers of ten alone over many decades."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 5 else (1,)
    found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [tick for tick in found if low * 0.999 <= tick <= high * 1.001]


def number(value: float) -> str:
    """Return a number of an axis, large ones with a letter, with a typographic minus."""
    if abs(value) >= 10_000:
        digits, _, letter = f.short(value).partition(" ")
        return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + letter
    return f"{value:g}".replace("-", f.MINUS)


def percent(value: float) -> str:
    """Return a share of an axis."""
    return f"{100 * value:g}%"


def room(low: float, high: float) -> tuple[float, float]:
    """Return the ends with a little room beyond them."""
    edge = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - edge, high + edge


def names_width(names: Sequence[str]) -> int:
    """Return pixels for a column of names; Chinese, Japanese and Korean letters count twice."""
    wide = (sum(2 if east_asian_width(c) in "WF" else 1 for c in name) for name in names)
    return round(min(30, max(wide, default=0)) * CHARACTER * 1.08) + 16
