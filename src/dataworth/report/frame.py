"""What every page is framed by: head, style, policy, contents, answers first, sections, footer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from dataworth.engine.files import atomic
from dataworth.results import format as f
from dataworth.results.inert import visible

MOST_BYTES = 2_000_000
SHOWN_DOUBTS = 6
SHOWN_MORE = 40

# No script, no request, no form: what a document smuggled in could not act even if it got through.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def write(html: str, path: str | os.PathLike[str]) -> Path:
    """Write a page, under a temporary name first; returns its path.

    Raises DataworthError when the file cannot be written.
    """
    target = Path(path)
    with atomic(target) as temporary:
        temporary.write_bytes(html.encode("utf-8"))
    return target


def small(html: str) -> bool:
    """Whether a page is below the 2 MB that a report may take."""
    return len(html.encode("utf-8")) < MOST_BYTES


def page(
    title: str,
    top: str,
    sections: Iterable[tuple[str, str, str, str]],
    footer: str,
) -> str:
    """A whole page. `sections`: (id, heading, what it shows, body), left out without a body.

    `title` is text; all else is finished HTML.
    """
    shown = [section for section in sections if section[3]]
    links = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _, _ in shown)
    blocks = "".join(
        f'<section id="{name}"><h2>{heading}</h2>'
        + (f'<p class="lede">{lede}</p>' if lede else "")
        + f"{body}</section>\n"
        for name, heading, lede, body in shown
    )
    style = files("dataworth.report").joinpath("style.css").read_text("utf-8")
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
        f"{top}{blocks}<footer>{footer}</footer>\n</main>\n</div>\n</body>\n</html>\n"
    )


def header(title: str, byline: Sequence[str], below: str = "") -> str:
    """The heading of a page; `title` is text, the rest finished HTML."""
    line = f'<p class="byline">{" · ".join(byline)}</p>' if byline else ""
    return f'<header class="top"><h1><bdi>{escape(title)}</bdi></h1>{line}{below}</header>\n'


def answers(*boxes: tuple[str, str], doubts: Sequence[str]) -> str:
    """The things to know first, side by side, the last one what to distrust (plain sentences)."""
    parts = "".join(f"<div><h2>{heading}</h2>{body}</div>" for heading, body in boxes)
    return (
        f'<div class="answers">{parts}'
        f'<div class="doubt"><h2>What to distrust</h2>{_doubts(doubts)}</div></div>\n'
    )


def listed(items: Sequence[str], kind: str = "") -> str:
    """A list of finished HTML items; nothing for none."""
    opening = f'<ul class="{kind}">' if kind else "<ul>"
    return f"{opening}{''.join(f'<li>{item}</li>' for item in items)}</ul>" if items else ""


def folded(summary: str, body: str) -> str:
    """What is shown on demand; nothing when there is nothing."""
    return f"<details><summary>{summary}</summary>{body}</details>" if body else ""


def _doubts(doubts: Sequence[str]) -> str:
    if not doubts:
        return '<p class="big text">Nothing stands out</p>'
    items = [f"<bdi>{escape(visible(text))}</bdi>" for text in doubts]
    first, rest = items[:SHOWN_DOUBTS], items[SHOWN_DOUBTS:]
    more = folded(f"{len(rest)} more", listed(rest[:SHOWN_MORE]))
    return f'<div style="margin-top:.55rem">{listed(first)}{more}</div>'
