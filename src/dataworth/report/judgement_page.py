"""The page of a judgement: one self-contained file without JavaScript, drawn from its dict."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from dataworth.report import frame, ledger, sections
from dataworth.report import judgement_sections as own
from dataworth.report.frame import listed
from dataworth.report.judgement_sections import as_report
from dataworth.report.page import better
from dataworth.results import doubts
from dataworth.results import format as f
from dataworth.results import verdict as verdict_
from dataworth.results.inert import visible, word
from dataworth.results.judgement import Metrics


def write(judgement: Metrics, path: str | os.PathLike[str]) -> Path:
    """Write the page, under a temporary name first; returns its path.

    Raises DataworthError when the file cannot be written.
    """
    return frame.write(render(judgement), path)


def render(judgement: Metrics) -> str:
    """The page as HTML, below 2 MB: excerpts give way when there is too much."""
    first, *rest = _sections(judgement)
    html = ""
    for characters in (500, 200, 60):
        contamination = (
            "contamination",
            "Contamination",
            "How much of a validation set the selection holds, by long n-grams. A model trained on "
            "what it is tested with looks better than it is.",
            own.contamination(judgement, characters),
        )
        html = _page(judgement, [first, contamination, *rest])
        if frame.small(html):
            break
    return html


def _sections(judgement: Metrics) -> list[tuple[str, str, str, str]]:
    """(id, heading, what it shows, body) of what takes the same place in every case."""
    report = as_report(judgement, validation=True)
    return [
        (
            "targets",
            "Nearer to the target",
            "Gain: how much better a model of the selection's words predicts the target than one "
            "of random documents. Larger is better. Nothing was chosen with a validation set.",
            sections.targets(report),
        ),
        (
            "copies",
            "Copies",
            "Texts that are there more than once: to the letter, or nearly.",
            own.copies(judgement),
        ),
        (
            "diversity",
            "Diversity",
            "Different n-grams for each n-gram occurrence, on as much text of the pool: less than "
            "the pool is narrower.",
            own.diversity(judgement),
        ),
        (
            "overlap",
            "Overlap",
            "How much of this selection others have too, by text, copies aside.",
            own.overlap(judgement),
        ),
        (
            "utilities",
            "Utility",
            "What documents are worth for the target, before and after the cut.",
            sections.utilities(report),
        ),
        (
            "composition",
            "Composition",
            "What the selection is made of.",
            sections.composition(report),
        ),
        ("lengths", "Lengths", "% of each set's documents per bin.", sections.lengths(report)),
        (
            "ngrams",
            "N-grams gained and lost",
            "What the selection says more often, and less often, than the pool.",
            sections.ngrams(report),
        ),
        ("notes", "Notes", "", ledger.notes(report)),
        ("run", "Settings and files", "What was judged, with what.", own.run(judgement)),
    ]


def _page(judgement: Metrics, found: list[tuple[str, str, str, str]]) -> str:
    title = visible(judgement.get("title") or "Judgement", 200)
    version = judgement.get("version")
    by = f" {word(version, 40)}" if version else ""
    return frame.page(
        title,
        _header(judgement, title) + _answers(judgement),
        found,
        f"Written by dataworth{by}. The numbers behind this page lie beside it in "
        "<code>metrics.json</code>.",
    )


def _header(judgement: Metrics, title: str) -> str:
    judged, pool = judgement["selection"], judgement.get("pool")
    parts = [word(judged.get("path") or judged["name"], 200)]
    if pool:
        parts.append(f"pool {word(pool['name'], 200)}")
    if judgement.get("seed") is not None:
        parts.append(f"seed {word(judgement['seed'], 30)}")
    return frame.header(title, parts)


def _answers(judgement: Metrics) -> str:
    """The three things to know first: what was judged, is it better, what to distrust."""
    return frame.answers(
        ("Judged", _judged(judgement)),
        ("Better than random?", _better(judgement)),
        doubts=doubts.judgement(judgement),
    )


def _judged(judgement: Metrics) -> str:
    given, pool = judgement["selection"], judgement.get("pool")
    documents, distinct = given["documents"], given["distinct"]
    noun = "document" if documents == 1 else "documents"
    part = f", <b>{f.share(documents, pool['documents'])}</b> of the pool" if pool else ""
    items = [f"{noun}{part}"]
    if distinct != documents:
        items.append(f"<b>{f.count(distinct)}</b> of them different")
    if given.get("tokens") is not None:
        about = " (estimated)" if given.get("tokens_estimated") else ""
        items.append(f"<b>{f.short(given['tokens'])}</b> tokens{about}")
    if given.get("bytes") is not None:
        items.append(f"<b>{f.size(given['bytes'])}</b> of text")
    if pool and f.finite(pool.get("found_share")) is not None:
        items.append(f"<b>{f.share(pool['found_share'])}</b> of its texts are in the pool")
    chosen_by = given.get("chosen_by")
    if chosen_by:
        items.append(f'<span class="quiet">chosen by {_mechanism(chosen_by)}</span>')
    if given.get("budget"):
        items.append(f'<span class="quiet">budget {word(given["budget"], 40)}</span>')
    bad = sum((given.get("bad") or {}).values())
    if bad:
        items.append(f"{f.counted(bad, 'bad line')} set aside")
    return f'<p class="big">{f.count(documents)}</p>{listed(items)}'


def _mechanism(text: str) -> str:
    """The name alone: with all its settings it stands at the foot of the page."""
    return word(text.partition("(")[0], 60)


def _better(judgement: Metrics) -> str:
    body = better(as_report(judgement))
    mean = judgement.get("mean")
    value = f.finite(mean["value"]) if mean else None
    if mean is None or value is None or mean["targets"] < 2:
        return body
    bound = f.finite(mean.get("bound"))
    of = f" of {f.real(bound)}" if bound else ""
    text = f"mean {f.real(value)}{of} nats over {f.counted(mean['targets'], 'target')}"
    return body + listed([escape(text)])


def verdict(judgement: Metrics) -> verdict_.Verdict:
    """Whether the selection is nearer to its targets than random ones."""
    return verdict_.verdict(as_report(judgement))
