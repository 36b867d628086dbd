"""`dataworth choose` and `dataworth explain`: from a finished run, without reading its pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.show import console, show_json, show_places

Run = Annotated[
    Path, typer.Argument(metavar="RUN", show_default=False, help="The folder of a finished run.")
]
Write = Annotated[
    Path | None,
    typer.Option(
        "--write", metavar="FOLDER", help="Write the documents there.", rich_help_panel=o.WRITING
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE", help="Write a report there.", rich_help_panel=o.WRITING
    ),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace what was written there before.", rich_help_panel=o.WRITING
    ),
]


def choose(
    run: Run,
    budget: o.Budget = None,
    mechanism: o.Mechanism = None,
    utility: o.Utility = None,
    scale: o.ScaleOf = None,
    proportion: o.Proportion = None,
    quota: o.QuotaOf = None,
    mixture: o.MixtureOf = None,
    max_repeat: o.MaxRepeat = None,
    exclude: o.Exclude = None,
    duplicates: o.DuplicatesOf = None,
    seed: o.ChoiceSeed = None,
    write: Write = None,
    format: o.FormatOf = None,
    shard_bytes: o.ShardBytes = None,
    order: o.OrderOf = None,
    report: Report = None,
    overwrite: Replace = False,
    storage_option: o.StorageOption = None,
    workers: o.Workers = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Choose again from a run that was scored: another budget, mechanism or mix.

    Takes seconds, since the pool is not read; only --write reads the chosen rows.

    [bold]Examples[/]

    \b
    dataworth choose out/ --budget 5%
    dataworth choose out/ --budget 50M --mechanism top_k --write top/
    dataworth choose out/ --utility '0.7*dsir + 0.3*dsir_2' --scale rank
    dataworth choose out/ --budget 20% --exclude stage-1/ --write stage-2/
    """
    progress = begin(quiet)
    import dataworth

    chosen = {
        "budget": budget,
        "mechanism": mechanism,
        "utility": utility,
        "scale": scale,
        "proportions": p.proportions(proportion or []),
        "quotas": quota,
        "mixture": mixture,
        "max_repeat": max_repeat,
        "exclude": exclude,
        "duplicates": duplicates,
        "seed": seed,
    }
    written = {"format": format, "shard_bytes": shard_bytes, "order": order}
    scores = dataworth.load(
        run,
        storage_options=p.storage_options(storage_option or []),
        engine=p.engine(workers, None),
        progress=progress,
    )
    selection = scores.choose(**p.given(chosen))
    places = {"rows": selection.folder / "rows.parquet"}
    if write is not None:
        selection.write(write, overwrite=overwrite, **p.given(written))
        places["data"] = write / "data"
    if report is not None:
        places["report"] = selection.report(report)
    selection.save_metrics()
    if json:
        show_json(selection.metrics)
    elif not quiet:
        from dataworth.report import summary

        summary.show(selection.metrics, console())
        show_places(places)


def explain(
    run: Run,
    document: Annotated[
        str,
        typer.Argument(
            metavar="DOCUMENT",
            show_default=False,
            help="Its uid (16 hexadecimal digits), its id, FILE:OFFSET, or its whole text.",
        ),
    ],
    choice: Annotated[
        str | None,
        typer.Option(
            "--choice",
            metavar="NAME",
            help="Of the folder in selections/, to explain another choice than the run's own.",
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Why a document was kept or not: its score, rank, and what drove the score.

    [bold]Examples[/]

    \b
    dataworth explain out/ 9f3a6c01d2e4b785
    dataworth explain out/ pool/web.jsonl:1048576
    """
    begin(False)
    import dataworth

    explanation = dataworth.explain(run, document, choice=choice)
    if json:
        show_json(explanation)
        return
    from dataworth.report import summary

    summary.explain(explanation, console())
