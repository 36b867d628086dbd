"""The command line: parses, calls `dataworth`'s public functions, shows. No logic lives here.

Whatever takes time to import (numpy, numba, pyarrow) is imported by a command when it runs, so that
`dataworth --help` answers at once.
"""

from __future__ import annotations

import sys

__all__ = ("main",)


def main() -> None:
    """The command `dataworth`."""
    import typer

    from dataworth.cli.errors import guard

    try:
        with guard():  # for what is raised outside of a command, such as Ctrl-C while starting
            from dataworth.cli.app import app

            app(prog_name="dataworth")
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
