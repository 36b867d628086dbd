"""`dataworth table`: the columns of a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dataworth.cli.building import Result, command
from dataworth.cli.show import show_stored
from dataworth.options.calls import LoadOptions, option, same


@dataclass(frozen=True)
class _Table:
    folder: Path = same(LoadOptions, "folder")
    prune: bool = option(False)
    """Remove what is marked as not needed."""


@command(None, _Table, quiet=False)
def table(*, folder: Path, prune: bool) -> Result:
    """List the columns of a run, what they weigh, and which lists of steps use them.

    Needed is what the list of steps that was scored last uses, or one that a choice in `selections`
    was made from. Whatever is removed is computed again when it is asked for.
    """
    from dataworth.flow.inventory import inventory
    from dataworth.flow.inventory import prune as remove

    stored = remove(folder) if prune else inventory(folder)
    return Result([one.as_dict() for one in stored], lambda: show_stored(stored, removed=prune))
