"""The mechanisms: from text to objects."""

from __future__ import annotations

from dataworth.config import parse_call
from dataworth.mechanism.base import Mechanism
from dataworth.registry import MECHANISMS as MECHANISMS

DEFAULT = "top_k"
"""How a step that says nothing of it is chosen."""
WITHOUT_UTILITY = "random"
"""How a pool without a utility is chosen."""


def parse(mechanism: str | Mechanism) -> Mechanism:
    """A mechanism from its text; a mechanism is returned as it is.

    Raises ConfigError for an unknown name or option, or a value of the wrong type.
    """
    if not isinstance(mechanism, str):
        return mechanism
    parsed: Mechanism = parse_call(mechanism, MECHANISMS)
    return parsed
