"""The base of learned mixtures: a swarm to learn from, and caps by what each group has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dataworth.errors import ConfigError
from dataworth.mixture.base import Groups, Proxies
from dataworth.mixture.swarm import Floats, SwarmGroups, SwarmTable, read_groups, read_table
from dataworth.options import option

_SPARE = 1e-12  # of a cap: what a group without a share takes when the others are full


@dataclass(frozen=True)
class OverSwarm(ABC):
    """A mixture that is learned in the folder of a swarm. Implement `learn`."""

    swarm: str = option(help="The folder of a swarm (`dataworth swarm`).", content=True)
    epochs: float = option(
        0.0,
        help="Most passes over a group; 0: as many as a document may have copies (--max-repeat).",
        minimum=0,
    )
    by: str = option("", help="The field; the only one that is grouped by if not named.")

    def check(self) -> None:
        """Raise ConfigError unless there is a swarm to learn from."""
        read_groups(self.swarm)

    def fit(
        self, groups: Groups, targets: Sequence[str], train: Proxies | None
    ) -> dict[str, float]:
        """Return each group's share of the selection.

        Raises ConfigError for a swarm of another field or other groups, and for a loss that it has
        not measured.
        """
        swarm_groups = read_groups(self.swarm)
        if swarm_groups.field != groups.field:
            raise ConfigError(
                f"{self.swarm}: is of the groups of {swarm_groups.field!r}, not of {groups.field!r}"
            )
        if others := sorted(set(groups.filled) - set(swarm_groups.names)):
            raise ConfigError(
                f"{self.swarm}: was trained without {others[0]!r} of {groups.field}, which the "
                "pool has; train a swarm of this pool"
            )
        sizes = np.array([groups.sizes.get(name, 0.0) for name in swarm_groups.names])
        epochs = self.epochs or float(groups.max_repeat)
        caps = np.minimum(epochs * sizes / groups.budget, 1.0)
        shares = self.learn(swarm_groups, targets, caps)
        return {name: float(share) for name, share in zip(swarm_groups.names, shares, strict=True)}

    @abstractmethod
    def learn(self, groups: SwarmGroups, targets: Sequence[str], caps: Floats) -> Floats:
        """Return the shares float64 [k], none above its cap: the caps where they are below 1."""


@dataclass(frozen=True)
class ByLoss(OverSwarm):
    """A mixture by the losses of a swarm's models. Implement `learn`.

    Minimised is the mean loss over targets of the selection, or over all groups where there is no
    target.
    """

    minimise: tuple[str, ...] = option(
        (), help="Targets or groups of the swarm whose mean loss is minimised; the run's targets."
    )

    def check(self) -> None:
        """Raise ConfigError unless there are models to learn from."""
        read_table(self.swarm)

    def losses(self, table: SwarmTable, targets: Sequence[str]) -> Floats:
        """Return the losses that are minimised, float64 [n, v]. Raises ConfigError for ties."""
        names = self.minimise or tuple(targets)
        losses = table.of(names)
        if not np.ptp(losses, axis=0).any():
            raise ConfigError(
                f"{self.swarm}: all models have the same loss on {', '.join(names) or 'all groups'}"
                ": nothing tells the mixtures apart"
            )
        return losses


@dataclass(frozen=True)
class Learned(ByLoss):
    """A mixture by a law that is fitted on a swarm's models. Implement `optimum`."""

    def learn(self, groups: SwarmGroups, targets: Sequence[str], caps: Floats) -> Floats:
        """Return the shares by the law that is fitted."""
        table = read_table(self.swarm)
        losses = self.losses(table, targets)
        return caps if caps.sum() <= 1 else self.optimum(table, losses, caps)

    @abstractmethod
    def optimum(self, table: SwarmTable, losses: Floats, caps: Floats) -> Floats:
        """Return the best shares float64 [k], none above its cap, for `losses` [n, v]."""


def check_models(table: SwarmTable, least: int, what: str) -> None:
    """Raise ConfigError for a swarm of too few models for what is fitted."""
    if len(table.weights) < least:
        raise ConfigError(
            f"{what} of {len(table.names)} groups takes a swarm of {least} models or more, not of "
            f"{len(table.weights)}: run `dataworth swarm` on its folder with more --mixtures"
        )


def water_fill(shares: Floats, caps: Floats) -> Floats:
    """Return min(c x, cap), where c makes each row add up to 1: shares [..., k], caps [k].

    Where the groups with a share are full, the rest goes to the others in proportion to their caps.
    The caps add up to 1 or more.
    """
    rows = np.atleast_2d(shares) + _SPARE * caps
    full = np.zeros(rows.shape, np.bool_)
    for _ in range(len(caps) + 1):
        open_shares = np.where(full, 0.0, rows)
        left = 1 - np.where(full, caps, 0.0).sum(1, keepdims=True)
        scaled = open_shares * left / np.maximum(open_shares.sum(1, keepdims=True), 1e-300)
        over = ~full & (scaled > caps)
        if not over.any():
            break
        full |= over
    filled: Floats = np.where(full, caps, scaled)
    filled[filled < 1e-9] = 0
    return filled.reshape(np.shape(shares))
