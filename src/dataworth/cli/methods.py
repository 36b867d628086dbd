"""`dataworth methods`: what there is to score, filter and choose by."""

from __future__ import annotations

from dataclasses import dataclass

from dataworth.cli.building import Result, command
from dataworth.cli.show import show_method, show_methods
from dataworth.options.calls import option


@dataclass(frozen=True)
class _Name:
    name: str | None = option(None, argument=True)
    """A step, mechanism or mixture."""


@command(None, _Name, quiet=False)
def methods(*, name: str | None) -> Result:
    """The steps (filters and methods), mechanisms and mixtures, or one of them with its options.

    [bold]Examples[/]

    \b
    dataworth methods
    dataworth methods dsir
    """
    from dataworth.flow.catalogue import catalogue

    found = catalogue(name)
    facts = [method.as_dict() for method in found]
    return Result(facts, lambda: show_methods(found) if name is None else show_method(found[0]))
