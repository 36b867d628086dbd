"""The sections of a comparison's page on how models learn: loss curves, scaling laws, multipliers.

Every function returns the inside of a section, or an empty string when its part is missing.
Data enters only through `inert`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dataworth.report.comparison_plots import REST, Curve, curves
from dataworth.report.frame import folded
from dataworth.report.sections import THIRD, WIDE, table
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

_AXIS = {"tokens": "tokens trained on, log scale", "compute": "FLOP of training, log scale"}


def scaling(comparison: Comparison, reading: Reading) -> str:
    """Loss against tokens or compute with the fitted laws, compute multipliers, the laws."""
    given = [one for one in comparison.get("scaling") or [] if one["points"]]
    parts = []
    for axis in ("tokens", "compute"):
        mine = [one for one in given if one["axis"] == axis]
        if mine:
            parts.append(_one_axis(mine, axis, reading))
    return "".join(parts)


def _one_axis(given: Sequence[Scaling], axis: str, reading: Reading) -> str:
    known = dict.fromkeys(one["target"] for one in given)
    order = [target for target in (None, *reading.targets) if target in known]
    figures: list[str] = []
    for target in order[: SHOWN_TARGETS + 1]:
        wide = not figures
        chart = curves(
            [_curve(one, reading) for one in _sorted(given, target, reading)],
            width=WIDE if wide else THIRD,
            height=330 if wide else 220,
            x_title=_AXIS[axis],
            y_title=reading_.label(reading.measure),
            log=True,
            label=f"{axis}: loss and fitted law, {target or 'mean over targets'}",
        )
        if chart:
            title = word(target, 60) if target is not None else "Mean over targets"
            figures.append(f"<figure><figcaption><h3>{title}</h3></figcaption>{chart}</figure>")
    first, rest = "".join(figures[:1]), "".join(figures[1:])
    pair = f'<div class="three">{rest}</div>' if rest else ""
    multipliers = _multipliers(given, axis, order, reading)
    laws = folded("The fitted laws", _laws(given, order, reading))
    return f"{first}{multipliers}{pair}{laws}"


def _sorted(given: Sequence[Scaling], target: str | None, reading: Reading) -> list[Scaling]:
    place = {name: i for i, name in enumerate(reading.order)}
    mine = [one for one in given if one["target"] == target]
    return sorted(mine, key=lambda one: place.get(one["selection"], len(place)))


def _curve(one: Scaling, reading: Reading) -> Curve:
    points = [
        (x, y) for x, y, _ in one["points"] if f.finite(x) and f.finite(y) is not None and x > 0
    ]
    colour = reading.colours.get(one["selection"], REST)
    return Curve(one["selection"], colour, _line(one.get("law"), points), points)


def _line(
    law: Mapping[str, Any] | None, points: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """The law within the measured range; without a law the means at each x."""
    if not points:
        return []
    if law and all(f.finite(law[key]) is not None for key in ("floor", "scale", "exponent")):
        low, high = min(x for x, _ in points), max(x for x, _ in points)
        ratio = (high / low) ** (1 / (LAW_POINTS - 1))
        xs = [low * ratio**k for k in range(LAW_POINTS)]
        return [(x, law["floor"] + law["scale"] * x ** -law["exponent"]) for x in xs]
    return means(points)


def means(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The mean y at each x, by x."""
    sums: dict[float, list[float]] = {}
    for x, y in points:
        sums.setdefault(x, []).append(y)
    return [(x, sum(ys) / len(ys)) for x, ys in sorted(sums.items())]


def _multipliers(
    given: Sequence[Scaling], axis: str, order: Sequence[str | None], reading: Reading
) -> str:
    """A row a selection, a column a target: how many times less it needs than the baseline."""
    known = {(one["selection"], one["target"]): one.get("multiplier") for one in given}
    names = [name for name in reading.order if any(known.get((name, target)) for target in order)]
    if not names:
        return ""
    columns = [target for target in order if any(known.get((name, target)) for name in names)]
    rows = []
    for name in names:
        cells = "".join(_multiplier(known.get((name, target))) for target in columns)
        rows.append(f"<tr><td>{word(name, 60)}</td>{cells}</tr>")
    heads = [
        ("n head", "mean over targets" if target is None else word(target, 40))
        for target in columns
    ]
    unit = "tokens" if axis == "tokens" else "compute"
    baseline = word(reading.baseline or "the baseline", 40)
    ats = sorted({at for m in known.values() if m and (at := f.finite(m.get("at"))) is not None})
    what = "tokens" if axis == "tokens" else "FLOP"
    read = f" Read at {reading_.tokens(ats[0])} {what}." if len(ats) == 1 else ""
    lede = (
        f"How many times the {unit} {baseline} needs for the same loss. {f.TIMES}1 is no gain. "
        f"In small type: the 95 % interval; starred: read outside the measured range.{read}"
    )
    title = "Compute multipliers" if axis == "compute" else "Multipliers of tokens"
    return (
        f'<figure><figcaption><h3>{title}</h3><p class="lede">{lede}</p></figcaption>'
        f'<div class="scroll">{table([("", "selection"), *heads], rows, "matrix")}</div></figure>'
    )


def _multiplier(given: Mapping[str, Any] | None) -> str:
    value = f.finite(given.get("value")) if given else None
    if given is None or value is None:
        outside = given is not None and given.get("outside")
        return f'<td class="n quiet">{"out of range" if outside else ""}</td>'
    low, high = f.finite(given.get("low")), f.finite(given.get("high"))
    interval = reading_.multiplier_interval(given)
    spread = f"<small> {interval}</small>" if interval else ""
    kind = "quiet"
    if low is not None and high is not None:
        kind = "tint gain" if low > 1 else "tint loss" if high < 1 else "quiet"
    star = "*" if given.get("outside") else ""
    strength = 0.05 + 0.25 * min(1.0, abs(math.log(value)) / math.log(4)) if value > 0 else 0
    text = f"{reading_.multiplier(value)}{star}{spread}"
    return f'<td class="n {kind}" style="--a:{strength:.2f}">{text}</td>'


def _laws(given: Sequence[Scaling], order: Sequence[str | None], reading: Reading) -> str:
    rows: list[str] = []
    for target in order:
        for one in _sorted(given, target, reading):
            law = one.get("law")
            if law and len(rows) < SHOWN_LAWS:
                name = "mean" if target is None else word(target, 60)
                error = f.finite(law.get("error"))
                rows.append(
                    f"<tr><td>{name}</td><td>{word(one['selection'], 60)}</td>"
                    f'<td class="n">{_with_error(law["floor"], law.get("floor_error"))}</td>'
                    f'<td class="n">{_with_error(law["scale"], law.get("scale_error"))}</td>'
                    f'<td class="n">{_with_error(law["exponent"], law.get("exponent_error"))}</td>'
                    f'<td class="n">{fixed(error, 4)}</td></tr>'
                )
    if not rows:
        return ""
    numbers = ("floor", "scale", "exponent", "RMS residual")
    head = [("", "target"), ("", "selection"), *(("n", name) for name in numbers)]
    return table(head, rows)


def _with_error(value: float | None, error: float | None) -> str:
    """2.31 ± 0.04, with two digits of the error."""
    half = f.finite(error)
    if not half or half < 0 or f.finite(value) is None:
        return f.real(value)
    decimals = max(0, min(6, 1 - math.floor(math.log10(half))))
    return f"{fixed(value, decimals)} ± {fixed(half, decimals)}"


def loss_curves(comparison: Comparison, reading: Reading) -> str:
    """Training loss against tokens seen, a panel a target, means over seeds."""
    setting = reading.setting
    trained = [
        training
        for training in comparison.get("trainings") or []
        if training.get("curve")
        and (
            setting is None
            or (training["size"], training["tokens"]) == (setting.size, setting.tokens)
        )
    ]
    if not trained:
        return ""
    figures: list[str] = []
    for target in reading.targets[:SHOWN_TARGETS]:
        mine = [t for t in trained if t["target"] in (target, None)]
        if all(t["target"] is None for t in mine) and figures:
            continue
        chart = _panel(mine, target, reading)
        if chart:
            title = word(target, 60)
            figures.append(f"<figure><figcaption><h3>{title}</h3></figcaption>{chart}</figure>")
    return f'<div class="three">{"".join(figures)}</div>' if figures else ""


def _panel(trained: Sequence[Training], target: str, reading: Reading) -> str | None:
    lines = []
    for name in reading.order:
        mine = [t["curve"] for t in trained if t["selection"] == name]
        line = binned([point for curve in mine for point in curve])
        if line:
            lines.append(Curve(name, reading.colours[name], line))
    return curves(
        lines,
        width=THIRD,
        height=230,
        x_title="tokens seen",
        y_title="training loss (nats a token)",
        log=False,
        label=f"Training loss against tokens seen, {target}",
    )


def binned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of x and y over equal stretches of x, from a tenth of the largest x on."""
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


def costs(comparison: Comparison) -> str:
    """What was trained: runs, compute and time by size and tokens."""
    groups: dict[tuple[str, int], list[Training]] = {}
    for training in comparison.get("trainings") or []:
        groups.setdefault((training["size"], training["tokens"]), []).append(training)
    rows = []
    for (size, tokens), runs in sorted(groups.items(), key=lambda g: (_parameters(g[1]), g[0][1])):
        epochs = [e for t in runs if (e := f.finite(t.get("epochs"))) is not None]
        passes = ""
        if epochs:
            low, high = f.real(min(epochs)), f.real(max(epochs))
            passes = low if low == high else f"{low} to {high}"
        flop = sum(f.finite(t.get("flop")) or 0.0 for t in runs)
        seconds = sum(f.finite(t.get("seconds")) or 0.0 for t in runs)
        rows.append(
            f'<tr><td>{word(size, 60)}</td><td class="n">{reading_.tokens(_parameters(runs))}</td>'
            f'<td class="n">{reading_.tokens(tokens)}</td><td class="n">{len(runs):,}</td>'
            f'<td class="n">{passes}</td><td class="n">{escape(visible(f"{flop:.2g}"))}</td>'
            f'<td class="n">{f.duration(seconds)}</td></tr>'
        )
    if not rows:
        return ""
    numbers = ("parameters", "tokens", "runs", "passes over the text", "FLOP in all", "time in all")
    return table([("", "size"), *(("n", name) for name in numbers)], rows)


def _parameters(runs: Sequence[Training]) -> float:
    return max((f.finite(t.get("parameters")) or 0.0 for t in runs), default=0.0)
