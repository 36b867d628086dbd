"""The judgement in the terminal.

As in `report/summary.py`, what comes from data is never trusted with the terminal, and where the
output is no terminal the own words and lines are plain ASCII.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from dataworth.report.summary import against, data, print_rows, styled
from dataworth.results import doubts as doubts_
from dataworth.results import format as f
from dataworth.results import verdict
from dataworth.results.inert import visible
from dataworth.results.judgement import Metrics, Overlap
from dataworth.results.selection import Gain

SHOWN = 12
_Rows = Iterator[tuple[str, str, str]]


def show(judgement: Metrics, console: Console) -> None:
    """Print every measure with its number and what to hold it against, then what to distrust."""
    title = visible(judgement.get("title") or "Judgement", 200)
    print_rows(console, _rows(judgement), title)
    doubts = doubts_.judgement(judgement)
    if doubts:
        console.print(styled(console, "What to distrust", "bold"))
    for doubt in doubts:
        console.print(data(console, f"  - {doubt}", "yellow"), soft_wrap=True)
    notes = [visible(text, 400) for text in judgement.get("notes") or []]
    if notes:
        console.print(styled(console, "Good to know", "bold"))
    for note in notes:
        console.print(data(console, f"  - {note}"), soft_wrap=True)


def _rows(judgement: Metrics) -> _Rows:
    yield from _judged(judgement)
    for target in (judgement.get("targets") or [])[:SHOWN]:
        name = visible(target["name"], 30)
        yield from _gain(f"gain: {name}", target.get("gain"), "held-out half")
        validation = target.get("validation")
        if validation:
            gain = validation.get("gain")
            yield from _gain("  on its validation set", gain, "")
    mean = judgement.get("mean")
    if mean and f.finite(mean["value"]) is not None and mean["targets"] > 1:
        bound = f.finite(mean.get("bound"))
        note = f"of the bound {f.real(bound)}" if bound else ""
        yield "gain: mean", f"{f.real(mean['value'])} nats", note
    yield from _weights(judgement)
    yield from _copies(judgement)
    yield from _variety(judgement)
    for one in (judgement.get("contamination") or [])[:SHOWN]:
        number = f"{f.count(one['hit'])} of {f.count(one['documents'])}"
        held, exact = one.get("held"), one.get("exact")
        notes = [f"touched, {f.count(held)} held by half or more"] if held is not None else []
        notes += [f"{f.count(exact)} to the letter"] if exact is not None else []
        yield f"contamination: {visible(one['name'], 30)}", number, ", ".join(notes)
    for other in (judgement.get("overlap") or [])[:SHOWN]:
        yield from _overlap(other)


def _judged(judgement: Metrics) -> _Rows:
    given, pool = judgement["selection"], judgement.get("pool")
    of = f"{f.share(given['documents'], pool['documents'])} of the pool" if pool else ""
    yield "judged", f.count(given["documents"]), f"documents{', ' + of if of else ''}"
    if given["distinct"] != given["documents"]:
        yield "  different", f.count(given["distinct"]), ""
    if given.get("tokens") is not None:
        how = "estimated as bytes / 4" if given.get("tokens_estimated") else ""
        yield "  tokens", f.count(given["tokens"]), how
    if pool and f.finite(pool.get("found_share")) is not None:
        yield "  in the pool", f.count(pool.get("found")), f.share(pool["found_share"])
    for reason, number in list((given.get("bad") or {}).items())[:SHOWN]:
        if number:
            yield f"bad: {visible(reason.replace('_', ' '), 40)}", f.count(number), "lines"


def _gain(label: str, gain: Gain | None, half: str) -> _Rows:
    if gain and f.finite(gain["value"]) is not None:
        where = half if gain.get("held_out") else "not held out"
        note = ", ".join(part for part in (against(gain["value"], gain), where) if part)
        yield label, f"{f.real(gain['value'])} nats", note


def _weights(judgement: Metrics) -> _Rows:
    given = judgement.get("utilities") or []
    for one in given[:SHOWN]:
        name = f": {visible(verdict.short_name(one), 30)}" if len(given) > 1 else ""
        effective = one.get("effective_sample_size")
        if f.finite(effective) is not None:
            note = f"of {f.count(one.get('effective_of'))} documents"
            yield f"effective sample size{name}", f.count(effective), note
        spearman = one.get("spearman_length")
        if f.finite(spearman) is not None:
            note = f"Spearman; Pearson {f.real(one.get('pearson_length'), signed=True)}"
            yield f"correlation with length{name}", f.real(spearman, signed=True), note


def _copies(judgement: Metrics) -> _Rows:
    given = judgement.get("duplicates")
    if not given:
        return
    pool = f.finite(given.get("pool_exact_share"))
    notes = ["asked for"] if given.get("intended") else []
    notes += [f"pool {f.share(pool)}"] if pool is not None else []
    yield "copies", f.share(given["exact_share"]), ", ".join(notes)
    if f.finite(given.get("near_share")) is not None:
        yield "  nearly", f.share(given["near_share"]), f"of {f.count(given.get('near_of'))} texts"


def _variety(judgement: Metrics) -> _Rows:
    given = judgement.get("diversity")
    if not given:
        return
    mine, theirs = given["selection"], given.get("pool")
    for label, value, beside in (
        ("distinct 1-grams", mine.get("distinct_1"), theirs and theirs.get("distinct_1")),
        ("distinct 2-grams", mine.get("distinct_2"), theirs and theirs.get("distinct_2")),
        ("distinct 3-grams", mine.get("distinct_3"), theirs and theirs.get("distinct_3")),
    ):
        if f.finite(value) is not None:
            known = f.finite(beside)
            yield label, f.share(value), "" if known is None else f"pool {f.share(known)}"
    ratio = f.finite(mine.get("compression_ratio"))
    if ratio is not None:
        known = f.finite(theirs.get("compression_ratio")) if theirs else None
        yield "compression ratio", f.real(ratio), "" if known is None else f"pool {f.real(known)}"


def _overlap(other: Overlap) -> _Rows:
    notes = [f"Jaccard {f.real(other['jaccard'])}"]
    chance = f.finite(other.get("expected_jaccard"))
    notes += [f"by chance {f.real(chance)}"] if chance is not None else []
    for rank in (other.get("ranks") or [])[:3]:
        if f.finite(rank["spearman"]) is not None:
            what = visible(rank["what"] or "utility", 30)
            notes.append(f"Spearman of {what} {f.real(rank['spearman'], signed=True)}")
    yield f"shared with {visible(other['name'], 30)}", f.share(other.get("share")), ", ".join(notes)
