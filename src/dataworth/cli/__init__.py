"""The command line: parses, calls `dataworth`'s public functions, shows. No logic lives here.

Whatever takes time to import (numpy, numba, pyarrow) is imported by a command when it runs, so that
`dataworth --help` answers at once.
"""

from __future__ import annotations

__all__ = ("main",)


def main() -> None:
    """The command `dataworth`."""
    from dataworth.cli.app import app
    from dataworth.cli.errors import guard

    with guard():  # what is raised outside of a command, such as Ctrl-C while starting
        app(prog_name="dataworth")
