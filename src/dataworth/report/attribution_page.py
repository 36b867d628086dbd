"""The page of an attribution: one self-contained file, readable without script."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from dataworth.report import render as pages
from dataworth.results import doubts
from dataworth.results import format as f
from dataworth.results.attribution import Attribution, Check, Document, Query
from dataworth.results.inert import markup

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
    return pages.write(render(attribution), path)


def render(attribution: Attribution) -> str:
    """Return the page, below 2 MB: excerpts, documents and queries give way to each other."""
    begins: dict[str, str] = {}
    for query in attribution["queries"]:
        for document in query["helpful"]:
            text = "".join(text for text, _ in document["pieces"][:60])
            begins.setdefault(document["uid"], text)
    rooms = [dict(zip(("characters", "documents", "most"), room, strict=True)) for room in _ROOMS]
    return pages.page(
        "attribution.html",
        rooms,
        record=attribution,
        name=Path(attribution["model"]).name,
        begins=begins,
        settings=_settings(attribution),
        check=checked(attribution["check"]) if "check" in attribution else "",
        doubts=doubts.attribution(attribution),
        tinted=tinted,
        each=_each,
    )


def _each(queries: Sequence[Query], body: Callable[[Query], Markup]) -> list[tuple[str, ...]]:
    """Return a section of the page for each query."""
    return [(f"q{q['number']}", f"Query {q['number']}", "", body(q)) for q in queries]


def checked(check: Check) -> str:
    """Return what a check on a tiny model has found, in a sentence."""
    if "correlation" not in check:
        return f"not checked: {check.get('why', 'no reason is known')}"
    return (
        f"correlation {check['correlation']:.2f} with the exact answer, of ranks "
        f"{check['ranks']:.2f}, on a tiny {check['architecture']} of {check['parameters']:,} "
        "parameters"
    )


def _settings(attribution: Attribution) -> list[tuple[str, str]]:
    rows = [
        ("model", attribution["model"]),
        ("training documents", attribution["train"]),
        ("curvature", attribution["about"]),
        ("unit", attribution["unit"]),
    ]
    if "check" in attribution:
        rows.append(("check", checked(attribution["check"])))
    predicted, used = attribution["predicted"], attribution["used"]
    for name, key, how in (("time", "seconds", f.duration), ("memory", "memory", f.size)):
        text = f"{how(predicted.get(key))} estimated"
        rows.append((name, text + (f", {how(used[key])} used" if key in used else "")))
    return [*rows, *pages.flatten(attribution["settings"])]


def tinted(document: Document, characters: int) -> dict[str, Markup]:
    """Return the `passage` of a document that says most, and its `whole` where there is more."""
    pieces = list(_whole(document["pieces"]))
    first, last = _passage(pieces, characters)
    start = document.get("start", 0.0)
    largest = max([abs(start), *(abs(value) for _, value in pieces)])
    begun = _started(start, largest)
    passage = ("…" if first else begun) + "".join(_tinted(pieces[first:last], largest))
    passage += "…" if last < len(pieces) else ""
    more = last - first < len(pieces) or document.get("cut")
    whole = begun + "".join(_tinted(_beginning(pieces, _WHOLE * characters), largest))
    return {"passage": Markup(passage), "whole": Markup(whole if more else "")}


def _whole(pieces: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Yield pieces that begin where a person sees a beginning: marks and unseen signs stay."""
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
    """Return the first pieces, of about so many characters."""
    seen = 0
    for place, (text, _) in enumerate(pieces):
        seen += len(text)
        if seen > room:
            return [*pieces[:place], ("…", 0.0)]
    return pieces


def _passage(pieces: Sequence[tuple[str, float]], room: int) -> tuple[int, int]:
    """Return the pieces [first, last) that fit the room and add most to the score."""
    best, stretch = -1.0, (0, 0)
    first, size, weight = 0, 0, 0.0
    for last, (text, value) in enumerate(pieces):
        size += _size(text)
        weight += abs(value)
        while size > room and first < last:
            size -= _size(pieces[first][0])
            weight -= abs(pieces[first][1])
            first += 1
        # The beginning of a text, unless another place says clearly more.
        if weight > best * (1.2 if not stretch[0] else 1.0):
            best, stretch = weight, (first, last + 1)
    return stretch


def _size(text: str) -> int:
    """Count characters, a new line being worth many."""
    return len(text) + _LINE * text.count("\n")


def _tinted(pieces: Sequence[tuple[str, float]], largest: float) -> Iterator[str]:
    """Yield HTML of the pieces; those of one tint side by side are one."""
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
    """Return a piece for what stands before a text, if it says anything."""
    strength = _STRONGEST * abs(value) / largest if largest else 0.0
    return "" if strength < _FAINT else f"{_span('(start)', _shade(strength, value))} "


def _shade(strength: float, value: float) -> int:
    return 0 if strength < _FAINT else round(100 * strength) * (1 if value > 0 else -1)


def _span(text: str, shade: int) -> str:
    if not shade:
        return markup(text)
    kind = "tint loss" if shade < 0 else "tint"
    return f'<span class="{kind}" style="--a:.{abs(shade):02d}">{markup(text)}</span>'
