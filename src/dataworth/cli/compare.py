"""`dataworth compare`: small models trained on each selection, and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.declaring import option
from dataworth.cli.show import console, show_json, show_places

OUT = "comparison"


def compare(
    plan: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN",
            show_default=False,
            help="A YAML file that says what to compare, or the plan.json of a comparison.",
        ),
    ],
    minutes: Annotated[
        float | None,
        option(
            *("--minutes", "-m"),
            metavar="N",
            help="Fit the plan into N minutes, and say what was given up.",
            panel=o.RUNNING,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            *("--out", "-o"),
            metavar="FOLDER",
            default=OUT,
            help="The comparison's folder. The same command again goes on where it stopped.",
            panel=o.RUNNING,
        ),
    ] = None,
    reuse: Annotated[
        list[Path] | None,
        option(
            "--reuse",
            metavar="FOLDER",
            help="Another comparison: what it scored or trained in the same way is not done again.",
            panel=o.RUNNING,
        ),
    ] = None,
    so_far: Annotated[
        bool,
        option(
            "--so-far",
            help="Train nothing, and show what is there.",
            panel=o.RUNNING,
        ),
    ] = False,
    overwrite: o.Overwrite = False,
    device: o.Device = None,
    workers: o.Workers = None,
    dry_run: Annotated[
        bool,
        option(
            "--dry-run",
            panel=o.RUNNING,
            help="Show how many trainings the plan comes to, their tokens and about the minutes "
            "that they take; read and write nothing.",
        ),
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Compare ways to select by training the same small models on each.

    Selects with each list of steps for each target, trains a model on each
    selection with each seed, and tells the losses on held-out text with
    intervals, against random documents. Needs the extra [bold]lm[/].

    \b
    pool: pool/
    targets: {math: {examples: math.jsonl, validation: math-val.jsonl}}
    budget: 1M
    selections:
      default: {steps: [dsir]}
      theirs: {from: theirs/}
    seeds: 5

    [bold]Examples[/]

    \b
    dataworth compare plan.yaml --out compared/
    dataworth compare plan.yaml --minutes 30
    dataworth compare compared/plan.json --out again/
    """
    progress = begin(quiet)
    if dry_run:
        size = p.engine(workers, None).size
        _show_outline(plan, minutes, size, device or "auto", json=json)
        return
    import dataworth

    made = dataworth.compare(
        plan,
        out=out or Path(OUT),
        progress=progress,
        **p.given(
            {
                "minutes": minutes,
                "reuse": reuse or [],
                "so_far": so_far,
                "overwrite": overwrite,
                "device": device,
                "engine": workers,
            }
        ),
    )
    if json:
        show_json(made.facts)
    elif not quiet:
        from dataworth.report import comparison_summary

        comparison_summary.show(made.facts, console())
        places: dict[str, Any] = {
            "report": made.folder / "report.html",
            "numbers": made.folder / "comparison.json",
            "plan": made.folder / "plan.json",
        }
        show_places(places)


def _show_outline(
    plan: Path, minutes: float | None, workers: int, device: str, *, json: bool
) -> None:
    from dataworth.comparing.comparison import outline

    facts = outline(plan, minutes, timed=True, workers=workers, device=device)
    if json:
        show_json(facts)
        return
    resolved = facts["plan"]
    out = console()
    for line in (
        f"{len(resolved['selections'])} selections, {len(resolved['targets'])} targets, "
        f"{len(resolved['seeds'])} seeds",
        f"one pass over the pool, {facts['choices']:,} choices",
        f"{facts['trainings']:,} trainings at most, {facts['tokens'] / 1e6:,.1f} M tokens: "
        + ", ".join(size["name"] for size in resolved["sizes"])
        + " with "
        + ", ".join(f"{tokens:,}" for tokens in resolved["tokens"])
        + " tokens",
        "time unknown: a model in a folder is not loaded for this"
        if facts["minutes"] is None
        else f"about {facts['minutes']:,.1f} minutes of training with {workers} "
        f"worker{'s' * (workers > 1)}, timed on a few steps; scoring and measuring come to that",
    ):
        out.print(line, markup=False, soft_wrap=True)
