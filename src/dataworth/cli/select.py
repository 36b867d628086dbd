"""`dataworth select` and `dataworth score`."""

from __future__ import annotations

from typing import Any

from dataworth.cli.building import Result, command
from dataworth.cli.options import OUT, DryRun, Engines, FromRecipe
from dataworth.cli.show import planned, scored, selected
from dataworth.options.calls import ScoreOptions, SelectOptions


@command(SelectOptions, FromRecipe, Engines, DryRun, out=OUT)
def select(given: dict[str, Any], *, recipe: str | None, dry_run: bool) -> Result:
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
    import dataworth

    if recipe is not None:
        given = {**dataworth.preset(recipe), **given}
    return planned(given) if dry_run else selected(dataworth.select(**given))


@command(ScoreOptions, FromRecipe, Engines, DryRun, out=OUT)
def score(given: dict[str, Any], *, recipe: str | None, dry_run: bool) -> Result:
    """Score every document of a pool, and choose later with [bold]dataworth choose[/].

    The scores are Parquet files under FOLDER/table, a row for each document.

    [bold]Examples[/]

    \b
    dataworth score pool/ --target math=examples.jsonl --out scored/
    dataworth choose scored/ --budget 5% --write five-percent/
    """
    import dataworth

    if recipe is not None:
        own = dataworth.preset(recipe)
        known = ScoreOptions.__dataclass_fields__
        given = {**{name: own[name] for name in own if name in known}, **given}
    return planned({"budget": None, **given}) if dry_run else scored(dataworth.score(**given))
