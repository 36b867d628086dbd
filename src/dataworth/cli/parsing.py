"""Parsers of the options' text. Text that does not parse is wrong usage (exit code 2)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dataworth.errors import ConfigError

if TYPE_CHECKING:
    from dataworth.engine.local import Engine

_NAMED = re.compile(r"([^/\\=:]+)=(.+)", re.S)


def share(text: str | float) -> float:
    """0.01 or 1%."""
    from dataworth.flow.amounts import parse_share

    try:
        return parse_share(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def size(text: str | int) -> int:
    """256MB, 1GiB or a number of bytes."""
    from dataworth.flow.amounts import parse_size

    try:
        return parse_size(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def engine(workers: int | None, kind: str | None) -> Engine:
    """Return the engine that the options ask for."""
    from dataworth.engine.local import Engine

    return Engine(workers or 0, "processes" if kind == "processes" else "threads")


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, by the names of the Python function's."""
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in options.items()
        if value is not None and value not in ([], ()) and value is not False
    }


def places(texts: Iterable[str]) -> list[str | Path]:
    """Return paths, globs (as `Path`) and URLs (as text); no argument is ever a document."""
    return [text if "://" in text else Path(text) for text in texts]


def targets(texts: Iterable[str], flag: str = "--target") -> dict[str, list[str | Path]] | None:
    """Targets by name; one without a name is named by its file, as in Python."""
    from dataworth.flow.targets import named

    paths: dict[str, list[str | Path]] = {}
    own: set[str] = set()
    for text in texts:
        match = None if Path(text).exists() else _NAMED.fullmatch(text)
        name, path = match.groups() if match else (next(iter(named(text))), text)
        if (match is None and name in paths) or name in own:
            raise typer.BadParameter(
                f"two targets are called {name!r}, one by its file; name it: {flag} NAME={path}",
                param_hint=flag,
            )
        if match is None:
            own.add(name)
        paths.setdefault(name, []).extend(places([path]))
    return paths or None


def proportions(texts: Iterable[str]) -> dict[str, float] | None:
    """Shares by target: math=0.3 or math=30%."""
    return {name: share(value) for name, value in _pairs(texts, "--proportion")} or None


def storage_options(texts: Iterable[str]) -> dict[str, Any] | None:
    """Options of fsspec: values are JSON where they can be read as such, dots lead inwards."""
    options: dict[str, Any] = {}
    for key, text in _pairs(texts, "--storage-option"):
        level = options
        *outer, last = key.split(".")
        for part in outer:
            level = level.setdefault(part, {})
        try:
            level[last] = json.loads(text)
        except ValueError:
            level[last] = text
    return options or None


def _pairs(texts: Iterable[str], flag: str) -> Iterable[tuple[str, str]]:
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text!r} lacks its '=': write KEY=VALUE", param_hint=flag)
        yield key, value
