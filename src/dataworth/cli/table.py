"""`dataworth table`: the columns of a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataworth.cli import options as o
from dataworth.cli.choose import Run
from dataworth.cli.show import show_json, show_places, show_rates, show_stored


def table(
    run: Run,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what is marked as not needed.")
    ] = False,
    rates: Annotated[
        bool,
        typer.Option(
            "--rates",
            help="Show of each rule the share of the pool that passes it by itself, and what it "
            "removed in its turn.",
        ),
    ] = False,
    attributes: Annotated[
        Path | None,
        typer.Option(
            "--attributes",
            metavar="FOLDER",
            help="Write columns there as Dolma attributes, a file for each file of the pool.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME",
            help="Column to write, several times for several; default: utilities, spans and drop.",
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """List the columns of a run, what they weigh, and which lists of steps use them.

    Needed is what the list of steps that was scored last uses, or one that a choice in `selections`
    was made from. Whatever is removed is computed again when it is asked for.
    """
    if attributes is not None:
        import dataworth

        written = dataworth.load(run).write_attributes(attributes, column or ())
        show_json(list(map(str, written))) if json else show_places({"attributes": attributes})
        return
    if rates:
        import dataworth

        rules = dataworth.load(run).pass_rates()
        show_json([one.as_dict() for one in rules]) if json else show_rates(rules)
        return
    from dataworth.flow.inventory import inventory
    from dataworth.flow.inventory import prune as remove

    stored = remove(run) if prune else inventory(run)
    if json:
        show_json([one.as_dict() for one in stored])
    else:
        show_stored(stored, removed=prune)
