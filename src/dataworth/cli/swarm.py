"""`dataworth swarm`: small models trained on many mixtures of a pool's groups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataworth.cli import parsing as p
from dataworth.cli.building import Result, command
from dataworth.cli.options import Workers
from dataworth.cli.show import console, show_places
from dataworth.options.calls import SwarmOptions

if TYPE_CHECKING:
    from dataworth import Swarm


@command(SwarmOptions, Workers, out="swarm")
def swarm(given: dict[str, Any]) -> Result:
    """Train small models on many mixtures of a pool's groups, for mixtures that are learned.

    Needs the extra [bold]lm[/].

    [bold]Examples[/]

    \b
    dataworth swarm pool/ --group-by domain --out swarm/
    dataworth swarm pool/ --group-by domain --target math=math.jsonl --out swarm/
    dataworth select pool/ --target math=math.jsonl --group-by domain --mixture 'log_linear(swarm=swarm/)'
    """  # noqa: E501
    import dataworth

    engine = p.engine(given.pop("engine", None), "processes")
    made = dataworth.swarm(**given, engine=1 if engine.size == 1 else engine)
    dry_run = given.get("dry_run", False)
    shown = not dry_run and made.models
    facts = {**made.facts, "table": made.table.to_pydict()} if shown else made.facts
    return Result(facts, lambda: _show(made, given["out"], dry_run))


def _show(made: Swarm, place: Path, dry_run: bool) -> None:
    """The groups, and what is next."""
    out = console()
    facts = made.facts
    share = min(facts["swarm"]["tokens"] / facts["budget"], 1)
    out.print(f"{len(facts['domains'])} groups, a mixture for {facts['budget']:,} tokens")
    for one in facts["domains"]:
        line = f"{one['name']}: {one['tokens']:,} tokens, of which a model reads {one['used']:,}"
        out.print(line, soft_wrap=True, markup=False)
    if share == 1:
        out.print(
            "a training is as long as the run: it may repeat a group more often", markup=False
        )
    if dry_run:
        out.print(f"{facts['left']} models to train, about {facts['seconds']:,.0f} s")
        return
    if not made.models:
        show_places({"text": place})
        return
    losses: dict[str, Any] = {
        name.partition(":")[2]: values for name, values in made.mixtures.losses.items()
    }
    for name, values in losses.items():
        line = f"loss on {name}: {values.min():.3f} to {values.max():.3f} nats per token"
        out.print(line, soft_wrap=True, markup=False)
    show_places({"table": place / "table.csv", "mixture": f"'log_linear(swarm={place})'"})
