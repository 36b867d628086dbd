"""The shares of groups: what a mixture is, and what it may read.

A group is a value of one field of the documents, such as a domain. A mixture gives each group its
share of a selection; the cut keeps to the shares as quotas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dataworth.errors import ConfigError

NO_GROUP = "(no group)"
"""The group of documents that lack the field."""
Proxies = Callable[..., Any]
"""What trains small models on mixtures, for those that are learned."""

_NEAR = 1e-3  # by which written shares may miss 1, such as three times 0.333


@dataclass(frozen=True)
class Groups:
    """The groups of a pool.

    `sizes`: of what may be chosen of each group, in the unit of the budget; all groups of the pool
    are there, and some may have nothing. `budget`: of the selection, in the same unit.
    `max_repeat`: copies of a document that the selection may hold.
    """

    field: str
    sizes: Mapping[str, float]
    budget: float
    max_repeat: int = 1

    @property
    def filled(self) -> dict[str, float]:
        """The sizes of groups that have something."""
        return {name: size for name, size in self.sizes.items() if size > 0}


class Mixture(Protocol):
    """Shares of groups; implementations are frozen dataclasses of its settings.

    `by`: the field whose values are the groups; "" for the only field that is grouped by.
    """

    @property
    def by(self) -> str:
        """The field."""
        ...

    def fit(
        self, groups: Groups, targets: Sequence[str], train: Proxies | None
    ) -> dict[str, float]:
        """Return each group's share of the selection; they add up to 1, or less for groups that
        have nothing left.

        Raises ConfigError for groups that the pool has not.
        """
        ...


def normalized(weights: Mapping[str, float]) -> dict[str, float]:
    """Return weights divided by their sum. Raises ConfigError if there is nothing to divide."""
    total = math.fsum(weights.values())
    if not total > 0:
        raise ConfigError("a mixture needs a group that has documents to choose from")
    return {name: weight / total for name, weight in weights.items()}


def check_shares(shares: Mapping[str, float], what: str = "the mixture") -> None:
    """Raise ConfigError for shares that are none, or do not add up to 1."""
    for name, share in shares.items():
        if not (math.isfinite(share) and 0 <= share <= 1):
            raise ConfigError(f"{what}: the share of {name!r} is between 0 and 1, not {share:g}")
    total = math.fsum(shares.values())
    if abs(total - 1) > _NEAR:
        raise ConfigError(f"{what}: the shares add up to {total:g}, not to 1; mend or add one")


def field_of(mixture: Mixture, grouped: Sequence[str]) -> str:
    """Return the field whose values are a mixture's groups.

    `grouped`: the fields that are grouped by. Raises ConfigError where it cannot be told.
    """
    if mixture.by:
        return mixture.by
    if len(grouped) == 1:
        return grouped[0]
    if not grouped:
        raise ConfigError("a mixture is of the groups of a field: name it (--group-by domain)")
    raise ConfigError(
        f"a mixture is of the groups of one field, but {', '.join(grouped)} are grouped by: name "
        "one in the mixture (by=FIELD), or group by one"
    )
