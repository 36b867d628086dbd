"""`dataworth methods`: what there is to score, filter and choose by."""

from __future__ import annotations

from typing import Annotated

import typer

from dataworth.cli import options as o
from dataworth.cli.console import begin
from dataworth.cli.show import show_json, show_method, show_methods


def methods(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", show_default=False, help="A step, mechanism or mixture."),
    ] = None,
    json: o.Json = False,
) -> None:
    """The steps (filters and methods), mechanisms and mixtures, or one of them with its options.

    [bold]Examples[/]

    \b
    dataworth methods
    dataworth methods dsir
    """
    begin(False)
    from dataworth.flow.catalogue import catalogue

    found = catalogue(name)
    if json:
        show_json([method.as_dict() for method in found])
    elif name is None:
        show_methods(found)
    else:
        show_method(found[0])
