"""The natural mixture: each group as it is in the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dataworth.mixture.base import Groups, Proxies, normalized
from dataworth.mixture.registry import register
from dataworth.options import option


@register
@dataclass(frozen=True)
class Natural:
    """Shares in proportion to what may be chosen of each group."""

    name: ClassVar[str] = "natural"
    by: str = option("", help="The field; the only one that is grouped by if not named.")

    def fit(
        self, groups: Groups, targets: Sequence[str], train: Proxies | None
    ) -> dict[str, float]:
        """Return each group's share of the selection."""
        return normalized(groups.filled)
