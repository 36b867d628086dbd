"""The command line: parses, calls `dataworth`'s public functions, shows. No logic lives here.

Whatever takes time to import (numpy, numba, pyarrow) is imported by a command when it runs, so that
`dataworth --help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

__all__ = ("main",)

STOPPED = 130


def main() -> None:
    """The command `dataworth`."""
    # Ctrl-C while modules are imported and kernels loaded: nothing is under way that must be ended
    # in order, and an exception there may be lost or shown in the middle of someone else's code.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    import typer

    from dataworth.cli.app import app
    from dataworth.cli.errors import guard

    try:
        with guard():  # for what is raised outside of a command
            app(prog_name="dataworth")
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    finally:
        # All is said and written: Ctrl-C while Python ends would only spoil the exit code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def leave(_: int, __: FrameType | None) -> None:
    """The handler of Ctrl-C until a command begins its work."""
    os.write(2, b"stopped; run the same command again to go on\n")
    os._exit(STOPPED)
