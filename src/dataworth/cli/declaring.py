"""How an option of a command is declared."""

from __future__ import annotations

from typing import Any

import typer


def option(*flags: str, help: str, panel: str, default: str = "", **more: Any) -> Any:
    """An option whose default stands at the end of its help text, in words.

    Defaults live in the Python functions alone; an option that is not given is not handed on.
    """
    if default:
        help += f" [dim]\\[default: {default}][/]"
    return typer.Option(*flags, help=help, rich_help_panel=panel, show_default=False, **more)
