"""The selections themselves, as rows and charts: cheap metrics, composition, overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dataworth.report.plots import Column, Estimate, Words
from dataworth.report.svg import INK, REST
from dataworth.results import format as f
from dataworth.results import reading as reading_
from dataworth.results.comparison import Comparison, CompositionOf, Measure, Point, Prediction
from dataworth.results.inert import visible
from dataworth.results.reading import Reading, fixed

SHOWN_METRICS = 20
SHOWN_TARGETS = 12
SHOWN_ROWS = 40
SHOWN_VALUES = 9  # of a field, with a colour of their own
SHOWN_NAMES = 24  # of a heat map

Told = dict[str, Any]
"""A prediction in words: `label`, `unit` of the metric, `measure`, and its numbers."""


def predictions(comparison: Comparison, reading: Reading) -> tuple[list[Told], list[Told], Measure]:
    """Return correlations with the leading measure, strongest first; all of them; the measure."""
    known = [p for p in comparison.get("predictions") or [] if f.finite(p["r"]) is not None]
    measures = {measure["name"]: measure for measure in comparison.get("measures") or []}
    measure = reading.measure
    if known and not any(p["measure"] == measure["name"] for p in known):
        name = known[0]["measure"]
        unknown: Measure = {"name": name, "label": name, "unit": "", "lower_is_better": True}
        measure = measures.get(name, unknown)
    metrics = {m["name"]: (m["label"], m["unit"]) for m in comparison.get("metrics") or []}
    labels = {name: one["label"] for name, one in measures.items()}
    told = [
        _told(
            p, *metrics.get(p["metric"], (p["metric"], "")), labels.get(p["measure"], p["measure"])
        )
        for p in known
    ]
    mine = [one for one, p in zip(told, known, strict=True) if p["measure"] == measure["name"]]
    return sorted(mine, key=lambda one: -abs(one["is"]["r"])), told, measure


def _told(p: Prediction, label: str, unit: str, measure: str) -> Told:
    low, high = f.finite(p.get("low")), f.finite(p.get("high"))
    ends = f"{fixed(low, 2, signed=True)} to {fixed(high, 2, signed=True)}"
    return {
        "label": label,
        "unit": unit,
        "measure": measure,
        "r": fixed(p["r"], 2, signed=True),
        "interval": "" if low is None or high is None else ends,
        "spearman": fixed(p.get("spearman"), 2, signed=True),
        "right": f.share(p.get("decision_accuracy")),
        "n": f.count(p["n"]),
        "shown": low is not None and high is not None and not low <= 0 <= high,
        "is": p,
    }


def forest(mine: Sequence[Told], measure: Measure) -> dict[str, Any]:
    """Return the arguments of the chart of all correlations with a measure."""
    by_name = {one["label"]: one for one in mine[:SHOWN_METRICS]}
    rows = {
        name: Estimate(
            one["is"]["r"],
            one["is"].get("low"),
            one["is"].get("high"),
            (),
            INK if one["shown"] else REST,
        )
        for name, one in by_name.items()
    }
    heads = (("r", "r", 60), ("95 % interval", "interval", 118), ("Spearman", "spearman", 78))
    heads += (("right pairs", "right", 78), ("points", "n", 58))  # type: ignore[assignment]
    side = "left" if measure["lower_is_better"] else "right"
    return {
        "names": list(by_name),
        "columns": [Column("", rows, (-1.03, 1.03))],
        "words": [
            Words(head, {name: one[key] for name, one in by_name.items()}, width, head == "r")
            for head, key, width in heads
        ],
        "title": f"r with {visible(measure['label'], 40)}; "
        f"{side} of 0: more of the metric goes with a better model",
        "label": f"Correlation of cheap metrics with {measure['label']}",
    }


def points(one: Told, measure: Measure, reading: Reading) -> dict[str, Any]:
    """Return the arguments of a scatter plot."""
    return {
        "points": [
            (x, y, reading.colours.get(selection, REST))
            for x, y, selection in centred(one["is"].get("points") or [])
        ],
        "width": 300,
        "height": 250,
        "x_title": one["label"] + (f" ({one['unit']})" if one["unit"] else ""),
        "y_title": reading_.label(measure),
        "label": f"{one['label']} against {measure['label']}",
    }


def centred(given: Sequence[Point]) -> list[tuple[float, float, str]]:
    """Return (x, y, selection) less the means of their target, as the correlations are."""
    good = [p for p in given if f.finite(p["x"]) is not None and f.finite(p["y"]) is not None]
    by_target: dict[str, list[Point]] = {}
    for p in good:
        by_target.setdefault(p["target"], []).append(p)
    means = {
        target: (sum(p["x"] for p in some) / len(some), sum(p["y"] for p in some) / len(some))
        for target, some in by_target.items()
    }
    return [
        (p["x"] - means[p["target"]][0], p["y"] - means[p["target"]][1], p["selection"])
        for p in good
    ]


def compositions(comparison: Comparison, reading: Reading) -> list[dict[str, Any]]:
    """Return for each field its colours and panels: (target, rows of a stacked chart)."""
    known = [one for one in comparison.get("composition") or [] if one["parts"]]
    place = {name: i for i, name in enumerate(reading.order)}
    fields = []
    for field in dict.fromkeys(one["field"] for one in known):
        given = [one for one in known if one["field"] == field]
        top = _top(given)
        colours = {value: f"var(--k{i + 1})" for i, value in enumerate(top)}
        own: list[str | None] = [
            t for t in reading.targets if any(one["target"] == t for one in given)
        ]
        panels: list[tuple[str | None, list[Any]]] = []
        for target in own[:SHOWN_TARGETS] or [None]:
            mine = [one for one in given if one["target"] in (target, None)]
            mine.sort(key=lambda one: _place(one, place))
            order = _by_share(mine, top)
            panels.append(
                (
                    target,
                    [
                        (one["selection"] or "pool", _parts(one, order, colours))
                        for one in mine[:SHOWN_ROWS]
                    ],
                )
            )
        values = {part["value"] for one in given for part in one["parts"]}
        more = len(values) > len(colours)
        fields.append({"name": field, "colours": colours, "panels": panels, "more": more})
    return fields


def _place(one: CompositionOf, place: Mapping[str, int]) -> int:
    name = one["selection"]
    return -1 if name is None else place.get(name, len(place))


def _top(given: Sequence[CompositionOf]) -> list[str]:
    """Return the values with the largest share anywhere, largest first, by name where equal."""
    most: dict[str, float] = {}
    for one in given:
        for part in one["parts"]:
            value, share = part["value"], f.finite(part["share"]) or 0.0
            if value is not None:
                most[value] = max(most.get(value, 0.0), share)
    return sorted(most, key=lambda value: (-most[value], value))[:SHOWN_VALUES]


def _by_share(mine: Sequence[CompositionOf], top: Sequence[str]) -> list[str]:
    """Return the values by their share: what there is most of begins every bar."""
    whole = dict.fromkeys(top, 0.0)
    for one in mine:
        for part in one["parts"]:
            if part["value"] in whole:
                whole[str(part["value"])] += f.finite(part["share"]) or 0.0
    return sorted(top, key=lambda value: -whole[value])


def _parts(
    one: CompositionOf, order: Sequence[str], colours: Mapping[str, str]
) -> list[tuple[str, float, str]]:
    """Return the coloured values in their order, then all others as one part."""
    shares = {part["value"]: f.finite(part["share"]) or 0.0 for part in one["parts"]}
    known = [(colours[v], shares[v], v or "(empty)") for v in order if v in shares]
    rest = sum(share for value, share in shares.items() if value not in colours)
    return [*known, ("var(--rest)", rest, "")]


def overlaps(comparison: Comparison, reading: Reading) -> list[dict[str, Any]]:
    """Return the matrices of overlap, the best selections first, as everywhere on the page."""
    place = {name: i for i, name in enumerate(reading.order)}
    matrices = []
    for one in (comparison.get("overlap") or [])[:SHOWN_TARGETS]:
        names, rank = one["names"], one.get("rank")
        at = sorted(range(len(names)), key=lambda i: place.get(names[i], len(place)))[:SHOWN_NAMES]
        if len(names) > 1:
            matrices.append(
                {
                    "target": one["target"],
                    "names": [names[i] for i in at],
                    "jaccard": [[one["jaccard"][i][j] for j in at] for i in at],
                    "rank": [[rank[i][j] for j in at] for i in at] if rank else None,
                }
            )
    return matrices
