"""Training as rows and charts: loss curves, scaling laws, multipliers, costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from dataworth.report.plots import Curve, curves
from dataworth.report.svg import REST
from dataworth.results import format as f
from dataworth.results import reading as reading_
from dataworth.results.comparison import Comparison, Scaling, Training
from dataworth.results.inert import visible, word
from dataworth.results.reading import Reading, fixed

SHOWN_TARGETS = 8
SHOWN_LAWS = 200
BINS = 40  # of a loss curve: means over as many stretches of training
SKIPPED = 0.1  # of a loss curve: the steep beginning would flatten all that follows
LAW_POINTS = 32
WIDE, THIRD = 940, 300

_AXIS = {"tokens": "tokens trained on, log scale", "compute": "FLOP of training, log scale"}

Order = Sequence[str | None]
"""Targets; None is the mean over them."""
Points = Sequence[tuple[float, float]]


def axes(
    comparison: Comparison, reading: Reading
) -> Iterator[tuple[str, list[Scaling], list[str | None]]]:
    """Yield each axis that losses were measured along, with what is known and its targets."""
    for axis in _AXIS:
        every = comparison.get("scaling") or []
        known = [one for one in every if one["points"] and one["axis"] == axis]
        targets = {one["target"] for one in known}
        if known:
            yield axis, known, [t for t in (None, *reading.targets) if t in targets]


def figures(
    known: Sequence[Scaling], axis: str, order: Order, reading: Reading
) -> list[tuple[Markup, Markup]]:
    """Return (title, chart) for each target, the first one wide."""
    drawn: list[tuple[Markup, Markup]] = []
    for target in order[: SHOWN_TARGETS + 1]:
        chart = curves(
            [_curve(one, reading) for one in _sorted(known, target, reading)],
            width=THIRD if drawn else WIDE,
            height=220 if drawn else 330,
            x_title=_AXIS[axis],
            y_title=reading_.label(reading.measure),
            log=True,
            label=f"{axis}: loss and fitted law, {target or 'mean over targets'}",
        )
        if chart:
            title = "Mean over targets" if target is None else word(target, 60)
            drawn.append((Markup(title), Markup(chart)))
    return drawn


def _sorted(known: Sequence[Scaling], target: str | None, reading: Reading) -> list[Scaling]:
    place = {name: i for i, name in enumerate(reading.order)}
    mine = [one for one in known if one["target"] == target]
    return sorted(mine, key=lambda one: place.get(one["selection"], len(place)))


def _curve(one: Scaling, reading: Reading) -> Curve:
    points = [
        (x, y) for x, y, _ in one["points"] if f.finite(x) and f.finite(y) is not None and x > 0
    ]
    colour = reading.colours.get(one["selection"], REST)
    return Curve(one["selection"], colour, _line(one.get("law"), points), points)


def _line(law: Mapping[str, Any] | None, points: Points) -> Points:
    """Return the law within the measured range; without a law the means at each x."""
    if not points:
        return []
    if law and all(f.finite(law[key]) is not None for key in ("floor", "scale", "exponent")):
        low, high = min(x for x, _ in points), max(x for x, _ in points)
        ratio = (high / low) ** (1 / (LAW_POINTS - 1))
        xs = [low * ratio**k for k in range(LAW_POINTS)]
        return [(x, law["floor"] + law["scale"] * x ** -law["exponent"]) for x in xs]
    return means(points)


def means(points: Points) -> list[tuple[float, float]]:
    """Return the mean y at each x, by x."""
    sums: dict[float, list[float]] = {}
    for x, y in points:
        sums.setdefault(x, []).append(y)
    return [(x, sum(ys) / len(ys)) for x, ys in sorted(sums.items())]


def multipliers(
    known: Sequence[Scaling], order: Order, reading: Reading
) -> tuple[list[tuple[str, str]], list[tuple[str, list[dict[str, str]]]], str]:
    """Return heads (a target each), rows (a selection each), and where all were read, if there."""
    found = {(one["selection"], one["target"]): one.get("multiplier") for one in known}
    names = [name for name in reading.order if any(found.get((name, t)) for t in order)]
    targets = [t for t in order if any(found.get((name, t)) for name in names)]
    heads = [("n head", Markup("mean over targets" if t is None else word(t, 40))) for t in targets]
    rows = [(name, [_multiplier(found.get((name, t))) for t in targets]) for name in names]
    at = {x for one in found.values() if one and (x := f.finite(one.get("at"))) is not None}
    return list(heads), rows, reading_.tokens(at.pop()) if len(at) == 1 else ""


def _multiplier(given: Mapping[str, Any] | None) -> dict[str, str]:
    value = f.finite(given.get("value")) if given else None
    if given is None or value is None:
        text = "out of range" if given is not None and given.get("outside") else ""
        return {"kind": "quiet", "text": text, "interval": "", "tint": ""}
    low, high = f.finite(given.get("low")), f.finite(given.get("high"))
    kind = "quiet"
    if low is not None and high is not None:
        kind = "tint gain" if low > 1 else "tint loss" if high < 1 else "quiet"
    strength = 0.05 + 0.25 * min(1.0, abs(math.log(value)) / math.log(4)) if value > 0 else 0
    return {
        "kind": kind,
        "text": reading_.multiplier(value) + ("*" if given.get("outside") else ""),
        "interval": reading_.multiplier_interval(given),
        "tint": f"{strength:.2f}",
    }


def fitted(
    known: Sequence[Scaling], order: Order, reading: Reading
) -> list[tuple[str | None, str, list[str]]]:
    """Return (target, selection, floor, scale, exponent and residual in words) of each law."""
    rows = []
    for target in order:
        for one in _sorted(known, target, reading):
            if law := one.get("law"):
                keys = ("floor", "scale", "exponent")
                numbers = [_with_error(law[key], law.get(f"{key}_error")) for key in keys]
                error = fixed(f.finite(law.get("error")), 4)
                rows.append((target, one["selection"], [*numbers, error]))
    return rows[:SHOWN_LAWS]


def _with_error(value: float | None, error: float | None) -> str:
    """Format as 2.31 ± 0.04, with two digits of the error."""
    half = f.finite(error)
    if not half or half < 0 or f.finite(value) is None:
        return f.real(value)
    decimals = max(0, min(6, 1 - math.floor(math.log10(half))))
    return f"{fixed(value, decimals)} ± {fixed(half, decimals)}"


def panels(comparison: Comparison, reading: Reading) -> list[tuple[str, Markup]]:
    """Return (target, chart of the training loss), means over seeds."""
    setting = reading.setting
    trained = [
        t
        for t in comparison.get("trainings") or []
        if t.get("curve")
        and (setting is None or (t["size"], t["tokens"]) == (setting.size, setting.tokens))
    ]
    drawn: list[tuple[str, Markup]] = []
    for target in reading.targets[:SHOWN_TARGETS]:
        mine = [t for t in trained if t["target"] in (target, None)]
        if all(t["target"] is None for t in mine) and drawn:
            continue
        chart = _panel(mine, target, reading)
        if chart:
            drawn.append((target, Markup(chart)))
    return drawn


def _panel(trained: Sequence[Training], target: str, reading: Reading) -> str | None:
    lines = []
    for name in reading.order:
        mine = [t["curve"] for t in trained if t["selection"] == name]
        if line := binned([point for curve in mine for point in curve]):
            lines.append(Curve(name, reading.colours[name], line))
    return curves(
        lines,
        width=THIRD,
        height=230,
        x_title="tokens seen",
        y_title="training loss (nats per token)",
        log=False,
        label=f"Training loss against tokens seen, {target}",
    )


def binned(points: Points) -> list[tuple[float, float]]:
    """Return means of x and y over equal stretches of x, from a tenth of the largest x on."""
    good = [(x, y) for x, y in points if f.finite(x) is not None and f.finite(y) is not None]
    last = max((x for x, _ in good), default=0.0)
    bins: dict[int, list[tuple[float, float]]] = {}
    for x, y in good:
        if last > 0 and x >= SKIPPED * last:
            bins.setdefault(min(BINS - 1, int(BINS * x / last)), []).append((x, y))
    return [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part))
        for _, part in sorted(bins.items())
    ]


def costs(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return what was trained, by size and tokens: parameters, tokens, runs, passes, FLOP, time."""
    groups: dict[tuple[str, int], list[Training]] = {}
    for training in comparison.get("trainings") or []:
        groups.setdefault((training["size"], training["tokens"]), []).append(training)
    rows = []
    for (size, tokens), runs in sorted(groups.items(), key=lambda g: (_parameters(g[1]), g[0][1])):
        epochs = [e for t in runs if (e := f.finite(t.get("epochs"))) is not None]
        low, high = (f.real(min(epochs)), f.real(max(epochs))) if epochs else ("", "")
        flop = sum(f.finite(t.get("flop")) or 0.0 for t in runs)
        seconds = sum(f.finite(t.get("seconds")) or 0.0 for t in runs)
        numbers = [reading_.tokens(_parameters(runs)), reading_.tokens(tokens), f"{len(runs):,}"]
        passes = low if low == high else f"{low} to {high}"
        rows.append((size, [*numbers, passes, visible(f"{flop:.2g}"), f.duration(seconds)]))
    return rows


def _parameters(runs: Sequence[Training]) -> float:
    return max((f.finite(t.get("parameters")) or 0.0 for t in runs), default=0.0)
