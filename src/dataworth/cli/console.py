"""The log and the progress of a command, both on stderr: stdout is for results."""

from __future__ import annotations

import importlib
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

from dataworth.cli import leave
from dataworth.cli.errors import printable

if TYPE_CHECKING:
    from dataworth.engine.progress import Progress


class _Lines(logging.Handler):
    """Log records as plain lines on stderr, which a progress bar may have put itself before."""

    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        print(printable(level + record.getMessage()), file=sys.stderr, flush=True)


def begin(quiet: bool, command: str) -> Progress:
    """Set up the log, import what a command calls, and choose how progress is shown.

    Says so if anything has to be compiled, which happens while importing on a first run.
    """
    from dataworth.engine.compiled import on_compiling
    from dataworth.engine.progress import Progress

    log = logging.getLogger("dataworth")
    log.handlers = [_Lines()]
    log.propagate = False
    log.setLevel(logging.ERROR if quiet else logging.INFO)
    if not quiet:
        on_compiling(lambda: log.info("compiling kernels for this machine, once ..."))
    from dataworth import api

    own = signal.getsignal(signal.SIGINT) is leave  # a process of the command alone
    if own:
        _without_pandas()
    call: Any = getattr(api, command, api.load)
    importlib.import_module(call.work.partition(":")[0])

    if own:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return Progress.choose(quiet)


def _without_pandas() -> None:
    """Keep pyarrow from importing pandas over the first list that it is given.

    It tries once, to know a data frame when it sees one, which takes a quarter of the start; no
    command is given data frames. Whoever asks for pandas later still gets it.
    """
    import pyarrow as pa

    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas)
        try:
            pa.array([None])
        finally:
            sys.meta_path.remove(_NoPandas)


class _NoPandas:
    """An importer that finds no pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Raise ModuleNotFoundError for pandas; find nothing else either."""
        if name == "pandas":
            raise ModuleNotFoundError(name)
