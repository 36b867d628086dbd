"""The command line: parses, calls `dataworth`'s public functions, shows. No logic lives here.

Whatever takes time to import (numpy, numba, pyarrow) is imported by a command when it runs, so that
`dataworth --help` answers at once.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

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

    code: object = 0
    try:
        with guard():  # for what is raised outside of a command
            app(prog_name="dataworth")
    except typer.Exit as stop:
        code = stop.exit_code
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        # All is said and written: Ctrl-C while Python ends would only spoil the exit code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    end(code if isinstance(code, int) else 1)


def end(code: int) -> NoReturn:
    """Leave with an exit code, without the fifth of a second in which Python would tidy up."""
    atexit._run_exitfuncs()  # temporary folders go here
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads any more
        code = code or 1
    os._exit(code)


def leave(_: int, __: FrameType | None) -> None:
    """The handler of Ctrl-C until a command begins its work."""
    os.write(2, b"stopped; run the same command again to go on\n")
    os._exit(STOPPED)
