"""`dataworth select` and `dataworth score`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from dataworth.cli import options as o
from dataworth.cli import parsing as p
from dataworth.cli.console import begin
from dataworth.cli.show import show_json, show_plan, show_scores, show_selection


def select(
    context: typer.Context,
    pool: o.Pool,
    target: o.Target = None,
    recipe: o.RecipeOf = None,
    step: o.Steps = None,
    seed: o.Seed = None,
    holdout: o.Holdout = None,
    sample_bytes: o.SampleBytes = None,
    tokenizer: o.Tokenizer = None,
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
    text_field: o.TextField = None,
    target_text_field: o.TargetTextField = None,
    join: o.Join = None,
    id_field: o.IdField = None,
    group_by: o.GroupBy = None,
    template: o.Template = None,
    target_template: o.TargetTemplate = None,
    split_words: o.SplitWords = None,
    txt: o.TxtMode = None,
    max_line_bytes: o.MaxLineBytes = None,
    max_bad: o.MaxBad = None,
    storage_option: o.StorageOption = None,
    format: o.FormatOf = None,
    shard_bytes: o.ShardBytes = None,
    order: o.OrderOf = None,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    workers: o.Workers = None,
    engine: o.EngineOf = None,
    dry_run: o.DryRun = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Select the documents of a pool to train on, for a target and a budget.

    Scores every document, chooses the best for the budget, and writes them as
    files that are ready to train on, beside a report. The same command again
    resumes a run that was stopped.

    [bold]Examples[/]

    \b
    dataworth select pool/ --target math=examples.jsonl --budget 100M
    dataworth select 'web-*.jsonl.zst' -t math=m.jsonl -t code=c.jsonl \\
        --proportion math=0.7 --proportion code=0.3 --budget 20% --out mixed/
    dataworth select pool.parquet -t law.jsonl --text-field content \\
        --group-by source --quota source=web:30% --format parquet
    dataworth select s3://bucket/pool/ -t t.jsonl --dry-run
    dataworth select pool/ --recipe fineweb --out clean/
    """
    progress = begin(quiet)
    given = _resolve(context.params)
    import dataworth

    if dry_run:
        show_plan(dataworth.plan(progress=progress, **given), json=json)
        return
    selection = dataworth.select(progress=progress, **given)
    if json:
        show_json(selection.metrics)
    elif not quiet:
        show_selection(selection)


def score(
    context: typer.Context,
    pool: o.Pool,
    target: o.Target = None,
    recipe: o.RecipeOf = None,
    step: o.Steps = None,
    seed: o.Seed = None,
    holdout: o.Holdout = None,
    sample_bytes: o.SampleBytes = None,
    tokenizer: o.Tokenizer = None,
    text_field: o.TextField = None,
    target_text_field: o.TargetTextField = None,
    join: o.Join = None,
    id_field: o.IdField = None,
    group_by: o.GroupBy = None,
    template: o.Template = None,
    target_template: o.TargetTemplate = None,
    split_words: o.SplitWords = None,
    txt: o.TxtMode = None,
    max_line_bytes: o.MaxLineBytes = None,
    max_bad: o.MaxBad = None,
    storage_option: o.StorageOption = None,
    out: o.Out = None,
    overwrite: o.Overwrite = False,
    workers: o.Workers = None,
    engine: o.EngineOf = None,
    dry_run: o.DryRun = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Score every document of a pool, and choose later with [bold]dataworth choose[/].

    The scores are Parquet files under FOLDER/table, a row for each document.

    [bold]Examples[/]

    \b
    dataworth score pool/ --target math=examples.jsonl --out scored/
    dataworth choose scored/ --budget 5% --write five-percent/
    """
    progress = begin(quiet)
    given = _resolve(context.params)
    import dataworth

    if dry_run:
        show_plan(dataworth.plan(budget=None, progress=progress, **given), json=json)
        return
    scores = dataworth.score(progress=progress, **given)
    show_scores(scores, json=json, quiet=quiet)


def _resolve(options: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of the Python function from a command's options."""
    options = dict(options)
    for name in ("dry_run", "json", "quiet"):
        options.pop(name)
    engine = p.engine(options.pop("workers"), options.pop("engine"))
    options |= {
        "pool": p.places(options["pool"]),
        "target": p.targets(options["target"] or []),
        "steps": options.pop("step"),
        "storage_options": p.storage_options(options.pop("storage_option") or []),
        "out": options["out"] or Path(o.OUT),
    }
    if "proportion" in options:
        options["proportions"] = p.proportions(options.pop("proportion") or [])
        options["quotas"] = options.pop("quota")
    recipe = options.pop("recipe")
    if recipe is not None:
        import dataworth

        own = dataworth.preset(recipe)
        if "proportions" not in options:
            own = {name: value for name, value in own.items() if name in options}
        return {**own, **p.given(options), "engine": engine}
    return {**p.given(options), "engine": engine}
