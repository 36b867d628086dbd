"""`dataworth attribute`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.show import console, show_json, show_places

SCORING = "Scores"


class Solver(StrEnum):
    """How directions of gradients are weighed."""

    identity = "identity"
    diagonal = "diagonal"
    kfac = "kfac"
    ekfac = "ekfac"
    ekfac_cg = "ekfac_cg"
    dense = "dense"


class Normalise(StrEnum):
    """What documents are ranked by."""

    none = "none"
    length = "length"


ModelFolder = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="The folder of a causal language model, of Hugging Face or of dataworth.lm, that was "
        "trained on the documents or on ones like them.",
    ),
]
Train = Annotated[
    list[str],
    typer.Argument(
        metavar="TRAIN",
        show_default=False,
        help="The training documents: files, folders, quoted globs or URLs.",
    ),
]
Queries = Annotated[
    list[str] | None,
    typer.Option(
        *("--queries", "-q"),
        metavar="PATH",
        rich_help_panel=SCORING,
        show_default=False,
        help="A file in which each document is a query; several, one at a time.",
    ),
]
Ask = Annotated[
    list[str] | None,
    typer.Option(
        *("--ask", "-a"),
        metavar="TEXT",
        rich_help_panel=SCORING,
        show_default=False,
        help="A query as text; several, one at a time.",
    ),
]
SolverOption = Annotated[
    Solver | None,
    typer.Option(
        "--solver",
        rich_help_panel=SCORING,
        show_default=False,
        help="How directions are weighed, from the cheapest to the truest. "
        "[dim]\\[default: ekfac][/]",
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layers",
        metavar="PATTERN",
        rich_help_panel=SCORING,
        show_default=False,
        help="Modules that count, such as '*mlp*'; several, one at a time. "
        "[dim]\\[default: all][/]",
    ),
]
Damping = Annotated[
    float | None,
    typer.Option(
        "--damping",
        metavar="SHARE",
        rich_help_panel=SCORING,
        show_default=False,
        help="Share of each block's mean curvature that is added to it. [dim]\\[default: 0.1][/]",
    ),
]
Sample = Annotated[
    int | None,
    typer.Option(
        "--sample",
        metavar="N",
        rich_help_panel=SCORING,
        show_default=False,
        help="Documents that the curvature is fitted on. [dim]\\[default: 256][/]",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        metavar="N",
        rich_help_panel=SCORING,
        show_default=False,
        help="Of conjugate gradients, for ekfac_cg. [dim]\\[default: 20][/]",
    ),
]
NormaliseOption = Annotated[
    Normalise | None,
    typer.Option(
        "--normalise",
        rich_help_panel=SCORING,
        show_default=False,
        help="Rank by the whole document's score (none) or its share a token (length). "
        "[dim]\\[default: none][/]",
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        "--top",
        metavar="N",
        rich_help_panel=SCORING,
        show_default=False,
        help="Documents to show at either end. [dim]\\[default: 5][/]",
    ),
]
QueryTextField = Annotated[
    list[str] | None,
    typer.Option(
        "--query-text-field",
        metavar="FIELD",
        rich_help_panel=o.READING,
        show_default=False,
        help="The field that holds a query's text. [dim]\\[default: that of the documents][/]",
    ),
]
MaxBad = Annotated[
    float | None,
    typer.Option(
        "--max-bad",
        metavar="SHARE",
        parser=p.share,
        rich_help_panel=o.READING,
        show_default=False,
        help="Share of bad lines past which it fails. [dim]\\[default: 1%][/]",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        *("--out", "-o"),
        metavar="FOLDER",
        rich_help_panel=o.RUNNING,
        show_default=False,
        help="Write all scores, attribution.json and report.html there; the same command again "
        "goes on where it stopped.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        rich_help_panel=o.RUNNING,
        help="Tell the time and memory that it will take, and do nothing.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        rich_help_panel=o.RUNNING,
        help="Start afresh: remove an earlier attribution from the folder.",
    ),
]


def attribute(
    model: ModelFolder,
    train: Train,
    queries: Queries = None,
    ask: Ask = None,
    solver: SolverOption = None,
    layers: Layers = None,
    damping: Damping = None,
    sample: Sample = None,
    steps: Steps = None,
    normalise: NormaliseOption = None,
    top: Top = None,
    seed: o.Seed = None,
    text_field: o.TextField = None,
    query_text_field: QueryTextField = None,
    join: o.Join = None,
    template: o.Template = None,
    txt: o.TxtMode = None,
    max_line_bytes: o.MaxLineBytes = None,
    max_bad: MaxBad = None,
    storage_option: o.StorageOption = None,
    out: Out = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    workers: o.Workers = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Which training documents helped a model on some text, and which harmed it?

    Every document gets a score for every query: the estimated fall of the
    query's loss from one more copy of the document. Shown are those at either
    end, with the tokens that make the score.

    [bold]Examples[/]

    \b
    dataworth attribute model/ pool/ --ask 'The sum of 2 and 3 is 5.'
    dataworth attribute model/ pool/ --queries questions.jsonl --out attributed/
    dataworth attribute model/ pool/ -q questions.jsonl --solver identity --dry-run
    """
    if not queries and not ask:
        raise typer.BadParameter("give --queries PATH or --ask TEXT", param_hint="--queries")
    if queries and ask:
        raise typer.BadParameter("give either files or texts", param_hint="--queries")
    progress = begin(quiet)
    import dataworth

    options = {
        "solver": solver,
        "layers": layers,
        "damping": damping,
        "sample": sample,
        "steps": steps,
        "normalise": normalise,
        "top": top,
        "seed": seed,
        "text_field": text_field,
        "query_text_field": query_text_field,
        "join": join,
        "template": template,
        "txt": txt,
        "max_line_bytes": max_line_bytes,
        "max_bad": max_bad,
        "out": out,
        "overwrite": overwrite,
        "dry_run": dry_run,
    }
    found = dataworth.attribute(
        model,
        p.places(train),
        p.places(queries) if queries else ask,
        storage_options=p.storage_options(storage_option or []),
        engine=p.engine(workers, None),
        progress=progress,
        **p.given(options),
    )
    if json:
        show_json(found.facts)
    elif not quiet:
        from dataworth.report import attribution_summary

        attribution_summary.show(found.facts, console())
        if out is not None and not dry_run:
            names = {"report": "report.html", "facts": "attribution.json", "scores": "scores"}
            show_places({name: out / file for name, file in names.items()})
