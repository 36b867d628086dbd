"""The mechanisms by name: `gumbel_top_k(temperature=0.15)` becomes an object."""

from __future__ import annotations

from typing import Any

from dataworth.config import parse_call
from dataworth.mechanism.base import Mechanism
from dataworth.mechanism.gumbel_top_k import GumbelTopK
from dataworth.mechanism.pareto import Pareto
from dataworth.mechanism.per_target import PerTarget
from dataworth.mechanism.random import Random
from dataworth.mechanism.threshold import Threshold
from dataworth.mechanism.top_k import TopK

MECHANISMS: dict[str, type[Any]] = {
    "gumbel_top_k": GumbelTopK,
    "pareto": Pareto,
    "per_target": PerTarget,
    "random": Random,
    "threshold": Threshold,
    "top_k": TopK,
}


def parse(mechanism: str | Mechanism) -> Mechanism:
    """A mechanism from its text; a mechanism is returned as it is.

    Raises ConfigError for an unknown name or option, or a value of the wrong type.
    """
    if not isinstance(mechanism, str):
        return mechanism
    parsed: Mechanism = parse_call(mechanism, MECHANISMS)
    return parsed
