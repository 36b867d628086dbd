"""Errors as a person wants them: one clear message, an exit code, no traceback.

1: the data or the run, 2: an option, 70: a defect of dataworth, 130: stopped with Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from dataworth.cli import PIPE_CLOSED, STOPPED
from dataworth.errors import EXTRAS, DataworthError, MissingExtra

DEBUG = "DATAWORTH_DEBUG"
DEFECT = 70


@contextmanager
def guard() -> Iterator[None]:
    """Turn what a command raises into a message on stderr and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        _tell("stopped; run the same command again to go on")
        raise typer.Exit(STOPPED) from None
    except DataworthError as error:
        raise _failed(f"error: {error}", error.exit_code) from None
    except MemoryError as error:
        detail = f" ({error})" if str(error) else ""
        message = f"error: there is not enough memory{detail}; try fewer --workers"
        raise _failed(message, 1) from None
    except OSError as error:
        raise _of_system(error) from None
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    except Exception as error:
        if type(error).__module__.startswith(("typer", "click")):
            raise  # wrong usage, and ordinary exits
        if type(error).__name__ == "OutOfMemoryError":  # torch's
            message = f"error: the GPU has not enough memory ({str(error).partition('. ')[0]})"
            remedy = "take fewer tokens at once (batch_tokens), fewer workers, or device=cpu"
            raise _failed(f"{message}; {remedy}", 1) from None
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise _failed(
            f"unexpected error: {said}; this is a defect of dataworth; run with {DEBUG}=1 for the "
            "traceback",
            DEFECT,
        ) from None


def _missing(error: ModuleNotFoundError) -> typer.Exit:
    """Return the exit for a package that is not installed, which extras bring or others ask for."""
    module = (error.name or "").partition(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
    if extra is not None:
        return _failed(f"error: {MissingExtra(f'what uses {module}', extra)}", 1)
    return _failed(f"error: {error}; install the package that brings it", 1)


def _of_system(error: OSError) -> typer.Exit:
    """Return the exit for what the system refuses: a full disk, a closed pipe, a missing right."""
    if error.errno == errno.EPIPE:
        # What is still to be flushed at the end has no reader either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return typer.Exit(PIPE_CLOSED)
    where = f"{error.filename}: " if error.filename else ""
    return _failed(f"error: {where}{error.strerror or error}", 1)


def _failed(message: str, code: int) -> typer.Exit:
    if os.environ.get(DEBUG):
        traceback.print_exc()
    _tell(message)
    return typer.Exit(code)


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: controls and marks of direction as escapes."""
    return "".join(
        char
        if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else char.encode("unicode_escape").decode()
        for char in text
    )


def _tell(message: str) -> None:
    print(printable(message), file=sys.stderr)
