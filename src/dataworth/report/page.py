"""`report.html`: one self-contained file without JavaScript, drawn from the metrics alone."""

from __future__ import annotations

import os
from html import escape
from importlib.resources import files
from pathlib import Path

from dataworth.report import cards, findings, ledger, sections
from dataworth.report import format as f
from dataworth.report.inert import markup, visible, word
from dataworth.report.model import Metrics

MOST_BYTES = 2_000_000
SHOWN_DOUBTS = 6
SHOWN_TARGETS = 5

# No script, no request, no form: what a document smuggled in could not act even if it got through.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

# (id, heading, what it shows)
_SECTIONS = (
    ("targets", "Nearer to the target", "KL reduction: how much of the distance from the pool to "
     "the target the selection takes away. Larger is better."),
    ("utilities", "Utility", "What documents are worth for the target, before and after the cut."),
    ("composition", "Composition", "What pool and selection are made of."),
    ("lengths", "Lengths", "% of each set's documents per bin."),
    ("ngrams", "N-grams gained and lost", "What the selection says more often, and less often, "
     "than the pool."),
    ("samples", "Documents", "Samples of the pool with their utility and what drove it: blue "
     "raised it, orange lowered it."),
    ("accounting", "Where documents went", "Drops by reason add up to what was read."),
    ("notes", "Notes", ""),
    ("run", "Settings and run", "What it takes to get the same selection again."),
)  # fmt: skip


def write(metrics: Metrics, path: str | os.PathLike[str]) -> Path:
    """Write the report, under a temporary name first; returns its path.

    Raises `OSError` when the file cannot be written.
    """
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        part.write_bytes(render(metrics).encode("utf-8"))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def render(metrics: Metrics) -> str:
    """The report as HTML, below 2 MB: the samples' texts give way when there is too much."""
    fixed = {
        "targets": sections.targets(metrics),
        "utilities": sections.utilities(metrics),
        "composition": sections.composition(metrics),
        "lengths": sections.lengths(metrics),
        "ngrams": _ngrams(metrics),
        "accounting": ledger.accounting(metrics),
        "notes": ledger.notes(metrics),
        "run": ledger.run(metrics),
    }
    html = ""
    for characters in (6_000, 2_000, 600, 120):
        html = _page(metrics, fixed | {"samples": cards.samples(metrics, characters)})
        if len(html.encode("utf-8")) < MOST_BYTES:
            break
    return html


def _page(metrics: Metrics, bodies: dict[str, str]) -> str:
    shown = [(name, title, lede) for name, title, lede in _SECTIONS if bodies.get(name)]
    title = visible(metrics["run"].get("title") or "Selection report", 200)
    links = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _ in shown)
    blocks = "".join(
        f'<section id="{name}"><h2>{heading}</h2>'
        + (f'<p class="lede">{lede}</p>' if lede else "")
        + f"{bodies[name]}</section>\n"
        for name, heading, lede in shown
    )
    style = files("dataworth.report").joinpath("style.css").read_text("utf-8")
    version = metrics["run"].get("version")
    by = f" {word(version, 40)}" if version else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)} {f.DASH} dataworth</title>\n"
        f"<style>\n{style}</style>\n</head>\n<body>\n"
        f'<div class="frame">\n<nav aria-label="Contents"><b>dataworth</b><ol>'
        f'<li><a href="#top">Result</a></li>{links}</ol></nav>\n<main id="top">\n'
        f"{_header(metrics, title)}{_answers(metrics)}{blocks}"
        f"<footer>Written by dataworth{by}. The numbers behind this page lie "
        "beside it in <code>metrics.json</code>.</footer>\n</main>\n</div>\n</body>\n</html>\n"
    )


def _header(metrics: Metrics, title: str) -> str:
    given = metrics["run"]
    parts = []
    if f.finite(given.get("seconds")) is not None:
        speed = f.finite(given.get("megabytes_per_second"))
        at = f" at {f.real(speed)} MB/s" if speed else ""
        parts.append(f"{f.duration(given['seconds'])}{at}")
    if given.get("seed") is not None:
        parts.append(f"seed {word(given['seed'], 30)}")
    if given.get("started"):
        parts.append(word(given["started"], 40))
    byline = f'<p class="byline">{" · ".join(parts)}</p>' if parts else ""
    command = (given.get("command") or "")[:4_000]
    shown = f'<pre class="command"><bdi>{markup(command)}</bdi></pre>' if command else ""
    return f'<header class="top"><h1><bdi>{escape(title)}</bdi></h1>{byline}{shown}</header>\n'


def _answers(metrics: Metrics) -> str:
    """The three things to know first: what was kept, is it better than random, what to distrust."""
    return (
        f'<div class="answers"><div><h2>Kept</h2>{_kept(metrics)}</div>'
        f"<div><h2>Better than random?</h2>{_better(metrics)}</div>"
        f'<div class="doubt"><h2>What to distrust</h2>{_doubts(metrics)}</div></div>\n'
    )


def _kept(metrics: Metrics) -> str:
    given = metrics["accounting"]
    kept, pool, budget = given["kept"], given.get("pool"), given.get("budget")
    number, whole = kept["documents"], given["documents"]
    part = f", <b>{f.share(number, whole)}</b>" if whole else ""
    items = [f"{_noun(number)}{part} of {f.count(whole)} read"]
    copies = given.get("copies")
    if copies is not None and copies != number:
        items.append(f"<b>{f.count(copies)}</b> with repeats")
    if kept.get("tokens") is not None:
        about = " (estimated)" if budget and budget.get("estimated") else ""
        of = f" of {f.short(pool['tokens'])}" if pool and pool.get("tokens") is not None else ""
        items.append(f"<b>{f.short(kept['tokens'])}</b> tokens{of}{about}")
    if kept.get("bytes") is not None:
        of = f" of {f.size(pool['bytes'])}" if pool and pool.get("bytes") is not None else ""
        items.append(f"<b>{f.size(kept['bytes'])}</b> of text{of}")
    if budget:
        met = f.finite(budget.get("met"))
        came = f"{f.share(met, budget.get('amount'))} of it met" if met is not None else ""
        asked = word(budget["asked"], 40)
        items.append(f"budget {asked}{': ' if came else ''}{came}")
    return f'<p class="big">{f.count(number)}</p>{_list(items)}'


def _noun(number: float) -> str:
    return "document" if number == 1 else "documents"


def _better(metrics: Metrics) -> str:
    answer = findings.verdict(metrics)
    items = [
        f"<b><bdi>{escape(name)}</bdi></b> {escape(text)}"
        for name, text in answer.sentences[:SHOWN_TARGETS]
    ]
    more = len(answer.sentences) - SHOWN_TARGETS
    if more > 0:
        items.append(f'<a href="#targets">and {f.counted(more, "target")} more</a>')
    if answer.sentences:
        items.append('<span class="quiet">KL reduction: larger is better, 0 is no gain</span>')
    elif answer.word == "Not measured":
        items.append("Without a target there is nothing to measure against.")
    return f'<p class="big text">{escape(answer.word)}</p>{_list(items)}'


def _doubts(metrics: Metrics) -> str:
    doubts = findings.distrust(metrics)
    if not doubts:
        return '<p class="big text">Nothing stands out</p>'
    items = [f"<bdi>{escape(text)}</bdi>" for text in doubts]
    first, rest = items[:SHOWN_DOUBTS], items[SHOWN_DOUBTS:]
    more = (
        f"<details><summary>{len(rest)} more</summary>{_list(rest[:40])}</details>" if rest else ""
    )
    return f'<div style="margin-top:.55rem">{_list(first)}{more}</div>'


def _list(items: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>" if items else ""


def _ngrams(metrics: Metrics) -> str:
    body = sections.ngrams(metrics)
    measured = (metrics.get("ngrams") or {}).get("measured")
    return body + (f'<p class="facts">{word(measured, 300)}</p>' if body and measured else "")
