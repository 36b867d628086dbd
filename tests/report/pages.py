"""What the tests of every page share: attacks, and what must hold for any page."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from dataworth.report import render

VOID = {"meta", "br", "hr", "img", "input", "link"}

PAYLOADS = [
    "<script>alert(1)</script>",
    "</div></article></main><script src=//evil.example></script>",
    '"><img src=x onerror=alert(1)>',
    "<svg onload=alert(1)><a xlink:href='javascript:alert(1)'>x</a></svg>",
    "</style><style>*{display:none}</style>",
    "<!-- --><![CDATA[ ]]><?php ?> &lt;script&gt; &amp; &#60;",
    "</title></text></svg><iframe srcdoc='<script>1</script>'></iframe>",
    "' onmouseover='alert(1)' style='position:fixed;inset:0'",
    "javascript:alert(1)",
    ' a role="x" opacity="1" class="mark-1" b ',
    "\u202etxt.exe \u2066\u2067\u2068 \u200b\u200b\ufeff \x00\x07\x1b[31m\x9b \x7f \ud800",
    "Z" + "\u0300\u0301\u0302" * 400,
    "x" * 10_000,
    "\n" * 500 + "\t" * 500,
    "مرحبا بالعالم שלום 你好 नमस्ते ไทย",
    "{{7*7}} ${7*7} datum.x signal",
]


class Checker(HTMLParser):
    """Raises when tags do not nest; collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> does not nest"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.text.append(data)


def check(html: str) -> Checker:
    """What must hold for every report."""
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    allowed = {"html", "head", "meta", "title", "style", "body", "div", "nav", "main", "section"}
    allowed |= {"header", "footer", "article", "h1", "h2", "h3", "p", "ol", "ul", "li", "a", "b"}
    allowed |= {"bdi", "i", "span", "code", "pre", "details", "summary", "figure", "figcaption"}
    allowed |= {"table", "thead", "tbody", "tr", "th", "td", "svg", "g", "path", "line", "text"}
    allowed |= {"rect", "small", "circle", "script", "br"}
    assert checker.tags <= allowed, checker.tags - allowed
    for name, value in checker.attributes:
        assert not name.startswith("on"), name
        if name in {"href", "src"}:
            assert value is not None and value.startswith("#")
    assert html.count("<style>") == 1
    assert "Content-Security-Policy\" content=\"default-src 'none'; style-src" in html
    ours = render.table_script()
    script = f"<script>{ours['code']}</script>"
    assert html.count(script) == html.count(f"script-src '{ours['hash']}'") <= 1
    html = html.replace(script, "")
    assert "<script" not in html.lower()
    assert "url(" not in html
    assert len(html.encode()) < 2_000_000
    seen = {chr(c) for c in [*range(9), *range(11, 32), *range(127, 160)]}
    seen |= set("\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
    assert not seen & set(html)
    return checker


def words(checker: Checker) -> str:
    return re.sub(r"\s+", " ", " ".join(checker.text))


def hostile(base: Any, fixed: set[str], free: set[str]) -> Any:
    """Every string replaced by an attack, equal ones by equal ones, but under the keys in `fixed`.

    Keys of the dicts under the keys in `free` are data and replaced too.
    """
    known: dict[str, str] = {}

    def attack(text: str) -> str:
        turn = len(known)
        return known.setdefault(text, f"{PAYLOADS[turn % len(PAYLOADS)]}{turn}")

    def replace(value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            return value if key in fixed else attack(value)
        if isinstance(value, list | tuple):
            return [replace(item) for item in value]
        if isinstance(value, dict):
            return {
                (attack(name) if key in free else name): replace(item, name)
                for name, item in value.items()
            }
        return value

    return replace(copy.deepcopy(base))


def optional_places(value: Any, required: set[str]) -> Iterator[tuple[Any, ...]]:
    """The path to one of each kind of key that may be missing."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def walk(value: Any, path: tuple[Any, ...]) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key not in required:
                    found.setdefault((*path, key)[-2:], (*path, key))
                walk(item, (*path, key))
        elif isinstance(value, list) and value:
            walk(value[0], (*path, 0))

    walk(value, ())
    yield from found.values()


def without(value: Any, path: tuple[Any, ...]) -> Any:
    """A copy without what lies at the path."""
    reduced = copy.deepcopy(value)
    holder = reduced
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    return reduced
