"""How an option of a command is declared."""

from __future__ import annotations

import re
from typing import Any

import typer

_BRACKET = re.compile(r"(?<!\\)\[(?!(bold|dim|)\]|/(bold|dim|)\])")


def escaped(help: str) -> str:
    """Return a help text in which rich takes only [bold], [dim] and their ends for markup."""
    return _BRACKET.sub(r"\[", help)


def option(*flags: str, help: str, panel: str, default: str = "", **more: Any) -> Any:
    """An option whose default stands at the end of its help text, in words.

    Defaults live in the Python functions alone; an option that is not given is not handed on.
    """
    help = escaped(help)
    if default:
        help += f" [dim]\\[default: {default}][/]"
    return typer.Option(*flags, help=help, rich_help_panel=panel, show_default=False, **more)
