"""`dataworth judge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.declaring import option
from dataworth.cli.show import console, show_json, show_places

AGAINST = "Judging against"

Selected = Annotated[
    list[str],
    typer.Argument(
        metavar="SELECTION",
        show_default=False,
        help="The folder of a run, of one of its choices or its data/; or any files, folders, "
        "quoted globs or URLs.",
    ),
]
JudgeTarget = Annotated[
    list[str] | None,
    option(
        *("--target", "-t"),
        metavar="[NAME=]PATH",
        panel=AGAINST,
        default="the run's",
        help="Examples of what the model should become good at.",
    ),
]
JudgePool = Annotated[
    list[str] | None,
    option(
        *("--pool", "-p"),
        metavar="PATH",
        panel=AGAINST,
        default="the run's",
        help="What was selected from.",
    ),
]
Validation = Annotated[
    list[str] | None,
    option(
        *("--validation", "-v"),
        metavar="[NAME=]PATH",
        panel=AGAINST,
        help="Text that models will be measured on: the selection is searched for it, and a "
        "target of that name is measured on it too.",
    ),
]
Against = Annotated[
    list[str] | None,
    option(
        *("--against", "-a"),
        metavar="SELECTION",
        panel=AGAINST,
        help="Another selection, to see the overlap; several, one at a time.",
    ),
]
JudgeSeed = Annotated[
    int | None,
    option(
        "--seed",
        metavar="N",
        panel=AGAINST,
        default="the run's, or 0",
        help="Of samples and of the halves of the targets.",
    ),
]
JudgeHoldout = Annotated[
    float | None,
    option(
        "--holdout",
        metavar="SHARE",
        parser=p.share,
        panel=AGAINST,
        default="the run's, or 0.5",
        help="Share of each target that is held out, and measured on.",
    ),
]
JudgeGroup = Annotated[
    list[str] | None,
    option(
        *("--group-by", "-g"),
        metavar="FIELD",
        panel=o.READING,
        default="the run's",
        help="A field to show the composition by, such as domain.",
    ),
]
JudgeOut = Annotated[
    Path | None,
    option(
        *("--out", "-o"),
        metavar="FOLDER",
        panel=o.RUNNING,
        help="Write metrics.json and report.html there.",
    ),
]


def judge(
    selection: Selected,
    target: JudgeTarget = None,
    pool: JudgePool = None,
    validation: Validation = None,
    against: Against = None,
    group_by: JudgeGroup = None,
    seed: JudgeSeed = None,
    holdout: JudgeHoldout = None,
    text_field: o.TextField = None,
    target_text_field: o.TargetTextField = None,
    join: o.Join = None,
    template: o.Template = None,
    target_template: o.TargetTemplate = None,
    txt: o.TxtMode = None,
    max_line_bytes: o.MaxLineBytes = None,
    max_bad: o.MaxBadLines = None,
    storage_option: o.StorageOption = None,
    out: JudgeOut = None,
    workers: o.Workers = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Is a selection any good? Measured on its text, without training.

    How much nearer to the target it is than random documents, how varied, how
    much of it is there twice, what it is made of, whether it holds the text that
    models will be measured on, and what it shares with other selections.

    [bold]Examples[/]

    \b
    dataworth judge out/
    dataworth judge out/ --validation math=math-val.jsonl --against other/
    dataworth judge 'theirs/*.parquet' --pool pool/ --target math=math.jsonl \\
        --group-by domain --out judged/
    """
    progress = begin(quiet)
    import dataworth

    options = {
        "group_by": group_by,
        "seed": seed,
        "holdout": holdout,
        "text_field": text_field,
        "target_text_field": target_text_field,
        "join": join,
        "template": template,
        "target_template": target_template,
        "txt": txt,
        "max_line_bytes": max_line_bytes,
        "max_bad": max_bad,
        "out": out,
    }
    found = dataworth.judge(
        p.places(selection),
        p.targets(target or [], "--target"),
        pool=p.places(pool) if pool else None,
        validation=p.targets(validation or [], "--validation"),
        against=p.places(against or []),
        storage_options=p.storage_options(storage_option or []),
        engine=p.engine(workers, None),
        progress=progress,
        **p.given(options),
    )
    if json:
        show_json(found.metrics)
    elif not quiet:
        from dataworth.report import judgement_summary

        judgement_summary.show(found.metrics, console())
        if out is not None:
            show_places({"metrics": out / "metrics.json", "report": out / "report.html"})
