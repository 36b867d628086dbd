"""The uniform mixture: the same share for each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dataworth.mixture.base import Groups, Proxies, normalized
from dataworth.mixture.registry import register
from dataworth.options import option


@register
@dataclass(frozen=True)
class Uniform:
    """Equal shares of all groups that have something to choose from."""

    name: ClassVar[str] = "uniform"
    by: str = option("", help="The field; the only one that is grouped by if not named.")

    def fit(
        self, groups: Groups, targets: Sequence[str], train: Proxies | None
    ) -> dict[str, float]:
        """Return each group's share of the selection."""
        return normalized(dict.fromkeys(groups.filled, 1.0))
