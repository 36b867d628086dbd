"""`dataworth attribute`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import typer

from dataworth.cli.building import Result, command
from dataworth.cli.options import Workers
from dataworth.cli.show import console, show_places
from dataworth.options.calls import SCORES, AttributeOptions, option


@dataclass(frozen=True)
class _Ask:
    panel: ClassVar[str] = SCORES
    ask: list[str] | None = option(None, kind="names", flag="-a", metavar="TEXT")
    """A query as text; several, one at a time."""


@command(AttributeOptions, _Ask, Workers)
def attribute(given: dict[str, Any], *, ask: list[str] | None) -> Result:
    """Find the training documents that helped a model on some text, or harmed it.

    Every document gets a score for every query: the estimated fall of the
    query's loss from one more copy of the document. Shown are those at either
    end, with the tokens that make the score.

    [bold]Examples[/]

    \b
    dataworth attribute model/ pool/ --ask 'The sum of 2 and 3 is 5.'
    dataworth attribute model/ pool/ --queries questions.jsonl --out attributed/
    dataworth attribute model/ pool/ -q questions.jsonl --solver identity --dry-run
    dataworth attribute model/ chats.jsonl --template chatml --ask 'Two and three is five.'
    dataworth attribute tiny pool/ --ask 'The sum of 2 and 3 is 5.'
    """
    if "queries" not in given and not ask:
        raise typer.BadParameter("give --queries PATH or --ask TEXT", param_hint="--queries")
    if "queries" in given and ask:
        raise typer.BadParameter("give either files or texts", param_hint="--queries")
    import dataworth
    from dataworth.corpus.documents import Documents

    if ask:
        given["queries"] = Documents.from_texts(ask)
    attribution = dataworth.attribute(**given)

    def show() -> None:
        from dataworth.report import attribution_summary

        attribution_summary.show(attribution.facts, console())
        if "out" in given and "dry_run" not in given:
            names = {"report": "attribution.html", "facts": "attribution.json", "scores": "table"}
            show_places({name: given["out"] / file for name, file in names.items()})

    return Result(attribution.facts, show)
