"""Text from documents, made inert: it can be read, and it can do nothing else.

Documents are data. Their text may hold HTML, scripts, terminal escapes, characters that turn the
direction of writing, characters that nobody sees, or a hundred marks on one letter. Each of those
becomes something visible and harmless before it reaches a page or a terminal.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape

from dataworth.results.format import TIMES

# C0 and C1 controls but tab and line feed; soft hyphen; invisible and bidirectional formatting;
# line and paragraph separators; fillers that look empty; surrogates, private use, noncharacters,
# interlinear annotation, tags and variation-selector supplements.
# The zero-width joiners (200C, 200D) are letters' own business in Persian, Hindi and emoji: one
# after a letter stays, a run is shown.
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\ud800-\udfff\ue000-\uf8ff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\U000f0000-\U0010ffff"
)
_DOTTED_CIRCLE = "\u25cc"
_JOINERS = "\u200c\u200d"
_SPECIAL = re.compile(
    f"(?P<one>[{_UNSEEN}])(?P=one)*"
    f"|(?P<join>(?:(?<![^\x00-\x7f])[{_JOINERS}]|[{_JOINERS}](?=[{_JOINERS}]))[{_JOINERS}]*)"
    "|(?P<marks>[\u0300-\u034e\u0350-\u036f\u0483-\u0489\u0e47-\u0e4e\u1ab0-\u1aff"
    "\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{5,})"
)


def _named(match: re.Match[str]) -> str:
    """Return the name shown for unseen characters: U+202E, U+200B forty times, 12 marks."""
    run = match.group()
    if match.lastgroup == "marks":
        return f"{len(run)} marks"
    times = f" {TIMES}{len(run):,}" if len(run) > 1 else ""
    return f"U+{ord(run[0]):04X}{times}"


def visible(text: str, limit: int | None = None) -> str:
    """Return the text in one line of harmless characters, for charts, attributes and terminals.

    Line feeds and tabs become spaces, unseen characters their names in brackets; longer than
    `limit` characters it ends in an ellipsis.
    """
    longer = limit is not None and len(text) > limit
    text = text[:limit]
    if text and unicodedata.combining(text[0]):
        text = _DOTTED_CIRCLE + text  # a mark needs a letter to stand on
    text = _SPECIAL.sub(lambda match: f"[{_named(match)}]", text)
    text = text.replace("\n", " ").replace("\t", " ")
    if limit is not None and (longer or len(text) > limit):
        text = text[: max(1, limit - 1)].rstrip() + "…"
    return text


def markup(text: str) -> str:
    """Return the text as HTML: escaped, with unseen characters named in small marks.

    Line feeds and tabs stay. The result holds no tag but the marks' own `<i class="u">`.
    """
    parts, last = [], 0
    for match in _SPECIAL.finditer(text):
        parts.append(escape(text[last : match.start()]))
        parts.append(f'<i class="u">{_named(match)}</i>')
        last = match.end()
    parts.append(escape(text[last:]))
    return "".join(parts)


def word(text: object, limit: int = 120) -> str:
    """Return a short piece of data inside a sentence: one line, escaped, its direction isolated."""
    return f"<bdi>{escape(visible(str(text), limit))}</bdi>"


def markdown(text: str, limit: int = 120) -> str:
    """Return a short piece of data in Markdown: one line in which no sign means anything."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~$^])", r"\\\1", escape(visible(text, limit), quote=False))


def split_excerpt(text: str, characters: int, lines: int) -> tuple[str, str]:
    """Split a text into its beginning, at most so many characters and lines, and what follows.

    The cut falls on white space when there is some near it. Nothing is lost: the two parts
    joined are the text.
    """
    end, seen = 0, 0
    while seen < lines:
        found = text.find("\n", end, characters + 1)
        if found < 0:
            end = characters
            break
        end, seen = found + 1, seen + 1
    if end >= len(text):
        return text, ""
    space = max(text.rfind(" ", 0, end), text.rfind("\n", 0, end))
    if space > end - 40 and space > 0:
        end = space + 1
    return text[:end], text[end:]
