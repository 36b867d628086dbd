"""The mixtures: from text to objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from dataworth.config import describe, from_dict
from dataworth.errors import ConfigError
from dataworth.mixture.base import Mixture
from dataworth.options import checked
from dataworth.registry import Registry

T = TypeVar("T")
MIXTURES = Registry("mixture", "dataworth.mixture", "dataworth.mixtures", "fit")
WRITTEN = "fixed"
"""The one whose shares are written down, in a file for instance."""


def register(cls: type[T]) -> type[T]:
    """Make a frozen dataclass a mixture that is known by its `name`, with checked options."""
    MIXTURES.add(cls)
    return checked(cls)


def parse(mixture: str | Mapping[str, Any] | Mixture) -> Mixture:
    """Return a mixture from its text or recipe; a mixture is returned as it is.

    Raises ConfigError for an unknown name or option.
    """
    if isinstance(mixture, str | Mapping):
        parsed: Mixture = from_dict(mixture, MIXTURES)
        return parsed
    if isinstance(mixture, type) or not hasattr(mixture, "fit") or not hasattr(mixture, "by"):
        raise ConfigError(f"{str(mixture)[:60]!r} is no mixture: write a name, a file or shares")
    return mixture


def written(shares: Mapping[str, float], unlisted: float | None, what: str) -> Mixture:
    """Return the mixture of shares that are written down. `what`: where they are from."""
    try:
        made: Mixture = MIXTURES[WRITTEN](shares=dict(shares), unlisted=unlisted)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from None
    return made


def shown(mixture: Mixture) -> str:
    """Return the text that `parse` reads back as an equal mixture."""
    return describe(mixture, MIXTURES)
