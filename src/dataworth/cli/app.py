"""The commands together: `dataworth COMMAND --help` describes each one."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dataworth.cli import (
    attribute,
    choose,
    compare,
    dedup,
    inspect,
    judge,
    loop,
    methods,
    proxy,
    recipe,
    select,
    swarm,
    table,
)
from dataworth.cli.errors import guard
from dataworth.version import __version__


class Guarded(TyperGroup):
    """Commands whose errors are told in one line, without a traceback."""

    def make_context(self, *words: Any, **more: Any) -> Any:
        """Read the command line, and show the version or a help text."""
        with guard():
            return super().make_context(*words, **more)

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
        print(f"dataworth {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


for _panel, _commands in {
    "Select": (
        *(select.select, select.score, choose.choose),
        *(recipe.run, dedup.dedup, table.table),
    ),
    "Judge and explain": (judge.judge, choose.explain, inspect.inspect, methods.methods),
    "Train and ask models": (
        *(loop.loop, compare.compare, proxy.proxy, swarm.swarm),
        attribute.attribute,
    ),
}.items():
    for _command in _commands:
        app.command(_command.__name__, help=_command.__doc__, rich_help_panel=_panel)(_command)
