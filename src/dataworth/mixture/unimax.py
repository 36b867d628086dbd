"""UniMax: as uniform as the groups' sizes allow (Chung et al. 2023, "UniMax", section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dataworth.mixture.base import Groups, Proxies, normalized
from dataworth.mixture.registry import register
from dataworth.options import option


@register
@dataclass(frozen=True)
class UniMax:
    """Equal amounts of all groups, but no group more often than `epochs` times.

    From the smallest group on, each takes an equal part of what is left of the budget, or `epochs`
    times its size if that is less.
    """

    name: ClassVar[str] = "unimax"
    epochs: float = option(
        0.0,
        help="Most passes over a group; 0: as many as a document may have copies (--max-repeat).",
        minimum=0,
    )
    by: str = option("", help="The field; the only one that is grouped by if not named.")

    def fit(
        self, groups: Groups, targets: Sequence[str], train: Proxies | None
    ) -> dict[str, float]:
        """Return each group's share of the selection."""
        epochs = self.epochs or float(groups.max_repeat)
        left, amounts = float(groups.budget), {}
        smallest_first = sorted(groups.filled.items(), key=lambda item: (item[1], item[0]))
        for place, (name, size) in enumerate(smallest_first):
            amounts[name] = min(left / (len(smallest_first) - place), epochs * size)
            left -= amounts[name]
        return normalized(amounts)
