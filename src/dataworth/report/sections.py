"""The report's sections on the selection as a whole, each from its part of the metrics to HTML.

Every function returns the inside of a section, or an empty string when its part is missing.
Data enters only through `inert`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from dataworth.report import charts
from dataworth.results import doubts, verdict
from dataworth.results import format as f
from dataworth.results.inert import visible, word
from dataworth.results.selection import (
    Amount,
    Composition,
    Metrics,
    Part,
    Target,
    Utility,
)

SHOWN_PARTS = 15
SHOWN_SHIFTS = 20
WIDE = 940  # pixels of the column
HALF = 450
THIRD = 300

_KEY = {
    "pool": '<span><i class="k-pool"></i>pool</span>',
    "selection": '<span><i class="k-selection"></i>selection</span>',
    "target": '<span><i class="k-target"></i>target</span>',
}


def table(head: Sequence[tuple[str, str]], rows: Iterable[str], kind: str = "") -> str:
    """A table of finished `<tr>` rows; the head's pairs are (class, label)."""
    cells = "".join(f'<th class="{kind_}" scope="col">{label}</th>' for kind_, label in head)
    opening = f'<table class="{kind}">' if kind else "<table>"
    return f"{opening}<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def targets(metrics: Metrics) -> str:
    """How near the selection came to each target."""
    known = [target for target in metrics.get("targets") or [] if _value(target) is not None]
    if not known:
        return ""
    rows = []
    for target in known:
        gain = target.get("gain") or {"value": None}
        chance = f.finite(gain.get("random"))
        spread = 2 * (f.finite(gain.get("random_spread")) or 0)
        # A rule needs some length to be seen where the spread is next to nothing.
        least = 0.004 * (f.finite(gain.get("bound")) or abs(_value(target) or 0) or 1)
        half = max(spread, least)
        rows.append(
            {
                "name": target["name"],
                "value": _value(target),
                "bound": f.finite(gain.get("bound")),
                "low": None if chance is None else chance - half,
                "high": None if chance is None else chance + half,
                "text": verdict.in_words(gain),
            }
        )
    key = (
        '<p class="key"><span><i class="k-bar"></i>selection</span>'
        '<span><i class="k-chance"></i>random selections of equal size, ± 2 spreads</span>'
        '<span><i class="k-track"></i>bound: a selection just like the target</span></p>'
    )
    chart = charts.gains(rows, width=WIDE)
    return f"{key}<figure>{chart}</figure>{_target_table(known)}"


def _value(target: Target) -> float | None:
    gain = target.get("gain")
    return f.finite(gain["value"]) if gain else None


def _target_table(known: Sequence[Target]) -> str:
    rows = []
    quotas = any(f.finite(target.get("proportion")) is not None for target in known)
    chosen_for = any(target.get("chosen") for target in known)
    for target in known:
        gain = target.get("gain") or {"value": None}
        on = "that chose nothing" if gain.get("held_out") else "that chose"
        measured = word(gain.get("measured") or "", 200)
        kl = f.real(gain.get("kl_reduction"), signed=True)
        proportion = f.share(target.get("proportion"))
        quota = f'<td class="n">{proportion}</td>' if quotas else ""
        chosen = target.get("chosen")
        number = f.count(chosen["documents"] if chosen else None)
        of = f'<td class="n">{number}</td>' if chosen_for else ""
        rows.append(
            f"<tr><td>{word(target['name'], 60)}</td>"
            f'<td class="n">{f.count(target.get("documents"))}</td>'
            f"<td>{f.counted(gain.get('documents'), 'document')} {on}</td>"
            f"{of}{quota}"
            f'<td class="n">{kl}</td>'
            f'<td class="quiet">{measured}</td></tr>'
        )
    head = [("", "target"), ("n", "examples"), ("", "measured on")]
    head += [("n", "chosen for it")] if chosen_for else []
    head += [("n", "quota")] if quotas else []
    return table([*head, ("n", "KL reduction, nats"), ("", "how")], rows)


def utilities(metrics: Metrics) -> str:
    """Distributions of each utility in pool, selection and target, with the cut."""
    columns = metrics.get("utilities") or []
    if not columns:
        return ""
    one = len(columns) == 1
    drawn = [_utility(utility, one) for utility in columns]
    present = {name for utility in columns for name in utility.get("histogram") or {}}
    body = "".join(drawn) if one else f'<div class="pair">{"".join(drawn)}</div>'
    return _key(present) + body


def _key(present: Iterable[str]) -> str:
    names = [name for name in charts.SERIES if name in set(present)]
    return f'<p class="key">{"".join(_KEY[name] for name in names)}</p>' if names else ""


def _utility(utility: Utility, wide: bool) -> str:
    unit = utility.get("unit") or "no unit declared"
    histogram = utility.get("histogram")
    chart = None
    if histogram:
        chart = charts.distribution(
            histogram,
            unit=unit,
            width=WIDE if wide else HALF,
            height=250 if wide else 180,
            threshold=utility.get("threshold"),
        )
    title = escape(verdict.short_name(utility))
    lede = f"% of each set's documents per bin, by utility in {word(unit, 60)}"
    return (
        f'<figure><figcaption><h3><bdi>{title}</bdi></h3><p class="lede">{lede}</p></figcaption>'
        f"{chart or _none('No scores to draw.')}{_utility_facts(utility)}</figure>"
    )


def _utility_facts(utility: Utility) -> str:
    facts = []
    if f.finite(utility.get("threshold")) is not None:
        facts.append(_fact("utility at the cut", f.real(utility.get("threshold"))))
    effective, whole = utility.get("effective_sample_size"), utility.get("effective_of")
    if f.finite(effective) is not None:
        low = doubts.few_effective(utility)
        of = f" of {f.count(whole)}" if whole else ""
        facts.append(_fact("effective sample size", f.count(effective) + of, low))
    pairs = (("Spearman", "spearman_length"), ("Pearson", "pearson_length"))
    numbers = [(name, f.finite(utility.get(key))) for name, key in pairs]
    known = [(name, number) for name, number in numbers if number is not None]
    if known:
        high = any(doubts.goes_with_length(number) for _, number in known)
        signs = (f"{number:+.2f} {name}".replace("-", f.MINUS) for name, number in known)
        facts.append(_fact("correlation with length", ", ".join(signs), high))
    if f.finite(utility.get("temperature")) is not None:
        how = utility.get("temperature_from")
        text = f.real(utility.get("temperature")) + (f", {visible(how, 40)}" if how else "")
        facts.append(_fact("temperature", text))
    outside = (utility.get("histogram") or {"edges": []}).get("outside", {})
    beyond = [f"{f.count(outside[s])} {s}" for s in charts.SERIES if f.finite(outside.get(s))]
    if beyond:
        facts.append(_fact("not drawn", ", ".join(beyond)))
    return f'<p class="facts">{"".join(facts)}</p>' if facts else ""


def _fact(name: str, value: str, warn: bool = False) -> str:
    return f"<span{' class=warn' if warn else ''}>{name} <b>{escape(value)}</b></span>"


def composition(metrics: Metrics) -> str:
    """Parts of pool and selection, one chart and one table a group field."""
    fields = [c for c in metrics.get("composition") or [] if c["parts"]]
    if not fields:
        return ""
    known = any(part["pool"]["documents"] for field in fields for part in field["parts"])
    key = (
        '<p class="key"><span><i class="k-ring"></i>share of the pool</span>'
        '<span><i class="k-dot"></i>share of the selection</span></p>'
    )
    return (key if known else "") + "".join(_composition(field) for field in fields)


def _composition(field: Composition) -> str:
    parts = sorted(field["parts"], key=_weight, reverse=True)
    rest = field.get("rest")
    unit = "tokens" if all(_tokens(part) for part in parts) else "documents"
    before = sum(_amount(part["pool"], unit) for part in [*parts, *([rest] if rest else [])])
    after = sum(_amount(part["selection"], unit) for part in [*parts, *([rest] if rest else [])])
    shown, folded = parts[:SHOWN_PARTS], parts[SHOWN_PARTS:]
    values = len(folded) + (field.get("rest_values") or 0)
    if len(folded) == 1 and not values > 1:
        shown, folded, values = parts, [], 0
    shown.sort(key=lambda part: -_amount(part["selection"], unit))
    named = [("(missing)" if p["value"] is None else p["value"] or "(empty)", p) for p in shown]
    if values:
        others = [*folded, *([rest] if rest else [])]
        named.append((f"{values:,} other values", _sum(others)))
    name = word(field["field"], 60)
    if not before:  # without a pool the selection stands alone
        amounts = [(name, _amount(p["selection"], unit) / (after or 1)) for name, p in named]
        lede = f"% of the selection's {unit}"
        return (
            f'<figure><figcaption><h3>By {name}</h3><p class="lede">{lede}</p></figcaption>'
            f"{shares_table(amounts)}</figure>"
        )
    rows = [
        (
            name,
            _amount(p["pool"], unit) / before,
            _amount(p["selection"], unit) / (after or 1),
        )
        for name, p in named
    ]
    title = f"share of {unit}"
    chart = charts.dumbbell(rows, width=WIDE, title=title)
    count = len(parts) + (field.get("rest_values") or 0)
    lede = f"% of {unit} in pool and selection, by selection; {f.counted(count, 'value')}"
    return (
        f'<figure><figcaption><h3>By {name}</h3><p class="lede">{lede}</p></figcaption>{chart}'
        f"<details><summary>As a table</summary>{_part_table(named)}</details></figure>"
    )


def shares_table(rows: Sequence[tuple[str, float]]) -> str:
    """A bar and a number for each share, in 0 to 1."""
    lines = [
        f'<tr><td>{word(name, 80)}</td><td class="barcell">'
        f'<span class="bar kept" style="width:{100 * max(0.0, min(1.0, value)):.1f}%"></span></td>'
        f'<td class="n">{f.share(value)}</td></tr>'
        for name, value in rows
    ]
    return table([("", "value"), ("barcell", ""), ("n", "share")], lines)


def _part_table(named: Sequence[tuple[str, Part]]) -> str:
    rows = []
    for name, part in named:
        pool, chosen = part["pool"], part["selection"]
        rows.append(
            f"<tr><td>{word(name, 80)}</td>"
            f'<td class="n">{f.count(pool["documents"])}</td>'
            f'<td class="n">{f.count(chosen["documents"])}</td>'
            f'<td class="n">{f.share(chosen["documents"], pool["documents"])}</td>'
            f'<td class="n">{f.short(pool.get("tokens"))}</td>'
            f'<td class="n">{f.short(chosen.get("tokens"))}</td></tr>'
        )
    numbers = ["pool documents", "selected", "of them", "pool tokens", "selected"]
    return table([("", "value"), *(("n", label) for label in numbers)], rows)


def _weight(part: Part) -> tuple[float, str]:
    """What is large before or after comes first, so that neither end is folded away."""
    return part["pool"]["documents"] + 20 * part["selection"]["documents"], str(part["value"])


def _tokens(part: Part) -> bool:
    return part["pool"].get("tokens") is not None and part["selection"].get("tokens") is not None


def _amount(amount: Amount, unit: str) -> float:
    return f.finite(amount.get("tokens") if unit == "tokens" else amount["documents"]) or 0.0


def _sum(parts: Sequence[Part]) -> Part:
    def both(key: str) -> Amount:
        sides = [part["pool"] if key == "pool" else part["selection"] for part in parts]
        tokens = [side.get("tokens") for side in sides]
        known = [number for number in tokens if number is not None]
        return {
            "documents": sum(side["documents"] for side in sides),
            "tokens": sum(known) if len(known) == len(sides) else None,
        }

    return {"value": "", "pool": both("pool"), "selection": both("selection")}


def lengths(metrics: Metrics) -> str:
    """How long documents are, before and after."""
    given = metrics.get("lengths")
    if not given:
        return ""
    unit = given.get("unit") or "units"
    chart = charts.distribution(
        given["histogram"], unit=f"{unit} a document, log scale", width=WIDE, height=210
    )
    median = given.get("median") or {}
    facts = "".join(
        _fact(f"median {name}", f"{f.count(median[name])} {visible(unit, 20)}")
        for name in charts.SERIES
        if f.finite(median.get(name)) is not None
    )
    body = chart or _none("No lengths to draw.")
    return f'{_key(given["histogram"])}<figure>{body}<p class="facts">{facts}</p></figure>'


def ngrams(metrics: Metrics) -> str:
    """The n-grams that gained and lost most."""
    given = metrics.get("ngrams")
    gained, lost = (given or {}).get("gained") or [], (given or {}).get("lost") or []
    if not given or not (gained or lost):
        return ""
    widest = max(abs(f.finite(s["log_ratio"]) or 0) for s in [*gained, *lost]) or 1
    halves = "".join(
        f"<figure><figcaption><h3>{title}</h3></figcaption>{_shifts(part, widest, kind)}</figure>"
        for title, part, kind in (("Gained", gained, "gain"), ("Lost", lost, "loss"))
    )
    return f'<div class="pair">{halves}</div>'


def _shifts(shifts: Sequence[Mapping[str, Any]], widest: float, kind: str) -> str:
    if not shifts:
        return _none("None.")
    rows = []
    for shift in shifts[:SHOWN_SHIFTS]:
        wide = 100 * min(1.0, abs(f.finite(shift["log_ratio"]) or 0) / widest)
        ratio = f.finite(shift["selection"]), f.finite(shift["pool"])
        by = f.factor(ratio[0] / ratio[1]) if ratio[0] and ratio[1] else ""
        rows.append(
            f'<tr><td class="gram">{word(shift["ngram"], 60)}</td>'
            f'<td class="barcell"><span class="bar {kind}" style="width:{wide:.1f}%"></span></td>'
            f'<td class="n">{by or ("new" if ratio[0] else "gone")}</td>'
            f'<td class="n quiet">{f.short(shift["pool"])} → {f.short(shift["selection"])}</td>'
            "</tr>"
        )
    head = [("", "n-gram"), ("", "log ratio"), ("n", "ratio"), ("n", "per million")]
    return table(head, rows, "ngrams")


def _none(text: str) -> str:
    return f'<p class="none">{text}</p>'
