"""Per target: several targets take turns, so that each gets its share of the selection.

The target that is furthest below its quota takes its next best document that is still free. A
document that several targets want goes to the one whose turn it is, and the result depends neither
on the order in which targets are named nor on the budget. (Were targets served one after another,
the first one would have the first choice.)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.kernels.simd import kernel
from dataworth.errors import ConfigError
from dataworth.mechanism.base import (
    BLOCK,
    Draws,
    Find,
    Mechanism,
    Order,
    Rows,
    Settles,
    Table,
    View,
    split_name,
)
from dataworth.mechanism.gumbel_top_k import GumbelTopK
from dataworth.options import option
from dataworth.registry import register


@register
@dataclass(frozen=True)
class PerTarget:
    """Order by turns: the target with the least size taken for its share is next.

    Targets of equal standing go by name. With several targets, each has noise of its own.
    """

    name: ClassVar[str] = "per_target"
    inner: Mechanism = option(
        factory=GumbelTopK, help="The mechanism that orders the documents for one target."
    )
    proportions: Mapping[str, float] | None = option(
        None,
        help="Each target's share of what is chosen, in the budget's unit: any numbers, which are "
        "divided by their sum; 0 leaves a target out. Without them all shares are equal.",
        minimum=0,
        hash=False,
    )

    def __post_init__(self) -> None:
        if self.proportions is not None and not any(self.proportions.values()):
            raise ConfigError("per_target: at least one proportion must be above 0")

    def shares(self, targets: Mapping[str, str]) -> dict[str, float]:
        """Share of each target of non-zero share, adding up to 1, by name.

        Raises ConfigError where proportions and targets are not the same names.
        """
        if self.proportions is None:
            return {target: 1 / len(targets) for target in sorted(targets)}
        for target in self.proportions:
            if target not in targets:
                raise ConfigError(
                    f"per_target: there is no target {target!r}; the targets are "
                    + ", ".join(sorted(targets))
                )
        for target in targets:
            if target not in self.proportions:
                raise ConfigError(f"per_target: proportions lack the target {target!r}")
        total = math.fsum(self.proportions.values())
        return {t: share / total for t, share in sorted(self.proportions.items()) if share > 0}

    def settle(self, utilities: Sequence[str], find: Find) -> PerTarget:
        """Return it with what its `inner` finds, for each target's share of the budget."""
        if not isinstance(self.inner, Settles):
            return self
        shares: dict[str, float] | None = None

        def find_part(column: str, share: float) -> float:
            nonlocal shares
            if shares is None:
                shares = self.shares({split_name(name)[1]: name for name in utilities})
            return find(column, share * shares.get(split_name(column)[1], 1.0))

        return replace(self, inner=self.inner.settle(utilities, find_part))

    def temperature_of(self, column: str) -> float | None:
        """Return that of its `inner`."""
        return self.inner.temperature_of(column) if isinstance(self.inner, Draws) else None

    def order(self, table: Table, seed: int) -> Order:
        """Row numbers in the order in which they are taken, in blocks."""
        return self._dealt(table, seed, np.zeros(len(table), np.uint16))

    def parts(self, table: Table, seed: int, chosen: NDArray[np.bool_]) -> dict[str, Rows]:
        """Rows of `chosen` that each target took, by the target's name."""
        names = list(self.shares(_targets(table)))
        if len(names) == 1:
            return {names[0]: np.flatnonzero(chosen)}
        taker = np.zeros(len(table), np.uint16)
        left = int(np.count_nonzero(chosen))
        for block in self._dealt(table, seed, taker):
            left -= int(np.count_nonzero(chosen[block]))
            if left <= 0:
                break
        return {
            name: np.flatnonzero(chosen & (taker == number + 1))
            for number, name in enumerate(names)
        }

    def _dealt(self, table: Table, seed: int, taker: NDArray[np.uint16]) -> Order:
        """Return the order; `taker` gets, for each row, the number of the target from 1 on."""
        targets = _targets(table)
        shares = self.shares(targets)
        if len(shares) == 1:
            (target,) = shares
            return self.inner.order(View(table, (targets[target],)), seed)
        orders = [
            _pieces(self.inner.order(View(table, (targets[target],)), _seed_of(seed, target)))
            for target in shares
        ]
        return _deal(orders, np.array(list(shares.values())), table.lengths, taker)


def _targets(table: Table) -> dict[str, str]:
    """Column of each target's utility, by the target's name."""
    targets: dict[str, str] = {}
    for column in table.utilities:
        target = split_name(column)[1]
        if target in targets:
            raise ConfigError(
                f"per_target: {targets[target]} and {column} are utilities for one target: "
                "name one, or add them up"
            )
        targets[target] = column
    if not targets:
        raise ConfigError("per_target needs a utility, but there is none")
    return targets


def _seed_of(seed: int, target: str) -> int:
    """A seed for each target: noise that targets shared would favour one document for all."""
    key = f"{seed}:{target}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")


def _pieces(order: Order) -> Iterator[Rows]:
    """Yield the order in blocks of at most `BLOCK` rows."""
    for block in order:
        for start in range(0, len(block), BLOCK):
            yield block[start : start + BLOCK]


def _deal(
    orders: list[Iterator[Rows]],
    shares: NDArray[np.float64],
    sizes: NDArray[np.int64],
    taker: NDArray[np.uint16],
) -> Order:
    """Merge the targets' orders; `shares` [targets], `sizes` [rows]; fills `taker` [rows]."""
    targets = len(orders)
    queues = np.zeros((targets, BLOCK), np.int64)
    weights = np.zeros((targets, BLOCK), np.int64)
    next_rank = np.zeros(targets, np.int64)
    filled = np.zeros(targets, np.int64)
    used = np.zeros(targets, np.int64)
    done = np.zeros(targets, np.bool_)
    out = np.empty(BLOCK, np.int64)
    written = 0
    while not done.all():
        written, hungry = _turns(
            queues, weights, next_rank, filled, used, shares, done, taker, out, written
        )
        if hungry < 0:
            yield out.copy()
            written = 0
            continue
        block = next(orders[hungry], None)
        if block is None:
            done[hungry] = True
        else:
            queues[hungry, : len(block)] = block
            weights[hungry, : len(block)] = sizes[block]
            next_rank[hungry], filled[hungry] = 0, len(block)
    if written:
        yield out[:written].copy()


@kernel
def _turns(queues, weights, place, filled, used, shares, done, taker, out, written):  # type: ignore[no-untyped-def]
    """Take turns until `out` is full (returns -1) or a target needs its next block (its index)."""
    targets = len(place)
    while written < len(out):
        turn = -1
        lowest = np.inf
        for target in range(targets):
            level = used[target] / shares[target]
            if not done[target] and (turn < 0 or level < lowest):
                turn, lowest = target, level
        at = place[turn]
        while at < filled[turn] and taker[queues[turn, at]]:
            at += 1
        place[turn] = at
        if at == filled[turn]:
            return written, turn
        row = queues[turn, at]
        taker[row] = turn + 1
        out[written] = row
        written += 1
        used[turn] += weights[turn, at]
        place[turn] = at + 1
    return written, -1
