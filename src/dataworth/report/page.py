"""`report.html`: one self-contained file without JavaScript, drawn from the metrics alone."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from dataworth.report import cards, frame, ledger, sections
from dataworth.report.frame import listed
from dataworth.results import doubts, verdict
from dataworth.results import format as f
from dataworth.results.inert import markup, visible, word
from dataworth.results.selection import Metrics

SHOWN_TARGETS = 5

# (id, heading, what it shows)
_SECTIONS = (
    ("targets", "Nearer to the target", "Gain: how much better a model of the selection's "
     "words predicts the target than one of random documents of equal size. Larger is better."),
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

    Raises DataworthError when the file cannot be written.
    """
    return frame.write(render(metrics), path)


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
        if frame.small(html):
            break
    return html


def _page(metrics: Metrics, bodies: dict[str, str]) -> str:
    title = visible(metrics["run"].get("title") or "Selection report", 200)
    version = metrics["run"].get("version")
    by = f" {word(version, 40)}" if version else ""
    return frame.page(
        title,
        _header(metrics, title) + _answers(metrics),
        ((name, heading, lede, bodies[name]) for name, heading, lede in _SECTIONS),
        f"Written by dataworth{by}. The numbers behind this page lie "
        "beside it in <code>metrics.json</code>.",
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
    command = (given.get("command") or "")[:4_000]
    shown = f'<pre class="command"><bdi>{markup(command)}</bdi></pre>' if command else ""
    return frame.header(title, parts, shown)


def _answers(metrics: Metrics) -> str:
    """The three things to know first: what was kept, is it better than random, what to distrust."""
    return frame.answers(
        ("Kept", _kept(metrics)),
        ("Better than random?", better(metrics)),
        doubts=doubts.selection(metrics),
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
    return f'<p class="big">{f.count(number)}</p>{listed(items)}'


def _noun(number: float) -> str:
    return "document" if number == 1 else "documents"


def better(metrics: Metrics) -> str:
    """Whether the selection is nearer to its targets than random ones, a line a target."""
    answer = verdict.verdict(metrics)
    items = [
        f"<b><bdi>{escape(name)}</bdi></b> {escape(text)}"
        for name, text in answer.sentences[:SHOWN_TARGETS]
    ]
    more = len(answer.sentences) - SHOWN_TARGETS
    if more > 0:
        items.append(f'<a href="#targets">and {f.counted(more, "target")} more</a>')
    if answer.sentences:
        items.append(
            '<span class="quiet">Gain: how much better its words predict the target. '
            "Larger is better, 0 is as random documents do.</span>"
        )
    elif answer.word == "Not measured":
        items.append("Without a target there is nothing to measure against.")
    return f'<p class="big text">{escape(answer.word)}</p>{listed(items)}'


def _ngrams(metrics: Metrics) -> str:
    body = sections.ngrams(metrics)
    measured = (metrics.get("ngrams") or {}).get("measured")
    return body + (f'<p class="facts">{word(measured, 300)}</p>' if body and measured else "")
