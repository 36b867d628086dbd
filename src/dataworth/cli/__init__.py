"""The command line: parses, calls `dataworth`'s public functions, shows. No logic lives here.

Whatever takes time to import (numpy, numba, pyarrow) is imported by a command when it runs, so that
`dataworth --help` answers at once.
"""

from __future__ import annotations

import sys

__all__ = ("main",)


def main() -> None:
    """The command `dataworth`."""
    try:
        import typer

        from dataworth.cli.errors import guard
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    try:
        with guard():  # for what is raised outside of a command
            from dataworth.cli.app import app

            app(prog_name="dataworth")
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
