"""Threads, batches and number formats in which models run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.errors import ConfigError, MissingExtra

PRECISIONS: dict[str, Callable[[Any], Any]] = {
    "float32": lambda torch: torch.float32,
    "bfloat16": lambda torch: torch.bfloat16,
}


def check_running(precision: str, batch_tokens: int, **sizes: int) -> None:
    """Check how a model is to be run; `sizes` may be 0. Raises ConfigError."""
    if precision not in PRECISIONS:
        raise ConfigError(f"precision must be {' or '.join(PRECISIONS)}, not {precision!r}")
    if batch_tokens < 1 or min(sizes.values()) < 0:
        given = ", ".join(str(value) for value in (*sizes.values(), batch_tokens))
        raise ConfigError(
            f"{' and '.join(sizes)} must be 0 or more, batch_tokens at least 1, not {given}"
        )


@contextlib.contextmanager
def one_thread(extra: str) -> Iterator[None]:
    """Run torch on one thread within the block; `extra`: what installs torch, if it is missing.

    Sums then run in one order whatever the machine, and workers do not wait for each other.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("what runs a model", extra) from error
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def even_batches(sizes: NDArray[np.int64], tokens: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows of about `tokens` tokens, padding included, the longest first, int64 [k].

    Rows of about one length come together, so hardly any padding is computed. At least one row.
    """
    order = np.argsort(-sizes, kind="stable")
    start = 0
    while start < len(order):
        longest = max(int(sizes[order[start]]), 1)
        stop = start + max(1, tokens // longest)
        yield order[start:stop]
        start = stop
