"""`dataworth proxy`: small models of a pool, for what asks a model about each document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataworth.cli.building import Result, command
from dataworth.cli.options import Workers
from dataworth.cli.show import console, show_places
from dataworth.options.calls import ProxyOptions

if TYPE_CHECKING:
    from dataworth import Proxies


@command(ProxyOptions, Workers, out="proxies")
def proxy(given: dict[str, Any]) -> Result:
    """Train small models on random documents of a pool, for methods that ask a model.

    Needs the extra [bold]lm[/].

    [bold]Examples[/]

    \b
    dataworth proxy pool/ --out proxies/
    dataworth proxy pool/ --out proxies/ --seeds 3 --checkpoints 3
    dataworth select pool/ --target math.jsonl --step 'influence(model=proxies/seed-0)'
    """
    import dataworth

    found = dataworth.proxy(**given)
    # The folder as it was typed, so that what is shown can be copied into further commands.
    return Result(found.facts, lambda: _show(found, given["out"]))


def _show(found: Proxies, place: Path) -> None:
    """The models, and how methods are told of them."""
    out = console()
    for one in found.facts["models"]:
        out.print(
            f"{place / one['folder']}  {one['tokens']:,} tokens, {one['loss']:.2f} nats per token",
            soft_wrap=True,
            markup=False,
        )

    def named(folders: list[str]) -> str:
        return json.dumps([str(place / Path(folder).name) for folder in folders])

    lines = {"one model": f"model={place / Path(found.models[0]).name}"}
    lines["several"] = f"models={named(found.models)}"
    if len(found.checkpoints) > len(found.models):
        # Those of one training belong together: the sum over them follows it.
        for seed in dict.fromkeys(one["seed"] for one in found.facts["models"]):
            kept = [one for one in found.facts["models"] if one["seed"] == seed]
            folders = named([one["folder"] for one in kept])
            rates = [float(f"{one['learning_rate']:.3g}") for one in kept]
            of = f" of seed {seed}" if len(found.models) > 1 else ""
            lines[f"checkpoints{of}"] = f"models={folders}, learning_rates={rates}"
    show_places(lines)
