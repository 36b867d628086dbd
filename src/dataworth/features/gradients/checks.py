"""Argument checks that several modules of the engine share."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, get_args

from torch import Tensor

from dataworth.errors import ConfigError


def fits(vectors: Tensor, size: int, name: str) -> None:
    """Raise ConfigError for vectors of another length than a preconditioner was fitted on."""
    if vectors.shape[-1] != size:
        raise ConfigError(
            f"{name} was fitted on gradients of {size:,} numbers, these have "
            f"{vectors.shape[-1]:,}: of another model, or of other modules of it?"
        )


def some(examples: Sized) -> None:
    """Raise ConfigError if there are no examples."""
    if not len(examples):
        raise ConfigError("there are no examples to fit on")


def one_of(what: str, given: object, choices: Any) -> None:
    """Raise ConfigError for a value that is not a choice (of a `Literal` or a sequence)."""
    names: Sequence[str] = get_args(choices) or choices
    if given not in names:
        raise ConfigError(f"{what} is one of {', '.join(names)}, not {given!r}")
