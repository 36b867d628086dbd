"""`dataworth table`: the columns of a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dataworth.cli.building import Result, command
from dataworth.cli.show import show_places, show_rates, show_stored
from dataworth.options.calls import LoadOptions, option, same


@dataclass(frozen=True)
class _Table:
    folder: Path = same(LoadOptions, "folder")
    prune: bool = option(False)
    """Remove what is marked as not needed."""
    rates: bool = option(False)
    """Show of each rule the share of the pool that passes it by itself, and what it removed in its
    turn."""
    attributes: Path | None = option(None, metavar="FOLDER")
    """Write columns there as Dolma attributes, a file for each file of the pool."""
    column: list[str] = option((), kind="names", metavar="NAME")
    """Column to write, several times for several; default: utilities, spans and drop."""


@command(None, _Table, quiet=False)
def table(
    *, folder: Path, prune: bool, rates: bool, attributes: Path | None, column: list[str] | None
) -> Result:
    """List the columns of a run, what they weigh, and which lists of steps use them.

    Needed is what the list of steps that was scored last uses, or one that a choice in `selections`
    was made from. Whatever is removed is computed again when it is asked for.
    """
    if attributes is not None:
        import dataworth

        written = dataworth.load(folder).write_attributes(attributes, column or ())
        return Result(list(map(str, written)), lambda: show_places({"attributes": attributes}))
    if rates:
        import dataworth

        rules = dataworth.load(folder).pass_rates()
        return Result([one.as_dict() for one in rules], lambda: show_rates(rules))
    from dataworth.flow.inventory import inventory
    from dataworth.flow.inventory import prune as remove

    stored = remove(folder) if prune else inventory(folder)
    return Result([one.as_dict() for one in stored], lambda: show_stored(stored, removed=prune))
