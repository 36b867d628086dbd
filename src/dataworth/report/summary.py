"""The selection in the terminal: the table at the end of a run, and `explain`.

Where the output is no terminal, or knows no Unicode, own words and lines are plain ASCII. Text
from documents is never trusted with the terminal: control characters are named, not sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataworth.results import doubts as doubts_
from dataworth.results import format as f
from dataworth.results import verdict
from dataworth.results.inert import visible
from dataworth.results.selection import Explanation, Gain, Metrics, Sample

SHOWN_REASONS = 12
SHOWN_TARGETS = 12
SHOWN_DRIVERS = 12
_NOTE = 20  # columns of the terminal that notes should have
BAR = 20  # characters of the longest bar


def show(metrics: Metrics, console: Console) -> None:
    """Print the summary of a run: what was kept, what was dropped, is it any good, how fast."""
    print_rows(console, _rows(metrics), visible(metrics["run"].get("title") or "Selection", 200))
    doubts = doubts_.selection(metrics)
    if doubts:
        console.print(styled(console, "What to distrust", "bold"))
    for doubt in doubts:
        console.print(data(console, f"  - {doubt}", "yellow"), soft_wrap=True)


def explain(explanation: Explanation, console: Console) -> None:
    """Print one document's score, rank, threshold, drop reason and what drove the score."""
    document = explanation["document"]
    answer = "kept" if explanation["kept"] else "not kept"
    print_rows(console, _reasons(explanation), f"{visible(document['uid'], 40)}: {answer}", "left")
    drivers = _drivers(document, console)
    if drivers.row_count:
        unit = explanation.get("units", {}).get(document.get("column") or "", "")
        heading = f"What drove the score ({visible(unit, 40)})" if unit else "What drove the score"
        console.print(styled(console, heading, "bold"))
        console.print(drivers)
    excerpt = visible(document["text"], 300)
    if excerpt:
        console.print(styled(console, "Text", "bold"))
        console.print(data(console, f"  {excerpt}"), soft_wrap=True)


def _rows(metrics: Metrics) -> Iterator[tuple[str, str, str]]:
    """Yield the summary's rows: label, number, what else there is to say."""
    accounting, run = metrics["accounting"], metrics["run"]
    whole, kept = accounting["documents"], accounting["kept"]
    yield "read", f.count(whole), "documents"
    for reason, number in _largest(accounting.get("bad") or {}):
        yield f"bad: {reason.replace('_', ' ')}", f.count(number), "lines"
    for reason, number in _largest(accounting.get("dropped") or {}):
        yield f"  dropped: {reason}", f.count(number), f.share(number, whole)
    not_chosen = accounting["eligible"] - kept["documents"]
    yield "  not chosen", f.count(not_chosen), f.share(not_chosen, whole)
    yield "kept", f.count(kept["documents"]), f.share(kept["documents"], whole)
    copies = accounting.get("copies")
    if copies is not None and copies != kept["documents"]:
        yield "  with repeats", f.count(copies), ""
    yield from _amounts(metrics)
    for target in (metrics.get("targets") or [])[:SHOWN_TARGETS]:
        gain = target.get("gain")
        if gain and f.finite(gain["value"]) is not None:
            where = "held-out half" if gain.get("held_out") else "not held out"
            label = f"gain: {visible(target['name'], 30)}"
            nats = f"{f.real(gain['value'])} nats"
            yield label, nats, f"{against(gain['value'], gain)}, {where}"
    choose = (run.get("settings") or {}).get("choose") or {}
    if choose.get("resolved"):
        yield "chosen by", visible(str(choose["resolved"]).partition("(")[0], 40), ""
    utilities = metrics.get("utilities") or []
    for utility in utilities[:SHOWN_TARGETS]:
        name = f": {verdict.short_name(utility)}" if len(utilities) > 1 else ""
        temperature = f.finite(utility.get("temperature"))
        if temperature is not None:
            how = visible(utility.get("temperature_from") or "", 40)
            note = ": plain top-k" if temperature == 0 else ""
            yield f"temperature{name}", f.real(temperature), f"{how}{note}"
        effective, of = utility.get("effective_sample_size"), utility.get("effective_of")
        if f.finite(effective) is not None:
            note = f"of {f.count(of)} documents" if of else ""
            yield f"effective sample size{name}", f.count(effective), note
        spearman, pearson = utility.get("spearman_length"), utility.get("pearson_length")
        if f.finite(spearman) is not None or f.finite(pearson) is not None:
            note = f"Spearman; Pearson {f.real(pearson, signed=True)}"
            yield f"correlation with length{name}", f.real(spearman, signed=True), note
    speed = f.finite(run.get("megabytes_per_second"))
    if f.finite(run.get("seconds")) is not None:
        yield "time", f.duration(run["seconds"]), f"{f.real(speed)} MB/s" if speed else ""


def _amounts(metrics: Metrics) -> Iterator[tuple[str, str, str]]:
    accounting = metrics["accounting"]
    kept, budget = accounting["kept"], accounting.get("budget")
    if kept.get("tokens") is not None:
        how = "estimated as bytes / 4" if budget and budget.get("estimated") else ""
        yield "  tokens", f.count(kept["tokens"]), how
    if kept.get("bytes") is not None:
        yield "  text", f.size(kept["bytes"]), ""
    if budget:
        met = f.finite(budget.get("met"))
        share = f"{f.share(met, budget.get('amount'))} of it met" if met is not None else ""
        yield "budget", visible(budget["asked"], 40), share


def against(value: float | None, gain: Gain) -> str:
    """Return what a gain is held against: its bound and random selections."""
    parts = []
    bound = f.finite(gain.get("bound"))
    if bound:
        part = f"{f.share(value, bound)} of the " if (value or 0) > 0 else ""
        parts.append(f"{part}bound {f.real(bound)}")
    if f.finite(gain.get("random")) is not None:
        parts.append(f"random {f.real(gain.get('random'))}")
    return ", ".join(parts) or "no bound known"


def _largest(reasons: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Yield reasons in their own order; past a dozen the rest in one row."""
    items = [(visible(reason, 60), number) for reason, number in reasons.items() if number]
    yield from items[:SHOWN_REASONS]
    left = items[SHOWN_REASONS:]
    if left:
        yield f"{len(left)} other reasons", sum(number for _, number in left)


def _reasons(explanation: Explanation) -> Iterator[tuple[str, str, str]]:
    document = explanation["document"]
    if document.get("file"):
        at = f"byte {f.count(document['offset'])}" if document.get("offset") is not None else ""
        yield "file", visible(document["file"]), at
    if document.get("id"):
        yield "id", visible(str(document["id"]), 80), ""
    for field, group in (document.get("groups") or {}).items():
        yield visible(field, 30), "(missing)" if group is None else visible(group, 60), ""
    if document.get("drop"):
        yield "dropped", visible(str(document["drop"]), 80), "before the cut"
    scores = document.get("utilities") or {document.get("column") or "": document.get("utility")}
    thresholds, units = explanation.get("thresholds", {}), explanation.get("units", {})
    for column, value in scores.items():
        if f.finite(value) is None:
            continue
        cut = f.finite(thresholds.get(column))
        notes = [visible(units[column], 40)] if units.get(column) else []
        notes += [f"cut at {f.real(cut)}"] if cut is not None else []
        label = column.removeprefix("utility:")
        yield f"utility {visible(label, 40)}".strip(), f.real(value, signed=True), ", ".join(notes)
    if document.get("rank") is not None:
        among = explanation.get("eligible")
        notes = [f"of {f.count(among)} eligible"] if among is not None else []
        chosen = explanation.get("chosen")
        notes += [f"the first {f.count(chosen)} were chosen"] if chosen is not None else []
        yield "rank", f.count(document.get("rank")), ", ".join(notes)
    quiet, chosen = explanation.get("quiet_rank"), explanation.get("chosen") or 0
    if quiet is not None:
        note = ""
        if explanation["kept"] and quiet > chosen:
            note = "kept by chance: by utility alone it is not among the chosen"
        elif not explanation["kept"] and quiet <= chosen:
            note = "left out by chance: by utility alone it is among the chosen"
        yield "rank without noise", f.count(quiet), note
    if (document.get("copies") or 1) > 1:
        yield "copies", f.count(document.get("copies")), ""
    if explanation.get("noise"):
        yield "chance", visible(str(explanation["noise"]), 120), ""


def _drivers(document: Sample, console: Console) -> Table:
    """Draw a bar for each driver, its length the size of the contribution."""
    table = _table()
    drivers = [d for d in document.get("why") or [] if f.finite(d["contribution"]) is not None]
    largest = max((abs(driver["contribution"]) for driver in drivers), default=0) or 1
    block = "#" if plain(console) else "█"
    for driver in drivers[:SHOWN_DRIVERS]:
        value = driver["contribution"]
        bar = block * max(1, round(BAR * abs(value) / largest))
        count = driver.get("count") or 1
        table.add_row(
            data(console, f"  {visible(driver['label'], 40)}"),
            styled(console, f.real(value, signed=True)),
            Text.assemble(
                (bar, "blue" if value > 0 else "red"),
                styled(console, f" {f.TIMES}{f.count(count)}" if count > 1 else "", "dim"),
            ),
        )
    rest = f.finite(document.get("rest"))
    left = sum(driver["contribution"] for driver in drivers[SHOWN_DRIVERS:])
    if drivers and (rest is not None or left):
        table.add_row(
            styled(console, "  all else", "dim"),
            styled(console, f.real((rest or 0) + left, signed=True), "dim"),
            Text(),
        )
    return table


def print_rows(
    console: Console,
    rows: Iterable[tuple[str, str, str]],
    title: str,
    justify: Literal["left", "right"] = "right",
) -> None:
    """Print a title and rows of label, number and note."""
    table = _table(justify)
    rows = list(rows)
    # Names, paths and uids are copied from here: a line longer than the terminal breaks none.
    widths = [max((cell_len(row[column]) for row in rows), default=0) for column in range(3)]
    if sum(widths[:2]) + _NOTE > console.width:
        table.width = sum(widths) + 4
    for label, number, note in rows:
        strong = "bold" if label == "kept" else ""
        table.add_row(
            data(console, label, strong),
            data(console, number, strong),
            data(console, note, "dim"),
        )
    console.print(data(console, title, "bold"), soft_wrap=True)
    console.print(table, crop=False)


def _table(justify: Literal["left", "right"] = "right") -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold", no_wrap=True)
    table.add_column(overflow="fold", no_wrap=True, justify=justify)
    table.add_column(overflow="fold")
    return table


def plain(console: Console) -> bool:
    """Tell if own words and lines must be ASCII."""
    return not console.is_terminal or not console.encoding.lower().startswith("utf")


def styled(console: Console, text: str, style: str = "") -> Text:
    """Return own words: ASCII where the output is no terminal."""
    return Text(f.ascii_only(text) if plain(console) else text, style=style)


def data(console: Console, text: str, style: str = "") -> Text:
    """Return words that may hold data: Unicode stays wherever the output can carry it."""
    if not console.encoding.lower().startswith("utf"):
        text = f.ascii_only(text)
    elif plain(console):
        text = f.plain_signs(text)
    return Text(text, style=style)
