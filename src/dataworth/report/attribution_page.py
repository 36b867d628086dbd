"""The page of an attribution: one self-contained file without JavaScript, drawn from its dict."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from dataworth.report import frame, ledger
from dataworth.report.frame import folded, listed
from dataworth.report.sections import table
from dataworth.results import doubts
from dataworth.results import format as f
from dataworth.results.attribution import Attribution, Check, Document, Query
from dataworth.results.inert import markup, visible, word

# Characters of an excerpt, documents at either end, queries: as much as fits into 2 MB.
_ROOMS = ((900, 50, 60), (400, 20, 60), (200, 10, 30), (120, 5, 10), (60, 3, 5))
_STRONGEST = 0.42  # of a token's background
_FAINT = 0.03  # below, a token is plain
_LINE = 30  # characters that a new line is worth in an excerpt
_WHOLE = 6  # times an excerpt: how much of a document can be unfolded


def write(attribution: Attribution, path: str | os.PathLike[str]) -> Path:
    """Write the page, under a temporary name first; returns its path.

    Raises DataworthError when the file cannot be written.
    """
    return frame.write(render(attribution), path)


def render(attribution: Attribution) -> str:
    """The page as HTML, below 2 MB: excerpts, documents and queries give way to each other."""
    html = ""
    for characters, documents, most in _ROOMS:
        html = _page(attribution, characters, documents, most)
        if frame.small(html):
            break
    return html


def _page(attribution: Attribution, characters: int, documents: int, most: int) -> str:
    queries = attribution["queries"][:most]
    sections = [
        (
            "queries",
            "Queries",
            "What each query is, and how the scores of all documents for it are spread.",
            _overview(attribution, queries) if len(attribution["queries"]) > 1 else "",
        ),
        *(
            (
                f"q{query['number']}",
                f"Query {query['number']}",
                "",
                _query(query, characters, documents),
            )
            for query in queries
        ),
        (
            "common",
            "At the top of several queries",
            "Documents that many queries share are often loud rather than to the point: long, "
            "or unlike all others.",
            _common(attribution),
        ),
        ("notes", "Notes", "", _notes(attribution)),
        ("run", "Settings", "How the scores were made.", _settings(attribution)),
    ]
    title = f"What helps and harms {visible(Path(attribution['model']).name, 80)}"
    by = word(attribution["version"], 40)
    return frame.page(
        title,
        frame.header(title, [word(attribution["train"], 200), _solver(attribution)])
        + _answers(attribution),
        sections,
        f"Written by dataworth {by}. The numbers behind this page lie beside it in "
        "<code>attribution.json</code>, the scores of all documents in <code>scores/</code>.",
    )


def _solver(attribution: Attribution) -> str:
    return f"solver {word(attribution['solver'], 40)}"


def _answers(attribution: Attribution) -> str:
    items = [
        f"<b>{f.short(attribution['tokens'])}</b> tokens",
        f"<b>{f.counted(len(attribution['queries']), 'set')}</b> of scores, one for each query"
        if len(attribution["queries"]) > 1
        else "one query",
        f"model of <b>{f.short(attribution['parameters'])}</b> parameters that count"
        + (f", {attribution['context']:,} tokens at once" if "context" in attribution else ""),
        f'<span class="quiet">{word(attribution["about"], 200)}</span>',
    ]
    if "check" in attribution:
        items.append(f'<span class="quiet">{word(checked(attribution["check"]), 300)}</span>')
    body = f'<p class="big">{f.count(attribution["documents"])}</p><p>documents</p>{listed(items)}'
    return frame.answers(
        ("Scored", body), ("Who helps", _help(attribution)), doubts=doubts.attribution(attribution)
    )


def checked(check: Check) -> str:
    """What a check on a tiny model has found, in a sentence."""
    if "correlation" not in check:
        return f"not checked: {check.get('why', 'no reason is known')}"
    return (
        f"correlation {check['correlation']:.2f} with the exact answer, of ranks "
        f"{check['ranks']:.2f}, on a tiny {check['architecture']} of {check['parameters']:,} "
        "parameters"
    )


def _help(attribution: Attribution) -> str:
    queries = attribution["queries"]
    if not queries:
        return '<p class="big text">Nothing was asked</p>'
    positive = sum(q["share_positive"] for q in queries) / len(queries)
    half = sum(q["half"] for q in queries) / len(queries)
    over = "" if len(queries) == 1 else ", the mean of all queries"
    unit = visible(attribution["unit"], 120)
    items = [
        f"of the documents have a positive score{over}",
        f"<b>{f.share(half)}</b> of the documents, the most helpful ones, hold half of all that "
        "helps",
        f'<span class="quiet">a score is the {escape(unit)}</span>',
    ]
    return f'<p class="big">{f.share(positive)}</p>{listed(items)}'


def _overview(attribution: Attribution, queries: Sequence[Query]) -> str:
    rows = []
    for query in queries:
        best = query["helpful"][0]["score"] if query["helpful"] else None
        rows.append(
            f'<tr><td class="n"><a href="#q{query["number"]}">{query["number"]}</a></td>'
            f"<td>{word(query['text'], 90)}</td>"
            f'<td class="n">{f.real(query["loss"])}</td>'
            f'<td class="n">{f.real(best, signed=True)}</td>'
            f'<td class="n">{f.real(query["deviation"])}</td>'
            f'<td class="n">{f.share(query["share_positive"])}</td>'
            f'<td class="n">{f.share(query["half"])}</td></tr>'
        )
    head = [
        ("n", ""),
        ("", "query"),
        ("n", "loss, nats a token"),
        ("n", "largest score"),
        ("n", "spread"),
        ("n", "that help"),
        ("n", "hold half of it"),
    ]
    more = len(attribution["queries"]) - len(queries)
    rest = f'<p class="none">{f.count(more)} more in attribution.json.</p>' if more else ""
    return f'<div class="scroll">{table(head, rows)}</div>{rest}'


def _query(query: Query, characters: int, documents: int) -> str:
    facts = [
        ("loss", f"{f.real(query['loss'])} nats a token"),
        ("tokens", f.count(query["tokens"])),
        ("documents that help", f.share(query["share_positive"])),
        ("standard deviation of scores", f.real(query["deviation"])),
    ]
    shown = "".join(f"<span>{name} <b>{value}</b></span>" for name, value in facts)
    text = query["text"]
    rest = folded("the rest", f'<div class="doc more">{markup(text[characters:])}</div>')
    asked = (
        f'<div class="facts">{shown}</div><article class="card" style="margin-top:.8rem">'
        f'<div class="doc" style="margin-top:0">{markup(text[:characters])}</div>'
        f"{rest if len(text) > characters else ''}</article>"
    )
    key = (
        '<p class="key swatches"><span><i style="background:rgb(var(--gain-rgb) / .42)"></i>'
        "token that helps</span>"
        '<span><i style="background:rgb(var(--loss-rgb) / .42)"></i>token that harms</span>'
        "<span>Strongest: the largest of each document</span>"
        "<span>(start): what stands before the first token</span></p>"
    )
    sides = "".join(
        f"<div><h3>{title}</h3>{_cards(given[:documents], characters) or none}</div>"
        for title, given, none in (
            ("Most helpful", query["helpful"], '<p class="none">None helps.</p>'),
            ("Most harmful", query["harmful"], '<p class="none">None harms.</p>'),
        )
    )
    return f'{asked}{key}<div class="docs">{sides}</div>'


def _cards(documents: Sequence[Document], characters: int) -> str:
    return "".join(_card(document, characters) for document in documents)


def _card(document: Document, characters: int) -> str:
    below = " below" if document["score"] < 0 else ""
    parts = [
        f'<span class="rank">#{f.count(document["rank"])}</span>',
        f'<span class="value{below}">{f.real(document["score"], signed=True)}</span>',
        f'<span class="tag">{f.counted(document["tokens"], "token")}</span>',
    ]
    if document["copies"] > 1:
        parts.append(f'<span class="tag">{f.count(document["copies"])} copies</span>')
    path = visible(document["file"])
    path = path if len(path) <= 60 else "…" + path[-59:]
    where = f"{word(document['uid'], 20)} · <bdi>{escape(path)}</bdi> @ {document['offset']:,}"
    pieces = list(_whole(document["pieces"]))
    first, last = _passage(pieces, characters)
    start = document.get("start", 0.0)
    largest = max([abs(start), *(abs(value) for _, value in pieces)])
    begun = _started(start, largest)
    body = "".join(_tinted(pieces[first:last], largest))
    body = ("…" if first else begun) + body + ("…" if last < len(pieces) else "")
    rest = last - first < len(pieces) or document.get("cut")
    whole = "".join(_tinted(_beginning(pieces, _WHOLE * characters), largest))
    more = f'<div class="doc more">{begun}{whole}</div>'
    return (
        f'<article class="card"><header>{"".join(parts)}</header><p class="where">{where}</p>'
        f'<div class="doc">{body}</div>{folded("from the beginning", more) if rest else ""}'
        "</article>"
    )


def _whole(pieces: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Pieces that begin where a person sees a beginning: marks and unseen signs stay together."""
    held: tuple[str, float] | None = None
    for text, value in pieces:
        if held is not None and text and _joins(text[0]):
            held = held[0] + text, held[1] + value
            continue
        if held is not None:
            yield held
        held = text, value
    if held is not None:
        yield held


def _joins(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind[0] == "M" or (kind in ("Cf", "Cc", "Cs", "Co", "Cn") and character not in "\n\t")


def _beginning(pieces: list[tuple[str, float]], room: int) -> list[tuple[str, float]]:
    """The first pieces, of about so many characters."""
    seen = 0
    for place, (text, _) in enumerate(pieces):
        seen += len(text)
        if seen > room:
            return [*pieces[:place], ("…", 0.0)]
    return pieces


def _passage(pieces: Sequence[tuple[str, float]], room: int) -> tuple[int, int]:
    """The stretch of pieces [first, last) that fits the room and says most about the score."""
    best, found = -1.0, (0, 0)
    first, size, weight = 0, 0, 0.0
    for last, (text, value) in enumerate(pieces):
        size += _size(text)
        weight += abs(value)
        while size > room and first < last:
            size -= _size(pieces[first][0])
            weight -= abs(pieces[first][1])
            first += 1
        # The beginning of a text, unless another place says clearly more.
        if weight > best * (1.2 if not found[0] else 1.0):
            best, found = weight, (first, last + 1)
    return found


def _size(text: str) -> int:
    """Characters, a new line being worth many."""
    return len(text) + _LINE * text.count("\n")


def _tinted(pieces: Sequence[tuple[str, float]], largest: float) -> Iterator[str]:
    """HTML of the pieces; those of one tint side by side are one."""
    held, shade = "", 0
    for text, value in [*pieces, ("", 0.0)]:
        strength = _STRONGEST * abs(value) / largest if largest else 0.0
        new = _shade(strength, value)
        if (new != shade or not text) and held:
            yield _span(held, shade)
            held = ""
        held, shade = held + text, new
    if held:
        yield _span(held, shade)


def _started(value: float, largest: float) -> str:
    """A piece for what stands before a text, if it says anything."""
    strength = _STRONGEST * abs(value) / largest if largest else 0.0
    return "" if strength < _FAINT else f"{_span('(start)', _shade(strength, value))} "


def _shade(strength: float, value: float) -> int:
    return 0 if strength < _FAINT else round(100 * strength) * (1 if value > 0 else -1)


def _span(text: str, shade: int) -> str:
    if not shade:
        return markup(text)
    kind = "tint loss" if shade < 0 else "tint"
    return f'<span class="{kind}" style="--a:.{abs(shade):02d}">{markup(text)}</span>'


def _common(attribution: Attribution) -> str:
    queries = len(attribution["queries"])
    if queries < 2 or not attribution["common"]:
        return ""
    begins: dict[str, str] = {}
    for query in attribution["queries"]:
        for doc in query["helpful"]:
            begins.setdefault(doc["uid"], "".join(text for text, _ in doc["pieces"][:60]))
    rows = [
        f'<tr><td class="n">{f.count(count)} of {f.count(queries)}</td>'
        f"<td>{word(uid, 20)}</td><td>{word(begins.get(uid, ''), 120)}</td></tr>"
        for uid, count in attribution["common"]
    ]
    return table([("n", "queries"), ("", "uid"), ("", "text")], rows)


def _notes(attribution: Attribution) -> str:
    items = "".join(f"<li>{word(text, 600)}</li>" for text in attribution["notes"])
    return f'<ul class="notes">{items}</ul>' if items else ""


def _settings(attribution: Attribution) -> str:
    told, used = attribution["predicted"], attribution["used"]
    given: list[tuple[str, str]] = [
        ("model", attribution["model"]),
        ("training documents", attribution["train"]),
        ("curvature", attribution["about"]),
        ("unit", attribution["unit"]),
        *([("check", checked(attribution["check"]))] if "check" in attribution else []),
    ]
    for name, how in (("time", f.duration), ("memory", f.size)):
        key: Any = "seconds" if name == "time" else name
        text = f"{how(told.get(key))} foretold"
        if used.get(key) is not None:
            text += f", {how(used.get(key))} used"
        given.append((name, text))
    return ledger.pairs([*given, *ledger.flatten(attribution["settings"])])
