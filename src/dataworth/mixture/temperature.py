"""The temperature-scaled mixture: between the natural and the uniform one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dataworth.mixture.base import Groups, Proxies, normalized
from dataworth.mixture.registry import register
from dataworth.options import option


@register
@dataclass(frozen=True)
class Temperature:
    """Shares in proportion to p^alpha, where p is a group's natural share.

    Alpha 1 is the natural mixture, 0 the uniform one; the temperature is 1 / alpha. For languages
    of very unlike sizes 0.3 is common (Conneau et al. 2020, "Unsupervised Cross-lingual
    Representation Learning at Scale", section 3.1).
    """

    name: ClassVar[str] = "temperature"
    alpha: float = option(0.5, help="The power of the natural share.", minimum=0)
    by: str = option("", help="The field; the only one that is grouped by if not named.")

    def fit(
        self, groups: Groups, targets: Sequence[str], train: Proxies | None
    ) -> dict[str, float]:
        """Return each group's share of the selection."""
        natural = normalized(groups.filled)
        return normalized({name: share**self.alpha for name, share in natural.items()})
