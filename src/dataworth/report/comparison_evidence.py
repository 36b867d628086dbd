"""The sections of a comparison's page on the selections themselves.

Do cheap metrics predict the dear measure, what are the selections made of, how alike are they?
Every function returns the inside of a section, or an empty string when its part is missing.
Data enters only through `inert`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataworth.report.comparison_charts import Column, Estimate, Words, dots
from dataworth.report.comparison_plots import heat, scatter, stacked
from dataworth.report.frame import folded
from dataworth.report.sections import HALF, THIRD, WIDE, table
from dataworth.results import format as f
from dataworth.results import reading as reading_
from dataworth.results.comparison import (
    Comparison,
    CompositionOf,
    Measure,
    Overlap,
    Point,
    Prediction,
)
from dataworth.results.inert import visible, word
from dataworth.results.reading import Reading, fixed

SHOWN_METRICS = 20
SHOWN_SCATTERS = 6
SHOWN_PREDICTIONS = 120
SHOWN_TARGETS = 12
SHOWN_ROWS = 40
SHOWN_VALUES = 9  # of a field, with a colour of their own
SHOWN_NAMES = 24  # of a heat map
INK = "var(--ink)"
GREY = "var(--pool)"
REST = "var(--rest)"


def predictions(comparison: Comparison, reading: Reading) -> str:
    """Correlations of every cheap metric with the leading measure, and the points behind them."""
    given = [p for p in comparison.get("predictions") or [] if f.finite(p["r"]) is not None]
    measure = reading.measure
    if not any(p["measure"] == measure["name"] for p in given):
        measure = _measure(comparison, given[0]["measure"]) if given else measure
    mine = [p for p in given if p["measure"] == measure["name"]]
    mine.sort(key=lambda p: -abs(f.finite(p["r"]) or 0.0))
    if not mine:
        return ""
    labels = {metric["name"]: metric["label"] for metric in comparison.get("metrics") or []}
    chart = _forest(mine[:SHOWN_METRICS], labels, measure)
    scatters = "".join(
        _scatter(prediction, comparison, measure, reading) for prediction in mine[:SHOWN_SCATTERS]
    )
    three = f'{_names(reading)}<div class="three">{scatters}</div>' if scatters else ""
    all_of_them = folded("Every metric and measure", _table(given, labels, comparison))
    return f"<figure>{chart}</figure>{three}{all_of_them}"


def _names(reading: Reading) -> str:
    """The key of the coloured selections."""
    items = [
        f'<span><i style="background:{reading.colours[name]}"></i>{word(name, 30)}</span>'
        for name in reading.order
        if reading.colours[name] != GREY
    ]
    if len(items) < len(reading.order):
        items.append(f'<span><i style="background:{GREY}"></i>others</span>')
    return f'<p class="key dots">{"".join(items)}</p>'


def _measure(comparison: Comparison, name: str) -> Measure:
    found = (m for m in comparison.get("measures") or [] if m["name"] == name)
    unknown: Measure = {"name": name, "label": name, "unit": "", "lower_is_better": True}
    return next(found, unknown)


def _forest(mine: Sequence[Prediction], labels: Mapping[str, str], measure: Measure) -> str:
    names = [labels.get(p["metric"], p["metric"]) for p in mine]
    rows = {}
    for name, p in zip(names, mine, strict=True):
        low, high = f.finite(p.get("low")), f.finite(p.get("high"))
        shown = low is not None and high is not None and not low <= 0 <= high
        rows[name] = Estimate(p["r"], low, high, (), INK if shown else GREY)
    by_name = dict(zip(names, mine, strict=True))
    words = [
        Words("r", {n: fixed(p["r"], 2, signed=True) for n, p in by_name.items()}, 60, strong=True),
        Words("95 % interval", {n: _interval(p) for n, p in by_name.items()}, 118),
        Words(
            "Spearman",
            {n: fixed(p.get("spearman"), 2, signed=True) for n, p in by_name.items()},
            78,
        ),
        Words(
            "right pairs", {n: f.share(p.get("decision_accuracy")) for n, p in by_name.items()}, 78
        ),
        Words("points", {n: f.count(p["n"]) for n, p in by_name.items()}, 58),
    ]
    side = "left" if measure["lower_is_better"] else "right"
    return dots(
        names,
        [Column("", rows, (-1.03, 1.03))],
        words,
        width=WIDE,
        title=f"r with {visible(measure['label'], 40)}; "
        f"{side} of 0: more of the metric goes with a better model",
        label=f"Correlation of cheap metrics with {measure['label']}",
    )


def _interval(p: Prediction) -> str:
    low, high = f.finite(p.get("low")), f.finite(p.get("high"))
    if low is None or high is None:
        return ""
    return f"{fixed(low, 2, signed=True)} to {fixed(high, 2, signed=True)}"


def _scatter(
    prediction: Prediction, comparison: Comparison, measure: Measure, reading: Reading
) -> str:
    metrics = {m["name"]: m for m in comparison.get("metrics") or []}
    metric = metrics.get(prediction["metric"])
    name = metric["label"] if metric else prediction["metric"]
    unit = f" ({metric['unit']})" if metric and metric["unit"] else ""
    points = [
        (x, y, reading.colours.get(selection, GREY))
        for x, y, selection in centred(prediction.get("points") or [])
    ]
    chart = scatter(
        points,
        width=THIRD,
        height=250,
        x_title=f"{name}{unit}",
        y_title=reading_.label(measure),
        label=f"{name} against {measure['label']}",
    )
    r = f"r = {fixed(prediction['r'], 2, signed=True)}"
    interval = _interval(prediction)
    lede = f"{r} ({interval})" if interval else r
    if not chart:
        return ""
    return (
        f'<figure><figcaption><h3>{word(name, 60)}</h3><p class="lede">{lede}</p></figcaption>'
        f"{chart}</figure>"
    )


def centred(points: Sequence[Point]) -> list[tuple[float, float, str]]:
    """(x, y, selection) less the means of their target, as the correlations are."""
    good = [p for p in points if f.finite(p["x"]) is not None and f.finite(p["y"]) is not None]
    sums: dict[str, tuple[float, float, int]] = {}
    for p in good:
        x, y, n = sums.get(p["target"], (0.0, 0.0, 0))
        sums[p["target"]] = (x + p["x"], y + p["y"], n + 1)
    return [
        (p["x"] - sums[p["target"]][0] / n, p["y"] - sums[p["target"]][1] / n, p["selection"])
        for p in good
        for n in (sums[p["target"]][2],)
    ]


def _table(given: Sequence[Prediction], labels: Mapping[str, str], comparison: Comparison) -> str:
    rows = [
        f"<tr><td>{word(labels.get(p['metric'], p['metric']), 60)}</td>"
        f"<td>{word(_measure(comparison, p['measure'])['label'], 60)}</td>"
        f'<td class="n">{fixed(p["r"], 2, signed=True)}</td>'
        f'<td class="n">{_interval(p)}</td>'
        f'<td class="n">{fixed(p.get("spearman"), 2, signed=True)}</td>'
        f'<td class="n">{f.share(p.get("decision_accuracy"))}</td>'
        f'<td class="n">{f.count(p["n"])}</td></tr>'
        for p in given[:SHOWN_PREDICTIONS]
    ]
    numbers = ("r", "95 % interval", "Spearman", "right pairs", "points")
    return table([("", "metric"), ("", "measure"), *(("n", name) for name in numbers)], rows)


def composition(comparison: Comparison, reading: Reading) -> str:
    """What pool and selections are made of: bars in parts, a panel a target."""
    given = [one for one in comparison.get("composition") or [] if one["parts"]]
    fields = dict.fromkeys(one["field"] for one in given)
    return "".join(
        _field([one for one in given if one["field"] == field], field, reading, len(fields) > 1)
        for field in fields
    )


def _field(given: Sequence[CompositionOf], field: str, reading: Reading, titled: bool) -> str:
    top = _top(given)
    colours = {value: f"var(--k{i + 1})" for i, value in enumerate(top)}
    own = [target for target in reading.targets if any(one["target"] == target for one in given)]
    panels: list[str | None] = [*own[:SHOWN_TARGETS]] or [None]
    place = {name: i for i, name in enumerate(reading.order)}
    figures = []
    for target in panels:
        mine = [one for one in given if one["target"] in (target, None)]
        mine.sort(key=lambda one: _place(one, place))
        order = _by_share(mine, top)
        rows = [
            ("pool" if one["selection"] is None else one["selection"], _parts(one, order, colours))
            for one in mine[:SHOWN_ROWS]
        ]
        chart = stacked(
            rows,
            width=HALF if len(panels) > 1 else WIDE,
            label=f"Composition by {field}: {target or 'all targets'}",
        )
        head = f"<figcaption><h3>{word(target, 60)}</h3></figcaption>" if target else ""
        figures.append(f"<figure>{head}{chart}</figure>")
    body = f'<div class="pair">{"".join(figures)}</div>' if len(figures) > 1 else figures[0]
    title = f"<h3>By {word(field, 60)}</h3>" if titled else ""
    return f"<figure>{title}{_key(colours, given)}</figure>{body}"


def _place(one: CompositionOf, place: Mapping[str, int]) -> int:
    name = one["selection"]
    return -1 if name is None else place.get(name, len(place))


def _top(given: Sequence[CompositionOf]) -> list[str]:
    """The values with the largest share anywhere, largest first, by name where equal."""
    most: dict[str, float] = {}
    for one in given:
        for part in one["parts"]:
            value, share = part["value"], f.finite(part["share"]) or 0.0
            if value is not None:
                most[value] = max(most.get(value, 0.0), share)
    ranked = sorted(most, key=lambda value: (-most[value], value))
    return ranked[:SHOWN_VALUES]


def _by_share(mine: Sequence[CompositionOf], top: Sequence[str]) -> list[str]:
    """The values by their share of these selections: what there is most of begins every bar."""
    whole = dict.fromkeys(top, 0.0)
    for one in mine:
        for part in one["parts"]:
            value = part["value"]
            if value is not None and value in whole:
                whole[value] += f.finite(part["share"]) or 0.0
    return sorted(top, key=lambda value: -whole[value])


def _parts(
    one: CompositionOf, order: Sequence[str], colours: Mapping[str, str]
) -> list[tuple[str, float, str]]:
    """The coloured values in their order, then all others as one part."""
    shares = {part["value"]: f.finite(part["share"]) or 0.0 for part in one["parts"]}
    known = [
        (colours[value], shares[value], value or "(empty)") for value in order if value in shares
    ]
    rest = sum(share for value, share in shares.items() if value not in colours)
    return [*known, (REST, rest, "")]


def _key(colours: Mapping[str, str], given: Sequence[CompositionOf]) -> str:
    items = [
        f'<span><i style="background:{colour}"></i>{word(value or "(empty)", 40)}</span>'
        for value, colour in colours.items()
    ]
    values = {part["value"] for one in given for part in one["parts"]}
    if len(values) > len(colours):
        items.append(f'<span><i style="background:{REST}"></i>all other values</span>')
    return f'<p class="key swatches">{"".join(items)}</p>'


def overlap(comparison: Comparison, reading: Reading) -> str:
    """Heat maps: shared documents below the diagonal, alike utilities above it."""
    figures = []
    for one in (comparison.get("overlap") or [])[:SHOWN_TARGETS]:
        if len(one["names"]) > 1:
            title = word(one["target"], 60)
            chart = _heat(one, reading)
            figures.append(f"<figure><figcaption><h3>{title}</h3></figcaption>{chart}</figure>")
    if not figures:
        return ""
    first, rest = "".join(figures[:2]), "".join(figures[2:])
    more = folded(
        f"{f.counted(len(figures) - 2, 'more target')}", f'<div class="pair">{rest}</div>'
    )
    key = (
        '<p class="key"><span><i class="k-bar"></i>below the diagonal: shared documents</span>'
        '<span><i class="k-rank"></i>above: rank correlation of utilities</span>'
        '<span><i class="k-negative"></i>below 0</span></p>'
    )
    return f'{key}<div class="pair">{first}</div>{more if rest else ""}'


def _heat(one: Overlap, reading: Reading) -> str:
    """The best selections first, as everywhere on the page."""
    place = {name: i for i, name in enumerate(reading.order)}
    at = sorted(range(len(one["names"])), key=lambda i: place.get(one["names"][i], len(place)))
    at = at[:SHOWN_NAMES]

    def taken(table_: Sequence[Sequence[float | None]]) -> list[list[float | None]]:
        return [[table_[i][j] for j in at] for i in at]

    rank = one.get("rank")
    return heat(
        [one["names"][i] for i in at],
        taken(one["jaccard"]),
        taken(rank) if rank else None,
        width=HALF,
        label=f"Overlap of the selections for {one['target']}",
    )
