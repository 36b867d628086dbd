"""The steps and mechanisms that there are, described from their classes."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dataworth.config import list_options, variants
from dataworth.errors import ConfigError
from dataworth.mechanism.registry import MECHANISMS
from dataworth.methods.registry import STEPS


@dataclass(frozen=True)
class Described:
    """A step or mechanism: what it is, its published variants and its options.

    `options`: name, type, default and whether it must be given.
    """

    name: str
    kind: Literal["step", "mechanism"]
    summary: str
    description: str
    source: str
    variants: dict[str, str]
    options: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)


def catalogue(name: str | None = None) -> list[Described]:
    """All steps, then all mechanisms; or the one of that name. ConfigError if there is none."""
    found = [*_described(STEPS, "step"), *_described(MECHANISMS, "mechanism")]
    if name is None:
        return found
    wanted = re.split(r"[:(]", name)[0].strip().replace("-", "_")
    for item in found:
        if item.name == wanted:
            return [item]
    names = [item.name for item in found]
    close = difflib.get_close_matches(wanted, names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ConfigError(f"there is no {name!r}{hint}; there are: {', '.join(names)}")


def _described(
    registry: Mapping[str, type[Any]], kind: Literal["step", "mechanism"]
) -> Iterator[Described]:
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
