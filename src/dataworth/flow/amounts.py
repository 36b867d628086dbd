"""Sizes and shares as people write them; budgets are in `mechanism/budget.py`."""

from __future__ import annotations

from dataworth.errors import ConfigError
from dataworth.mechanism.budget import parse_budget


def parse_size(value: str | int) -> int:
    """Parse a number of bytes such as 256MB, 1GiB or 1000. Raises ConfigError."""
    text = str(value).strip()
    if text.isascii() and text.isdecimal() and len(text) < 20 and int(text):
        return int(text)
    try:
        read = parse_budget(text)
    except ConfigError:
        read = None
    if read is None or read.unit != "bytes":
        raise ConfigError(f"{text!r} is no size: write 256MB, 1GiB or a number of bytes")
    return int(read.amount)


def parse_share(value: str | float) -> float:
    """Parse a share such as 0.01 or 1%. Raises ConfigError."""
    text = str(value).strip()
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ConfigError(f"{text!r} is no share: write 0.01 or 1%") from None
