"""The steps, mechanisms and mixtures that there are, described from their classes."""

from __future__ import annotations

import difflib
import inspect
import sys
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from dataworth.config import describe, variants
from dataworth.errors import ConfigError
from dataworth.mixture.registry import MIXTURES
from dataworth.options import Option, list_options
from dataworth.registry import MECHANISMS, STEPS, Registry, importable


@dataclass(frozen=True)
class Described:
    """A step, mechanism or mixture: what it is, its published variants and its options.

    `package`: that offers it, empty for dataworth's own. `options`: as `dataworth.options.Option`.
    """

    name: str
    kind: str
    summary: str
    description: str
    source: str
    package: str
    variants: dict[str, str]
    options: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Return the description as JSON."""
        return asdict(self)


def catalogue(name: str | None = None) -> list[Described]:
    """Describe each step, mechanism and mixture, or the one named. ConfigError if there is none."""
    described = [
        _described(label, cls, registry)
        for registry in (STEPS, MECHANISMS, MIXTURES)
        for label, cls in registry.listed()
    ]
    if name is None:
        return described
    asked = name.partition("(")[0].strip()
    wanted, _, variant = asked.replace("-", "_").partition(":")
    for item in described:
        if item.name == wanted and (not variant or variant in item.variants):
            return [item]
    names = [item.name for item in described]
    if variant and wanted not in names and importable(wanted):
        return [_by_place(asked, wanted, variant)]
    full = [f"{item.name}:{one}" for item in described for one in item.variants]
    near = [one for one in full if variant in one.split(":")] if variant else []
    near += [one for one in full if one.split(":")[1] == wanted]
    near += difflib.get_close_matches(f"{wanted}:{variant}" if variant else wanted, names + full)
    near += [one for one in names + full if len(wanted) > 2 and wanted in one]
    close = ", ".join(repr(one) for one in dict.fromkeys(near))
    hint = f" (did you mean {close}?)" if close else ""
    raise ConfigError(
        f"there is no {name!r}{hint}; there are: {', '.join(names)}; and the variants "
        f"{', '.join(full)}"
    )


def _by_place(asked: str, module: str, path: str) -> Described:
    try:
        return _described(asked, MECHANISMS.import_class(module, path), MECHANISMS)
    except ConfigError:
        return _described(asked, STEPS.import_class(module, path), STEPS)


def _described(name: str, cls: type[Any], registry: Registry) -> Described:
    said = inspect.getdoc(cls) or ""
    return Described(
        name=name,
        kind=registry.kind,
        summary=said.partition("\n")[0],
        description=said,
        source=_source(cls),
        package=registry.offered_by(name),
        variants={
            key: (inspect.getdoc(made) or "").partition("\n")[0]
            for key, made in variants(cls).items()
        },
        options=[{**vars(o), "default": _default(o, registry)} for o in list_options(cls)],
    )


def _default(option: Option, registry: Registry) -> Any:
    value = option.default
    return describe(value, registry) if is_dataclass(value) else value


def _source(cls: type[Any]) -> str:
    """Return the first two paragraphs of its module's docstring: title and paper."""
    docstring = inspect.getdoc(sys.modules[cls.__module__]) or ""
    return "\n\n".join(docstring.split("\n\n")[:2])
