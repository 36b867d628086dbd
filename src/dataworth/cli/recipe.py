"""`dataworth run`: a recipe, or an earlier run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.show import show_json, show_plan, show_scores, show_selection


def run(
    recipe: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE",
            show_default=False,
            help="A YAML file with the options of `select`, or the run.json of an earlier run.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            *("--out", "-o"),
            metavar="FOLDER",
            help="Another folder than the recipe's.",
            rich_help_panel=o.RUNNING,
        ),
    ] = None,
    overwrite: o.Overwrite = False,
    storage_option: o.StorageOption = None,
    workers: o.Workers = None,
    engine: o.EngineOf = None,
    dry_run: o.DryRun = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
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
    progress = begin(quiet)
    import dataworth

    changes: dict[str, Any] = {
        "out": out,
        "overwrite": overwrite or None,
        "storage_options": p.storage_options(storage_option or []),
        "engine": p.engine(workers, engine) if workers or engine else None,
    }
    read = dataworth.read_recipe(recipe)
    options = {"out": Path(o.OUT), **read.options, **p.given(changes), "progress": progress}
    if dry_run:
        if not read.chooses:
            options["budget"] = None
        show_plan(dataworth.plan(**options), json=json)
    elif not read.chooses:
        show_scores(dataworth.score(**options), json=json, quiet=quiet)
    else:
        selection = dataworth.select(**options)
        if json:
            show_json(selection.metrics)
        elif not quiet:
            show_selection(selection)
