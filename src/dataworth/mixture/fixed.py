"""The fixed mixture: shares that someone wrote down, found by another tool for instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dataworth.errors import ConfigError
from dataworth.mixture.base import Groups, Proxies, check_shares, normalized
from dataworth.mixture.registry import register
from dataworth.options import option

_SHOWN = 10  # groups in a message


@register
@dataclass(frozen=True)
class Fixed:
    """Shares by group, which add up to 1 with `unlisted`."""

    name: ClassVar[str] = "fixed"
    shares: Mapping[str, float] = option(help="Each group's share.", hash=False)
    unlisted: float | None = option(
        None,
        help="Share of all groups that are not listed together, in proportion to their size; "
        "without one, a group of the pool that is not listed is an error.",
    )
    by: str = option("", help="The field; the only one that is grouped by if not named.")

    def __post_init__(self) -> None:
        rest = {} if self.unlisted is None else {"unlisted": self.unlisted}
        check_shares({**self.shares, **rest})

    def fit(
        self, groups: Groups, targets: Sequence[str], train: Proxies | None
    ) -> dict[str, float]:
        """Return each group's share of the selection.

        Raises ConfigError for groups that the pool has not, and for groups that are not listed.
        """
        wrong = sorted(set(self.shares) - set(groups.sizes))
        if wrong:
            raise ConfigError(
                f"the mixture names {_names(wrong)}, which {groups.field} does not have; it has "
                f"{_names(sorted(groups.sizes))}"
            )
        others = {name: size for name, size in groups.filled.items() if name not in self.shares}
        if others and self.unlisted is None:
            raise ConfigError(
                f"the mixture has no share for {_names(sorted(others))} of {groups.field}: list "
                "them (0 leaves them out), or give all of them together a share as 'unlisted'"
            )
        rest = self.unlisted or 0.0
        if rest and not set(groups.sizes) - set(self.shares):
            raise ConfigError(
                f"the mixture gives groups that are not listed the share {rest:g}, but lists all "
                f"of {groups.field}"
            )
        total = math.fsum([*self.shares.values(), rest])
        shares = {name: share / total for name, share in self.shares.items()}
        if others:
            shares |= {n: rest / total * part for n, part in normalized(others).items()}
        return shares


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more
