"""The mechanisms: from text to objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dataworth.config import parse_call
from dataworth.errors import ConfigError
from dataworth.mechanism.base import Mechanism, TakesTurns, needs_utility
from dataworth.mechanism.per_target import PerTarget
from dataworth.registry import MECHANISMS as MECHANISMS

DEFAULT = "top_k"
"""How a step that says nothing of it is chosen."""
WITHOUT_UTILITY = "random"
"""How a pool without a utility is chosen."""


def for_targets(
    mechanism: Mechanism, utilities: Sequence[str], proportions: Mapping[str, float] | None
) -> Mechanism:
    """Return a mechanism that chooses by these utilities, in turns where there are several.

    Raises ConfigError for proportions where there is one utility.
    """
    if not isinstance(mechanism, TakesTurns) and len(utilities) > 1 and needs_utility(mechanism):
        return PerTarget(inner=mechanism, proportions=proportions)
    if not proportions:
        return mechanism
    if isinstance(mechanism, TakesTurns):
        return replace(mechanism, proportions=proportions)  # type: ignore[type-var]
    raise ConfigError(
        "proportions are shares of several targets, but this choice has one utility: "
        "give several targets, or leave the proportions out"
    )


def parse(mechanism: str | Mechanism) -> Mechanism:
    """Return a mechanism from its text; a mechanism is returned as it is.

    Raises ConfigError for an unknown name or option, or a value of the wrong type.
    """
    if not isinstance(mechanism, str):
        return mechanism
    parsed: Mechanism = parse_call(mechanism, MECHANISMS)
    return parsed
