"""What a command shows: the log on stderr, results on stdout."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from dataworth.engine.progress import Progress


class _Lines(logging.Handler):
    """Log records as plain lines on stderr, which a progress bar may have put itself before."""

    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        print(level + record.getMessage(), file=sys.stderr, flush=True)


def begin(quiet: bool) -> Progress:
    """Set up the log, say so if the first run has to compile, and choose how progress is shown."""
    from dataworth.engine.compiled import is_compiled
    from dataworth.engine.progress import Progress

    log = logging.getLogger("dataworth")
    log.handlers = [_Lines()]
    log.propagate = False
    log.setLevel(logging.ERROR if quiet else logging.INFO)
    if not quiet and not is_compiled():
        log.info("compiling kernels for this machine, once (about 10 s) ...")
    return Progress.choose(quiet)


def console() -> Console:
    """Where results are shown."""
    from rich.console import Console

    return Console(highlight=False)


def show_json(value: Any) -> None:
    """One JSON value on stdout; what is not a finite number is null."""
    print(json.dumps(_finite(value), indent=2, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
