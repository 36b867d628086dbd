"""The report's accounts: where every document went, what was read, how it ran, with what settings.

Data enters only through `inert`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dataworth.report.sections import table
from dataworth.results import format as f
from dataworth.results.inert import word
from dataworth.results.selection import Input, Metrics, Phase

SHOWN_REASONS = 40
SHOWN_INPUTS = 25
SHOWN_SETTINGS = 200
SHOWN_NOTES = 30


def accounting(metrics: Metrics) -> str:
    """Documents in, dropped by reason, eligible, kept; bad and blank lines."""
    given = metrics["accounting"]
    whole, kept = given["documents"], given["kept"]["documents"]
    dropped = given.get("dropped") or {}
    rows = [_row("read", whole, whole, "", "total")]
    rows += [
        _row(f"dropped: {word(reason, 80)}", number, whole, "", "sub")
        for reason, number in list(dropped.items())[:SHOWN_REASONS]
    ]
    left = list(dropped.values())[SHOWN_REASONS:]
    if left:
        rows.append(_row(f"dropped: {len(left)} other reasons", sum(left), whole, "", "sub"))
    rows.append(_row("eligible", given["eligible"], whole, "", "total"))
    rows.append(_row("not chosen", given["eligible"] - kept, whole, "", "sub"))
    rows.append(_row("kept", kept, whole, "kept", "total"))
    head = [("", "documents"), ("n", "number"), ("n", "of all"), ("barcell", "")]
    return table(head, rows) + _lines(metrics)


def _row(name: str, number: float, whole: float, bar: str, kind: str) -> str:
    width = 100 * max(0.0, min(1.0, number / whole)) if whole else 0
    drawn = f'<span class="bar {bar}" style="width:{width:.2f}%"></span>' if width else ""
    return (
        f'<tr class="{kind}"><td>{name}</td><td class="n">{f.count(number)}</td>'
        f'<td class="n">{f.share(number, whole)}</td>'
        f'<td class="barcell">{drawn}</td></tr>'
    )


def _lines(metrics: Metrics) -> str:
    """Bad lines by reason and blank lines: these were no documents."""
    given = metrics["accounting"]
    bad = {reason: number for reason, number in (given.get("bad") or {}).items() if number}
    blank = given.get("blank") or 0
    if not bad and not blank:
        return '<p class="none">No bad lines and no blank ones.</p>'
    lines = given["documents"] + sum(bad.values()) + blank
    rows = [
        _row(f"bad: {word(reason.replace('_', ' '), 80)}", number, lines, "loss", "")
        for reason, number in list(bad.items())[:SHOWN_REASONS]
    ]
    if blank:
        rows.append(_row("blank", blank, lines, "", ""))
    return table(
        [("", "lines that are no document"), ("n", "number"), ("n", "of all"), ("", "")], rows
    )


def run(metrics: Metrics) -> str:
    """Phases, inputs, settings and machine."""
    given = metrics["run"]
    phases, inputs = given.get("phases") or [], given.get("inputs") or []
    parts = []
    if phases:
        parts.append(f"<figure><h3>Time</h3>{_phases(phases, given.get('seconds'))}</figure>")
    if inputs:
        parts.append(f"<figure><h3>Files read</h3>{inputs_table(inputs)}</figure>")
    settings = list(flatten(given.get("settings") or {}))
    if settings:
        parts.append(f"<figure><h3>Settings</h3>{pairs(settings)}</figure>")
    about = [*_about(metrics), *flatten(given.get("machine") or {})]
    if about:
        parts.append(f"<figure><h3>Run and machine</h3>{pairs(about)}</figure>")
    return "".join(parts)


def notes(metrics: Metrics) -> str:
    """What is good to know."""
    texts = [text for text in metrics.get("notes") or [] if text]
    items = "".join(f"<li>{word(text, 600)}</li>" for text in texts[:SHOWN_NOTES])
    return f'<ul class="notes">{items}</ul>' if items else ""


def _phases(phases: Sequence[Phase], seconds: float | None) -> str:
    whole = f.finite(seconds) or sum(f.finite(phase["seconds"]) or 0 for phase in phases)
    rows = []
    for phase in phases[:SHOWN_REASONS]:
        took, megabytes = f.finite(phase["seconds"]) or 0.0, f.finite(phase.get("megabytes"))
        speed = f"{f.real(megabytes / took)} MB/s" if megabytes and took else ""
        width = 100 * min(1.0, took / whole) if whole else 0
        documents = f.count(phase["documents"]) if phase.get("documents") is not None else ""
        rows.append(
            f"<tr><td>{word(phase['name'], 60)}</td>"
            f'<td class="n">{f.duration(phase["seconds"])}</td>'
            f'<td class="barcell"><span class="bar" style="width:{width:.2f}%"></span></td>'
            f'<td class="n">{documents}</td><td class="n">{speed}</td></tr>'
        )
    head = [("", "phase"), ("n", "time"), ("barcell", ""), ("n", "documents"), ("n", "speed")]
    return table(head, rows)


def inputs_table(inputs: Sequence[Input]) -> str:
    """The files that were read, with their role; past 25 their number."""
    rows = []
    for given in inputs[:SHOWN_INPUTS]:
        form = " ".join(
            str(part) for part in (given.get("format"), given.get("compression")) if part
        )
        rows.append(
            f'<tr><td class="mono">{word(given["path"], 200)}</td>'
            f"<td>{word(given.get('role') or 'pool', 60)}</td><td>{word(form, 30)}</td>"
            f'<td class="n">{f.count(given.get("documents"))}</td>'
            f'<td class="n">{f.size(given.get("bytes"))}</td></tr>'
        )
    more = len(inputs) - SHOWN_INPUTS
    end = f'<p class="none">and {f.counted(more, "file")} more</p>' if more > 0 else ""
    head = [("", "file"), ("", "role"), ("", "format"), ("n", "documents"), ("n", "on disk")]
    return table(head, rows) + end


def pairs(given: Sequence[tuple[str, str]]) -> str:
    """A table of names and values; past 200 rows their number."""
    rows = [
        f"<tr><td>{word(name, 120)}</td><td>{word(value, 400)}</td></tr>"
        for name, value in given[:SHOWN_SETTINGS]
    ]
    more = len(given) - SHOWN_SETTINGS
    end = f'<p class="none">and {more} more</p>' if more > 0 else ""
    return f'<table class="settings"><tbody>{"".join(rows)}</tbody></table>{end}'


def _about(metrics: Metrics) -> Iterator[tuple[str, str]]:
    given = metrics["run"]
    if given.get("version"):
        yield "dataworth", given["version"]
    if given.get("seed") is not None:
        yield "seed", str(given["seed"])
    if given.get("started"):
        yield "started", given["started"]
    if f.finite(given.get("seconds")) is not None:
        yield "wall time", f.duration(given["seconds"])
    if given.get("output"):
        yield "output", given["output"]


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as (dotted name, value) in their own order; short lists on one line."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping | list) for v in value):
            yield from flatten({str(i + 1): v for i, v in enumerate(value)}, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(_plain(v) for v in value) or "none"
        else:
            yield name, _plain(value)


def _plain(value: Any) -> str:
    if value is None or value == "" or (isinstance(value, Mapping) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
