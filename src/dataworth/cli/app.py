"""The commands together: `dataworth COMMAND --help` describes each one."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dataworth.cli import attribute, choose, compare, inspect, judge, methods, proxy, recipe, select
from dataworth.cli.errors import guard
from dataworth.version import __version__

RUNS = "Select"
LOOKS = "Look"


class Guarded(TyperGroup):
    """Commands whose errors are told in one line, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with guard():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Guarded,
    help="""
Select training data for language models: which documents of a pool are worth
training on?

\b
dataworth select pool/ --target math=examples.jsonl --budget 100M --out out/
dataworth choose out/ --budget 5% --write five-percent/
dataworth judge out/
dataworth inspect pool/

A [bold]pool[/] is the raw documents to choose from, a [bold]target[/] examples of
what the model should become good at, a [bold]budget[/] how much to choose.
""",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"dataworth {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


app.command("select", rich_help_panel=RUNS)(select.select)
app.command("score", rich_help_panel=RUNS)(select.score)
app.command("choose", rich_help_panel=RUNS)(choose.choose)
app.command("run", rich_help_panel=RUNS)(recipe.run)
app.command("compare", rich_help_panel=LOOKS)(compare.compare)
app.command("explain", rich_help_panel=LOOKS)(choose.explain)
app.command("judge", rich_help_panel=LOOKS)(judge.judge)
app.command("attribute", rich_help_panel=LOOKS)(attribute.attribute)
app.command("proxy", rich_help_panel=LOOKS)(proxy.proxy)
app.command("inspect", rich_help_panel=LOOKS)(inspect.inspect)
app.command("methods", rich_help_panel=LOOKS)(methods.methods)
