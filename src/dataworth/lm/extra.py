"""The one place that says what to install when a package of the `lm` extra is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dataworth.errors import MissingExtra


@contextlib.contextmanager
def needs_lm(what: str) -> Iterator[None]:
    """Turn a failing import inside the block into MissingExtra for `what`."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(what, "lm") from error
