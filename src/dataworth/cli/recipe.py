"""`dataworth run`: a recipe, or an earlier run again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataworth.cli.building import Result, command
from dataworth.cli.options import OUT, DryRun, Engines
from dataworth.cli.show import planned, scored, selected
from dataworth.options.calls import Reading, Running, option, same


@dataclass(frozen=True, kw_only=True)
class _Run(Running):
    recipe: Path = option(kind="path", argument=True)
    """A YAML file with the options of `select`, or the run.json of an earlier run."""
    out: str | Path | None = same(Running, "out", shown="")
    """Another folder than the recipe's."""
    storage_options: Any = same(Reading, "storage_options")


@command(_Run, Engines, DryRun)
def run(given: dict[str, Any], *, dry_run: bool) -> Result:
    """Run a recipe: the options of a selection as a file.

    Names are those of the Python function; relative paths start at the recipe's
    folder. The run.json of an earlier run is a recipe too, on the same inputs.

    \b
    pool: pool/*.jsonl.zst
    target: {math: targets/math.jsonl}
    steps: [dsir: {ngrams: 3}]
    budget: 100M
    out: runs/math

    [bold]Examples[/]

    \b
    dataworth run recipe.yaml
    dataworth run out/run.json --out again/
    """
    import dataworth

    recipe = dataworth.read_recipe(given.pop("recipe"))
    given = {"out": Path(OUT), **recipe.options, **given}
    if dry_run:
        return planned(given if recipe.chooses else {**given, "budget": None})
    if not recipe.chooses:
        return scored(dataworth.score(**given))
    return selected(dataworth.select(**given))
