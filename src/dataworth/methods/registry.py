"""The steps: from text to objects, with the filters that they want and the checks that they need.

A new method is a file beside this one, whose class is marked `@register` and named as its file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dataworth.config import describe, from_dict
from dataworth.errors import ConfigError
from dataworth.methods.base import Checks, Needs, Step
from dataworth.registry import STEPS as STEPS

DEFAULT = ("dsir",)
"""The steps of `select` when none are named: what measures best on real data."""


def parse_step(step: str | Mapping[str, Any] | Step) -> Step:
    """Return a step from its name and options, from a recipe's mapping, or as it is."""
    if isinstance(step, str | Mapping):
        parsed: Step = from_dict(step, STEPS)
        return parsed
    if not (hasattr(step, "name") and hasattr(step, "fit")):
        raise ConfigError(f"{step!r} is no step: write a name or {{name: {{option: value}}}}")
    return step


def with_filters(steps: Sequence[Step]) -> list[tuple[Step, bool]]:
    """Return the steps in order, each behind the filters it wants; True marks such a filter.

    A filter that is there already is not repeated.
    """
    out: list[tuple[Step, bool]] = []
    for step in steps:
        if isinstance(step, Needs):
            out.extend(
                (wanted, True)
                for wanted in step.filters
                if wanted not in [there for there, _ in out]
            )
        out.append((step, False))
    return out


def check_steps(steps: Sequence[Step]) -> None:
    """Raise a DataworthError unless all that the steps need is there: extras, packages, models."""
    for step, _ in with_filters(steps):
        if isinstance(step, Checks):
            step.check()


def shown(step: Step) -> str:
    """A step as text that `parse_step` reads back, with the options that differ from defaults."""
    return describe(step, STEPS)
