"""The sections of a judgement's page that a selection's report has not.

Every function returns the inside of a section, or an empty string when its part is missing.
Data enters only through `inert`.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataworth.report import charts, ledger
from dataworth.report.frame import folded
from dataworth.report.sections import WIDE, shares_table, table
from dataworth.results import format as f
from dataworth.results.inert import markup, split_excerpt, word
from dataworth.results.judgement import (
    Contamination,
    Diversity,
    Hit,
    Metrics,
    Overlap,
    Variety,
)
from dataworth.results.selection import Metrics as Report
from dataworth.results.selection import Target

SHOWN = 40
SHOWN_EXAMPLES = 5
_GRAMS = (("distinct_1", "words"), ("distinct_2", "2-grams"), ("distinct_3", "3-grams"))


def as_report(judgement: Metrics, *, validation: bool = False) -> Report:
    """A judgement as the metrics of a run, for the sections and findings that both have.

    With `validation`, a validation set stands below its target as one more row.
    """
    judged, pool = judgement["selection"], judgement.get("pool")
    targets: list[Target] = []
    for target in judgement.get("targets") or []:
        targets.append(
            {
                "name": target["name"],
                "documents": target["documents"],
                "gain": target.get("gain"),
            }
        )
        checked = target.get("validation") if validation else None
        if checked:
            targets.append(
                {
                    "name": f"{target['name']}, validation",
                    "documents": checked["documents"],
                    "gain": checked.get("gain"),
                }
            )
    documents = pool["documents"] if pool else judged["distinct"]
    report: Report = {
        "metrics_version": 1,
        "run": {"title": judgement["title"]},
        "accounting": {
            "documents": documents,
            "eligible": documents,
            "kept": {"documents": judged["documents"]},
        },
        "targets": targets,
        "utilities": judgement.get("utilities") or [],
        "composition": judgement.get("composition") or [],
        "lengths": judgement.get("lengths"),
        "ngrams": judgement.get("ngrams"),
        "notes": judgement.get("notes") or [],
    }
    return report


def contamination(judgement: Metrics, characters: int) -> str:
    """How much of each validation set the selection holds, and what, in excerpts so long."""
    given = judgement.get("contamination") or []
    if not given:
        return ""
    rows = [_checked(one) for one in given[:SHOWN]]
    heads = (
        "documents",
        "hit",
        "",
        "half or more",
        "to the letter",
        "of the selection",
        "of the pool",
    )
    kinds = ("n", "n", "barcell", "n", "n", "n", "n")
    head = [("", "validation set"), *zip(kinds, heads, strict=True)]
    examples = "".join(_examples(one, characters) for one in given[:SHOWN])
    return table(head, rows) + _said([one.get("measured") for one in given]) + examples


def _checked(one: Contamination) -> str:
    whole = one["documents"]
    width = 100 * max(0.0, min(1.0, f.finite(one["hit_share"]) or 0.0))
    bar = f'<span class="bar loss" style="width:{width:.1f}%"></span>' if width else ""
    short = one.get("short")
    few = f' <span class="quiet">and {f.count(short)} too short</span>' if short else ""
    return (
        f"<tr><td>{word(one['name'], 60)}</td>"
        f'<td class="n">{f.count(whole)}{few}</td>'
        f'<td class="n">{_part(one["hit"], one["hit_share"])}</td>'
        f'<td class="barcell">{bar}</td>'
        f'<td class="n">{_part(one.get("held"), one.get("held_share"))}</td>'
        f'<td class="n">{f.count(one.get("exact"))}</td>'
        f'<td class="n">{_part(one.get("selected"), one.get("selected_share"))}</td>'
        f'<td class="n">{f.share(one.get("pool_share"))}</td></tr>'
    )


def _part(number: float | None, share: float | None) -> str:
    """12 (3.4%)."""
    part = f.finite(share)
    return f.count(number) + ("" if part is None else f" ({f.share(part)})")


def _examples(one: Contamination, characters: int) -> str:
    hits = (one.get("examples") or [])[:SHOWN_EXAMPLES]
    if not hits:
        return ""
    cards = "".join(_card(hit, characters) for hit in hits)
    title = f"{word(one['name'], 60)}: the documents most of which was selected"
    return folded(title, f'<div class="docs">{cards}</div>')


def _card(hit: Hit, characters: int) -> str:
    text, rest = split_excerpt(hit["text"], characters, 12)
    more = "…" if rest else ""
    return (
        f'<article class="card"><header><span class="value below">{f.share(hit["share"])} of its '
        f'n-grams</span></header><p class="where">{word(hit["uid"], 40)}</p>'
        f'<div class="doc"><bdi>{markup(text)}</bdi>{more}</div></article>'
    )


def _said(texts: Sequence[str | None]) -> str:
    """How it was measured, each way once."""
    known = list(dict.fromkeys(text for text in texts if text))
    return "".join(f'<p class="facts">{word(text, 400)}</p>' for text in known[:3])


def copies(judgement: Metrics) -> str:
    """Exact and near duplicates, beside the pool's."""
    given = judgement.get("duplicates")
    if not given:
        return ""
    wanted = " (asked for)" if given.get("intended") else ""
    rows = [
        _copied(f"texts that came before, to the letter{wanted}", given["exact"],
                judgement["selection"]["documents"], given["exact_share"],
                given.get("pool_exact_share")),
        _copied("texts that are nearly one before", given.get("near"), given.get("near_of"),
                given.get("near_share"), None),
    ]  # fmt: skip
    head = [
        ("", ""),
        ("n", "number"),
        ("n", "of"),
        ("n", "share"),
        ("barcell", ""),
        ("n", "in the pool"),
    ]
    largest = given.get("largest")
    most = ""
    if largest is not None and largest > 1:
        number = f.count(largest)
        most = f'<p class="facts"><span>copies of the commonest text <b>{number}</b></span></p>'
    return table(head, [row for row in rows if row]) + most + _said([given.get("measured")])


def _copied(
    name: str, number: float | None, of: float | None, share: float | None, pool: float | None
) -> str:
    part = f.finite(share)
    if number is None:
        return ""
    width = 100 * max(0.0, min(1.0, part or 0.0))
    bar = f'<span class="bar loss" style="width:{width:.1f}%"></span>' if width else ""
    known = "" if f.finite(pool) is None else f.share(pool)
    return (
        f'<tr><td>{name}</td><td class="n">{f.count(number)}</td><td class="n">{f.count(of)}</td>'
        f'<td class="n">{f.share(part)}</td><td class="barcell">{bar}</td>'
        f'<td class="n">{known}</td></tr>'
    )


def diversity(judgement: Metrics) -> str:
    """Distinct n-grams of selection and pool, and how far the text can be compressed."""
    given = judgement.get("diversity")
    if not given:
        return ""
    mine, theirs = given["selection"], given.get("pool")
    return _grams(mine, theirs) + _compression(given) + _said([given.get("measured")])


def _grams(mine: Variety, theirs: Variety | None) -> str:
    known = [
        (name, f.finite(_of(theirs, key)), value)
        for key, name in _GRAMS
        if (value := f.finite(_of(mine, key))) is not None
    ]
    if not known:
        return ""
    if any(before is None for _, before, _ in known):
        return shares_table([(f"different {name}", value) for name, _, value in known])
    key = (
        '<p class="key"><span><i class="k-ring"></i>pool</span>'
        '<span><i class="k-dot"></i>selection</span></p>'
    )
    rows = [(f"different {name}", before or 0.0, value) for name, before, value in known]
    chart = charts.dumbbell(rows, width=WIDE, title="of all n-grams", was="pool")
    return f"{key}<figure>{chart}</figure>"


def _of(variety: Variety | None, key: str) -> object:
    return variety.get(key) if variety else None


def _compression(given: Diversity) -> str:
    value = f.finite(given["selection"].get("compression_ratio"))
    if value is None:
        return ""
    pool = f.finite((given.get("pool") or {}).get("compression_ratio"))
    beside = f", pool {f.real(pool)}" if pool is not None else ""
    return (
        f'<p class="facts"><span>compression ratio <b>{f.real(value)}{beside}</b></span>'
        "<span>larger repeats itself more</span></p>"
    )


def overlap(judgement: Metrics) -> str:
    """What other selections share with this one, and how alike they rank."""
    given = judgement.get("overlap") or []
    if not given:
        return ""
    rows = [_shared(one) for one in given[:SHOWN]]
    heads = (("n", "documents"), ("n", "in both"), ("n", "of this one"), ("barcell", ""),
             ("n", "Jaccard"), ("n", "by chance"))  # fmt: skip
    alike = _ranks(given)
    return table([("", "other selection"), *heads], rows) + alike


def _shared(one: Overlap) -> str:
    share = f.finite(one.get("share"))
    width = 100 * max(0.0, min(1.0, share or 0.0))
    bar = f'<span class="bar kept" style="width:{width:.1f}%"></span>' if width else ""
    return (
        f"<tr><td>{word(one['name'], 80)}</td>"
        f'<td class="n">{f.count(one["documents"])}</td><td class="n">{f.count(one["common"])}</td>'
        f'<td class="n">{f.share(share)}</td><td class="barcell">{bar}</td>'
        f'<td class="n">{f.real(one["jaccard"])}</td>'
        f'<td class="n">{f.real(one.get("expected_jaccard"))}</td></tr>'
    )


def _ranks(given: Sequence[Overlap]) -> str:
    rows = []
    for one in given[:SHOWN]:
        for rank in (one.get("ranks") or [])[:SHOWN]:
            if f.finite(rank["spearman"]) is None:
                continue
            what = rank["what"] or "utility"
            rows.append(
                f'<tr><td>{word(one["name"], 80)}</td><td class="keep">{word(what, 60)}</td>'
                f'<td class="mono">{word(rank.get("mine") or "", 120)}</td>'
                f'<td class="mono">{word(rank.get("other") or "", 120)}</td>'
                f'<td class="n">{f.real(rank["spearman"], signed=True)}</td>'
                f'<td class="n">{f.count(rank["documents"])}</td></tr>'
            )
    if not rows:
        return ""
    head = [("", "other selection"), ("", "what"), ("", "here"), ("", "there")]
    head += [("n", "Spearman"), ("n", "documents")]
    return f"<figure><h3>Do they rank alike?</h3>{table(head, rows)}</figure>"


def run(judgement: Metrics) -> str:
    """Files and settings."""
    parts = []
    inputs = judgement.get("inputs") or []
    if inputs:
        parts.append(f"<figure><h3>Files read</h3>{ledger.inputs_table(inputs)}</figure>")
    chosen = judgement["selection"].get("chosen_by")
    settings = [("chosen by", chosen)] if chosen else []
    settings += ledger.flatten(judgement.get("settings") or {})
    if settings:
        parts.append(f"<figure><h3>Settings</h3>{ledger.pairs(settings)}</figure>")
    return "".join(parts)
