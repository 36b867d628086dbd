"""`dataworth table`: the columns of a run's folder."""

from __future__ import annotations

from typing import Annotated

import typer

from dataworth.cli import options as o
from dataworth.cli.choose import Run
from dataworth.cli.show import show_json, show_stored


def table(
    run: Run,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what is marked as not needed.")
    ] = False,
    json: o.Json = False,
) -> None:
    """List the columns of a run, what they weigh, and which lists of steps use them.

    Needed is what the list of steps that was scored last uses, or one that a choice in `selections`
    was made from. Whatever is removed is computed again when it is asked for.
    """
    from dataworth.flow.inventory import inventory
    from dataworth.flow.inventory import prune as remove

    stored = remove(run) if prune else inventory(run)
    if json:
        show_json([one.as_dict() for one in stored])
    else:
        show_stored(stored, removed=prune)
