"""From the records to rows that the templates write: order, sums, shares, the first few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dataworth.report import charts
from dataworth.results import doubts, verdict
from dataworth.results import format as f
from dataworth.results.inert import split_excerpt, visible
from dataworth.results.judgement import Diversity, Overlap, RankCorrelation
from dataworth.results.selection import (
    Accounting,
    Amount,
    Composition,
    Ngrams,
    Part,
    Run,
    Sample,
    Target,
    Utility,
)

SHOWN_PARTS = 15
SHOWN_REASONS = 40
SHOWN_DRIVERS = 9
MOST_DRIVERS = 40
FIRST_CHARACTERS, FIRST_LINES = 460, 9

Fact = tuple[str, str, bool]
"""A name, a value, and whether it is worth a warning."""


def measured_targets(targets: Sequence[Target] | None) -> list[Target]:
    """Return the targets whose gain is known."""
    return [
        t
        for t in targets or []
        if f.finite((t.get("gain") or {"value": None})["value"]) is not None
    ]


def gain_rows(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return the rows of the chart of gains."""
    rows = []
    for target in targets:
        gain = target.get("gain") or {"value": None}
        value, bound = f.finite(gain["value"]), f.finite(gain.get("bound"))
        chance = f.finite(gain.get("random"))
        # A rule needs some length to be seen where the spread is next to nothing.
        least = 0.004 * (bound or abs(value or 0) or 1)
        half = max(2 * (f.finite(gain.get("random_spread")) or 0), least)
        rows.append(
            {
                "name": target["name"],
                "value": value,
                "bound": bound,
                "low": None if chance is None else chance - half,
                "high": None if chance is None else chance + half,
                "text": verdict.in_words(gain),
            }
        )
    return rows


def utility_facts(utility: Utility) -> list[Fact]:
    """Return what stands below the chart of a utility."""
    facts: list[Fact] = []
    if f.finite(utility.get("threshold")) is not None:
        facts.append(("utility at the cut", f.real(utility.get("threshold")), False))
    effective, whole = utility.get("effective_sample_size"), utility.get("effective_of")
    if f.finite(effective) is not None:
        text = f.count(effective) + (f" of {f.count(whole)}" if whole else "")
        facts.append(("effective sample size", text, doubts.few_effective(utility)))
    pairs = (
        ("Spearman", utility.get("spearman_length")),
        ("Pearson", utility.get("pearson_length")),
    )
    known = [(name, number) for name, value in pairs if (number := f.finite(value)) is not None]
    if known:
        text = ", ".join(f"{number:+.2f} {name}".replace("-", f.MINUS) for name, number in known)
        warn = any(doubts.goes_with_length(number) for _, number in known)
        facts.append(("correlation with length", text, warn))
    if f.finite(utility.get("temperature")) is not None:
        how = utility.get("temperature_from")
        text = f.real(utility.get("temperature")) + (f", {visible(how, 40)}" if how else "")
        facts.append(("temperature", text, False))
    outside = (utility.get("histogram") or {"edges": []}).get("outside", {})
    beyond = [f"{f.count(outside[s])} {s}" for s in charts.SERIES if f.finite(outside.get(s))]
    return facts + ([("not drawn", ", ".join(beyond), False)] if beyond else [])


def composition(field: Composition) -> dict[str, Any]:
    """Return the parts by a field: shares in pool and selection, largest of the selection first."""
    parts, rest = sorted(field["parts"], key=_weight, reverse=True), field.get("rest")
    unit = "tokens" if all(_tokens(part) for part in parts) else "documents"
    every = [*parts, *([rest] if rest else [])]
    before = sum(_amount(part["pool"], unit) for part in every)
    after = sum(_amount(part["selection"], unit) for part in every)
    shown, folded = parts[:SHOWN_PARTS], parts[SHOWN_PARTS:]
    values = len(folded) + (field.get("rest_values") or 0)
    if len(folded) == 1 and values == 1:
        shown, folded, values = parts, [], 0
    shown.sort(key=lambda part: -_amount(part["selection"], unit))
    named = [("(missing)" if p["value"] is None else p["value"] or "(empty)", p) for p in shown]
    if values:
        named.append((f"{values:,} other values", _sum([*folded, *([rest] if rest else [])])))
    return {
        "field": field["field"],
        "unit": unit,
        "before": before,
        "named": named,
        "count": len(parts) + (field.get("rest_values") or 0),
        "rows": [
            (
                name,
                _amount(part["pool"], unit) / (before or 1),
                _amount(part["selection"], unit) / (after or 1),
            )
            for name, part in named
        ],
    }


def _weight(part: Part) -> tuple[float, str]:
    """Return a sort key that puts what is large before or after first, so no end is folded away."""
    return part["pool"]["documents"] + 20 * part["selection"]["documents"], str(part["value"])


def _tokens(part: Part) -> bool:
    return part["pool"].get("tokens") is not None and part["selection"].get("tokens") is not None


def _amount(amount: Amount, unit: str) -> float:
    return f.finite(amount.get("tokens") if unit == "tokens" else amount["documents"]) or 0.0


def _sum(parts: Sequence[Part]) -> Part:
    def both(sides: Sequence[Amount]) -> Amount:
        known = [n for side in sides if (n := side.get("tokens")) is not None]
        return {
            "documents": sum(side["documents"] for side in sides),
            "tokens": sum(known) if len(known) == len(sides) else None,
        }

    pool, selection = [p["pool"] for p in parts], [p["selection"] for p in parts]
    return {"value": "", "pool": both(pool), "selection": both(selection)}


def widest(ngrams: Ngrams) -> float:
    """Return the largest log ratio, which has the longest bar."""
    shifts = [*(ngrams.get("gained") or []), *(ngrams.get("lost") or [])]
    return max((abs(f.finite(s["log_ratio"]) or 0.0) for s in shifts), default=0.0) or 1.0


def accounting(given: Accounting) -> Iterator[tuple[str, float, str, str]]:
    """Yield (name, documents, class of the row, class of the bar) from read to kept."""
    dropped, kept = list((given.get("dropped") or {}).items()), given["kept"]["documents"]
    yield "read", given["documents"], "total", ""
    for reason, number in dropped[:SHOWN_REASONS]:
        yield f"dropped: {visible(reason, 80)}", number, "sub", ""
    left = [number for _, number in dropped[SHOWN_REASONS:]]
    if left:
        yield f"dropped: {len(left)} other reasons", sum(left), "sub", ""
    yield "eligible", given["eligible"], "total", ""
    yield "not chosen", given["eligible"] - kept, "sub", ""
    yield "kept", kept, "total", "kept"


def flow(given: Accounting) -> list[tuple[str, float]]:
    """Return what is left after each step, from what was read to what was kept."""
    leaving: dict[str, float] = {}
    for reason, number in (given.get("dropped") or {}).items():
        step = reason.partition(":")[0]
        leaving[step] = leaving.get(step, 0) + number
    left, steps = float(given["documents"]), [("read", float(given["documents"]))]
    for step, gone in list(leaving.items())[:SHOWN_PARTS]:
        left -= gone
        steps.append((step, left))
    if left != given["eligible"] and leaving:
        steps.append(("other steps", float(given["eligible"])))
    return [*steps, ("kept", float(given["kept"]["documents"]))]


def bad_lines(given: Accounting) -> list[tuple[str, int]]:
    """Return bad lines by reason, and blank lines: these were no documents."""
    bad = [
        (f"bad: {reason.replace('_', ' ')}", n)
        for reason, n in (given.get("bad") or {}).items()
        if n
    ]
    blank = given.get("blank") or 0
    return bad + ([("blank", blank)] if blank else [])


def about(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what ran, and when."""
    for name, value in (
        ("dataworth", run.get("version")),
        ("seed", run.get("seed")),
        ("started", run.get("started")),
        (
            "wall time",
            f.duration(run.get("seconds")) if f.finite(run.get("seconds")) is not None else None,
        ),
        ("output", run.get("output")),
    ):
        if value is not None and value != "":
            yield name, str(value)


def units(utilities: Sequence[Utility] | None) -> dict[str | None, str]:
    """Return the unit of each utility column."""
    return {u["column"]: u.get("unit") or "" for u in utilities or []}


def other_utilities(sample: Sample) -> list[tuple[str, float | None]]:
    """Return a document's utilities beside the one that it is ranked by, the first few."""
    others = (sample.get("utilities") or {}).items()
    own = sample.get("column")
    return [(name.removeprefix("utility:"), v) for name, v in others if name != own][:4]


def chips(sample: Sample) -> list[Mapping[str, Any]]:
    """Return what drove a utility, each with a tint as strong as its contribution."""
    drivers = [d for d in sample.get("why") or [] if f.finite(d["contribution"]) is not None]
    largest = max((abs(driver["contribution"]) for driver in drivers), default=0.0) or 1.0
    drawn: list[Mapping[str, Any]] = [
        {
            "label": driver["label"],
            "value": driver["contribution"],
            "count": driver.get("count") or 1,
            "tint": f"{0.07 + 0.3 * abs(driver['contribution']) / largest:.2f}",
        }
        for driver in drivers[:MOST_DRIVERS]
    ]
    rest = f.finite(sample.get("rest"))
    if drawn and rest is not None:
        drawn.insert(min(SHOWN_DRIVERS, len(drawn)), {"label": None, "value": rest})
    return drawn


def excerpt(sample: Sample, characters: int) -> tuple[str, str, int]:
    """Return the beginning of a text, what can be unfolded, and how much more the pool has."""
    text = sample["text"][:characters]
    left = max(sample.get("characters") or 0, len(sample["text"])) - len(text)
    first, rest = split_excerpt(text, FIRST_CHARACTERS, FIRST_LINES)
    # Fewer than a hundred characters more are not worth a click.
    if rest and len(rest) < 100 and rest.count("\n") < 4:
        first, rest = text, ""
    return first, rest, max(0, left)


def distinct(diversity: Diversity) -> list[tuple[str, float | None, float]]:
    """Return (n-grams, share that is different in the pool, and in the selection)."""
    mine, theirs = diversity["selection"], diversity.get("pool") or {}
    keys = (("words", "distinct_1"), ("2-grams", "distinct_2"), ("3-grams", "distinct_3"))
    return [
        (f"different {name}", f.finite(theirs.get(key)), value)
        for name, key in keys
        if (value := f.finite(mine.get(key))) is not None
    ]


def ranks(others: Sequence[Overlap]) -> list[tuple[str, RankCorrelation]]:
    """Return (the other selection, a correlation that is known)."""
    return [
        (one["name"], rank)
        for one in others
        for rank in (one.get("ranks") or [])[:SHOWN_REASONS]
        if f.finite(rank["spearman"]) is not None
    ]
