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
PIPE_CLOSED = 141  # what the shell reports of a program whose reader went away


def main() -> None:
    """The command `dataworth`."""
    # Ctrl-C while modules are imported and kernels loaded: nothing is under way that must be ended
    # in order, and an exception there may be lost or shown in the middle of someone else's code.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    import typer
    from rich.console import Console

    from dataworth.cli.app import app
    from dataworth.cli.errors import guard

    Console.on_broken_pipe = unread  # type: ignore[method-assign,assignment]
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
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed by the shell
            stream.flush()
    except BrokenPipeError:
        code = code or PIPE_CLOSED
    except OSError:
        code = code or 1
    os._exit(code)


def unread(_: object) -> NoReturn:
    """Leave where rich finds that nobody reads stdout any more; it would say 1, as of an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(PIPE_CLOSED)


def leave(_: int, __: FrameType | None) -> None:
    """The handler of Ctrl-C until a command begins its work."""
    os.write(2, b"stopped; run the same command again to go on\n")
    os._exit(STOPPED)
