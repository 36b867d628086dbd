"""The pages' templates with their filters; autoescape is on, and data enters only through filters.

`word` and `markup` make text from data inert (`results/inert.py`); everything else is escaped.
"""

from __future__ import annotations

import contextlib
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, Undefined
from markupsafe import Markup

from dataworth.engine.files import atomic
from dataworth.report import charts, plots, shape
from dataworth.results import format as f
from dataworth.results import inert, verdict
from dataworth.results import reading as reading_

MOST_BYTES = 2_000_000
WIDE, HALF, THIRD = 940, 450, 300  # pixels of the column, of two side by side, of three


def write(html: str, path: str | os.PathLike[str]) -> Path:
    """Write a page, under a temporary name first; returns its path.

    Raises DataworthError when the file cannot be written.
    """
    target = Path(path)
    with atomic(target) as temporary:
        temporary.write_bytes(html.encode("utf-8"))
    return target


def small(html: str) -> bool:
    """Tell whether a page is below the 2 MB that a report may take."""
    return len(html.encode("utf-8")) < MOST_BYTES


def page(template: str, rooms: Iterable[Mapping[str, Any]], **context: Any) -> str:
    """Return a page as HTML, with the first of the `rooms` (more context) that keeps it small."""
    html = ""
    for room in rooms:
        html = environment().get_template(template).render(**context, **room)
        if small(html):
            break
    return html


@cache
def table_script() -> dict[str, Markup]:
    """Return our one script, which a page may run, and the hash that its policy names it by."""
    code = files("dataworth.report").joinpath("templates/table.js").read_text("utf-8")
    digest = b64encode(sha256(code.encode("utf-8")).digest()).decode("ascii")
    return {"code": Markup(code), "hash": Markup(f"sha256-{digest}")}


@cache
def environment() -> Environment:
    """Return the templates with everything that they call."""
    env = Environment(
        loader=PackageLoader("dataworth.report"),
        bytecode_cache=_compiled(),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=_Missing,
    )
    env.filters |= {name: getattr(f, name) for name in _FORMATS}
    env.filters |= {
        "word": _inert(inert.word),
        "markup": _inert(inert.markup),
        "visible": lambda value, limit=None: inert.visible(_text(value), limit),
        "signed": lambda value: f.real(value, signed=True),
        "fixed": reading_.fixed,
        "part": _part,
        "bar": _bar,
        "composition": shape.composition,
        "flatten": flatten,
        "tail": lambda path, most=60: path if len(path) <= most else "…" + path[1 - most :],
        "excerpt": inert.split_excerpt,
    }
    env.tests["known"] = lambda value: f.finite(value) is not None
    env.globals |= {
        name: _chart(function)
        for module, names in ((charts, _CHARTS), (plots, _PLOTS))
        for name in names
        for function in (getattr(module, name),)
    }
    env.globals |= {"WIDE": WIDE, "HALF": HALF, "THIRD": THIRD, "SERIES": charts.SERIES}
    env.globals |= {"shape": shape, "verdict_": verdict}
    return env


def _compiled() -> FileSystemBytecodeCache | None:
    """Return where compiled templates are kept, which takes longer than all the rest of a page.

    A folder under the temporary one that is this user's alone; None where there can be none.
    """
    with contextlib.suppress(RuntimeError, OSError):
        return FileSystemBytecodeCache()
    return None


_FORMATS = ("count", "counted", "short", "size", "share", "real", "factor", "duration", "finite")
_CHARTS = ("distribution", "dumbbell", "flow", "gains")
_PLOTS = ("dots", "curves", "scatter", "stacked", "heat")


class _Missing(Undefined):
    """A key that a record does not have: "not measured", all the way down."""

    def __getattr__(self, name: str) -> _Missing:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    __getitem__ = __getattr__  # type: ignore[assignment]


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, Undefined) else str(value)


def _inert(make: Callable[..., str]) -> Callable[..., Markup]:
    return lambda value, *limit: Markup(make(_text(value), *limit))


def _chart(draw: Callable[..., str | None]) -> Callable[..., Markup]:
    return lambda *args, **kwargs: Markup(draw(*args, **kwargs) or "")


def _part(number: float | None, share: float | None) -> str:
    """Format a count with its share, as 12 (3.4%)."""
    part = f.finite(share)
    return f.count(number) + ("" if part is None else f" ({f.share(part)})")


def _bar(share: float | None, kind: str = "") -> Markup:
    """Return the inside of a cell: a bar as long as the share, in 0…1, of the cell."""
    width = 100 * max(0.0, min(1.0, f.finite(share) or 0.0))
    if not width:
        return Markup("")
    return Markup('<span class="bar {}" style="width:{}%"></span>').format(kind, f"{width:.2f}")


def flatten(settings: Mapping[str, Any] | None, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (dotted name, value), in their own order; short lists in a line."""
    rows: list[tuple[str, str]] = []
    for key, value in (settings or {}).items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rows += flatten(value, f"{name}.")
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping | list) for v in value):
            rows += flatten({str(i + 1): v for i, v in enumerate(value)}, f"{name}.")
        elif isinstance(value, list | tuple):
            rows.append((name, ", ".join(_plain(v) for v in value) or "none"))
        else:
            rows.append((name, _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if value is None or value == "" or (isinstance(value, Mapping) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
