"""The steps, mechanisms and mixtures that there are, described from their classes."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dataworth.config import variants
from dataworth.errors import ConfigError
from dataworth.mechanism.registry import MECHANISMS
from dataworth.methods.registry import STEPS
from dataworth.mixture.registry import MIXTURES
from dataworth.options import list_options

Kind = Literal["step", "mechanism", "mixture"]


@dataclass(frozen=True)
class Described:
    """A step, mechanism or mixture: what it is, its published variants and its options.

    `options`: name, type, default and whether it must be given.
    """

    name: str
    kind: Kind
    summary: str
    description: str
    source: str
    variants: dict[str, str]
    options: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)


def catalogue(name: str | None = None) -> list[Described]:
    """All steps, mechanisms and mixtures, or the one of a name. ConfigError if there is none."""
    found = [*_described(STEPS, "step"), *_described(MECHANISMS, "mechanism")]
    found += _described(MIXTURES, "mixture")
    if name is None:
        return found
    wanted, _, variant = name.partition("(")[0].strip().replace("-", "_").partition(":")
    for item in found:
        if item.name == wanted and (not variant or variant in item.variants):
            return [item]
    names = [item.name for item in found]
    full = [f"{item.name}:{one}" for item in found for one in item.variants]
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


def _described(registry: Mapping[str, type[Any]], kind: Kind) -> Iterator[Described]:
    for name, cls in registry.items():
        said = inspect.getdoc(cls) or ""
        yield Described(
            name=name,
            kind=kind,
            summary=said.partition("\n")[0],
            description=said,
            source=_source(cls),
            variants={
                key: (inspect.getdoc(made) or "").partition("\n")[0]
                for key, made in variants(cls).items()
            },
            options=[asdict(option) for option in list_options(cls)],
        )


def _source(cls: type[Any]) -> str:
    """What its module says before the first empty line but one: title and paper."""
    said = inspect.getdoc(sys.modules[cls.__module__]) or ""
    return "\n\n".join(said.split("\n\n")[:2])
