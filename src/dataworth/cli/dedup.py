"""`dataworth dedup`: a pool without its duplicates."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.declaring import option
from dataworth.cli.show import show_json, show_plan, show_selection


class Kind(StrEnum):
    """Which documents are duplicates."""

    exact = "exact"
    near = "near"
    substring = "substring"
    semantic = "semantic"


class Survives(StrEnum):
    """Which document of a cluster of near-duplicates stays."""

    longest = "longest"
    shortest = "shortest"
    first = "first"


def dedup(
    pool: o.Pool,
    kind: Annotated[
        list[Kind] | None,
        option(
            *("--kind", "-k"),
            metavar="KIND",
            panel=o.SCORING,
            default="exact, near",
            help="What is a duplicate: exact (one text), near (shared shingles), substring (most "
            "bytes in long pieces that stand in other documents), semantic (nearly one "
            "embedding). May be given several times; they run in this order.",
        ),
    ] = None,
    survives: Annotated[
        Survives | None,
        option(
            "--survives",
            metavar="WHICH",
            panel=o.SCORING,
            default="longest",
            help="Of near-duplicates, and of documents that share substrings, the longest, the "
            "shortest or the first one stays.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        option(
            "--model",
            metavar="FOLDER",
            panel=o.SCORING,
            help="The sentence model of semantic duplicates.",
        ),
    ] = None,
    normalise: Annotated[
        bool,
        typer.Option(
            "--normalise",
            help="Exact copies are compared without case, accents, signs and white space.",
            rich_help_panel=o.SCORING,
        ),
    ] = False,
    text_field: o.TextField = None,
    id_field: o.IdField = None,
    group_by: o.GroupBy = None,
    template: o.Template = None,
    txt: o.TxtMode = None,
    storage_option: o.StorageOption = None,
    format: o.FormatOf = None,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    workers: o.Workers = None,
    engine: o.EngineOf = None,
    dry_run: o.DryRun = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Write a pool without its duplicates.

    The ids of the clusters stay in the table of the run: of each document, the cluster it is in,
    and the reason why it was dropped.

    [bold]Examples[/]

    \b
    dataworth dedup pool/ --out clean/
    dataworth dedup pool/ -k exact -k near -k semantic --model minilm/ --out clean/
    """
    progress = begin(quiet)
    import dataworth
    from dataworth.flow.presets import with_options

    kinds = [one for one in Kind if one in (kind or (Kind.exact, Kind.near))]
    recipes = [dataworth.preset(f"dedup-{one.value}") for one in kinds]
    steps = [step for recipe in recipes for step in recipe["steps"]]
    choices: dict[str, Any] = {"survives": survives and survives.value, "model": model}
    choices["normalise"] = normalise or None
    options: dict[str, Any] = {
        **recipes[0],
        "steps": with_options(steps, {k: v for k, v in choices.items() if v is not None}),
        "pool": p.places(pool),
        "engine": p.engine(workers, engine),
        "out": out or Path(o.OUT),
        **p.given(
            {
                "text_field": text_field,
                "id_field": id_field,
                "group_by": group_by,
                "template": template,
                "txt": txt,
                "storage_options": p.storage_options(storage_option or []),
                "format": format,
                "overwrite": overwrite,
            }
        ),
    }
    if dry_run:
        show_plan(dataworth.plan(progress=progress, **options), json=json)
        return
    selection = dataworth.select(progress=progress, **options)
    if json:
        show_json(selection.metrics)
    elif not quiet:
        show_selection(selection)
