"""`dataworth choose` and `dataworth explain`: from a finished run, without reading its pool."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataworth.cli.building import Result, command
from dataworth.cli.options import Workers
from dataworth.cli.show import console, show_places
from dataworth.options.calls import (
    WRITING,
    ChooseOptions,
    ExplainOptions,
    LoadOptions,
    Writing,
    option,
)


@dataclass(frozen=True, kw_only=True)
class _Write:
    panel = WRITING
    write: Path | None = option(None, kind="path", metavar="FOLDER")
    """Write the documents there."""
    report: Path | None = option(None, kind="path", metavar="FILE")
    """Write a report there."""
    overwrite: bool = option(False)
    """Replace what was written there before."""


@dataclass(frozen=True, kw_only=True)
class _Choose(LoadOptions, _Write, Writing, ChooseOptions):
    pass


@command(_Choose, Workers)
def choose(given: dict[str, Any]) -> Result:
    """Choose again from a run that was scored: another budget, mechanism or mix.

    Takes seconds, since the pool is not read; only --write reads the chosen rows.

    [bold]Examples[/]

    \b
    dataworth choose out/ --budget 5%
    dataworth choose out/ --budget 50M --mechanism top_k --write top/
    dataworth choose out/ --utility '0.7*dsir + 0.3*dsir_2' --scale rank
    dataworth choose out/ --budget 20% --exclude stage-1/ --write stage-2/
    """
    import dataworth

    def those_of(*classes: type[Any]) -> dict[str, Any]:
        names = [name for cls in classes for name in cls.__dataclass_fields__]
        return {name: given[name] for name in names if name in given}

    selection = dataworth.load(**those_of(LoadOptions)).choose(**those_of(ChooseOptions))
    places = {"rows": selection.folder / "rows.parquet"}
    if "write" in given:
        replace = given.get("overwrite", False)
        selection.write(given["write"], overwrite=replace, **those_of(Writing))
        places["data"] = given["write"] / "data"
    if "report" in given:
        places["report"] = selection.report(given["report"])
    selection.save_metrics()

    def show() -> None:
        from dataworth.report import summary

        summary.show(selection.metrics, console())
        show_places(places)

    return Result(selection.metrics, show)


@command(ExplainOptions, quiet=False)
def explain(given: dict[str, Any]) -> Result:
    """Explain why a document was kept or not: its score, rank, and what drove it.

    [bold]Examples[/]

    \b
    dataworth explain out/ 9f3a6c01d2e4b785
    dataworth explain out/ pool/web.jsonl:1048576
    """
    import dataworth
    from dataworth.report import summary

    explanation = dataworth.explain(**given)
    return Result(explanation, lambda: summary.explain(explanation, console()))
