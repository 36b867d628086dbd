"""The cut: an order and a budget become counts. Nothing else knows budgets, quotas and repeats.

Documents are taken in order until the budget is met. The document that crosses it is taken if and
only if that lands nearer to the budget, so the total is off by half a document at most; a budget
in documents is met exactly. At least one document is taken where there is one.

A quota is never exceeded: a document that would carry one of its groups past its cap is passed
over, and the next one is looked at. If the order ends before the budget is met, it is gone round
again, up to `max_repeat` times in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.kernels.simd import kernel
from dataworth.errors import ConfigError
from dataworth.mechanism.base import Rows
from dataworth.mechanism.budget import Budget, Quota, parse_budget, parse_quotas

_NO_CAP = np.iinfo(np.int64).max
MOST_REPEATS = 65_535  # counts are uint16


@dataclass(frozen=True)
class Group:
    """A field by which quotas are kept: `codes` int [n] into `values`.

    Where a document lacks the field, its code is -1 or that of the value None; it counts towards
    no quota of the field.
    """

    codes: NDArray[np.integer[Any]]
    values: Sequence[str | None]


@dataclass(frozen=True)
class Cut:
    """The repeats of each document in a selection, and their totals.

    `counts` uint16 [n]. `budget` is what was asked for. `documents` and `amount` are totals with
    repeats, `amount` in the unit of the sizes that the cut was given; `distinct` is the number of
    documents. `last` is the row accepted furthest down the order (its utility is the threshold),
    None if nothing was taken; `rounds` is how often the order was gone round; `passed_over` counts
    documents not taken for a quota and `capped` names the groups that they were of. `short` tells
    that the order held less than the budget, and `reason` says so in numbers.
    """

    counts: NDArray[np.uint16]
    budget: Budget
    documents: int
    distinct: int
    amount: int
    last: int | None
    rounds: int
    passed_over: int
    capped: tuple[str, ...]
    short: bool
    reason: str

    @property
    def used(self) -> int:
        """The amount used of the budget, in the budget's unit."""
        return self.documents if self.budget.unit == "documents" else self.amount


def cut(
    order: Iterable[Rows],
    tokens: NDArray[np.integer[Any]],
    budget: Budget | int | str,
    *,
    groups: Mapping[str, Group] | None = None,
    quotas: Mapping[str, Any] | Iterable[str | Quota] | None = None,
    max_repeat: int = 1,
) -> Cut:
    """Take documents in `order` until `budget` is met.

    `order` yields blocks of row numbers, best first, and is read no further than needed. `tokens`
    [n] is the size of each document: in bytes if the budget is, in tokens otherwise. A share must
    have been resolved (`Budget.resolve`). `groups` names the fields that `quotas` may use.

    Raises ConfigError for a share, a quota of an unknown field or value or of another unit than
    the sizes', and a `max_repeat` outside 1 to 65,535.
    """
    budget = parse_budget(budget)
    if budget.unit == "share":
        raise ConfigError(f"the share {budget} of the pool has not been resolved to an amount")
    if not 1 <= max_repeat <= MOST_REPEATS:
        raise ConfigError(f"max_repeat must be between 1 and {MOST_REPEATS}, got {max_repeat}")
    caps = _Caps.build(budget, groups or {}, parse_quotas(quotas))
    taker = _Taker(tokens, budget, caps)
    kept: list[Rows] | None = [] if max_repeat > 1 else None
    done = taker.round(order, kept)
    last, passed_over, rounds = taker.last, taker.passed_over, 1
    while not done and kept and rounds < max_repeat:
        before = taker.used
        done = taker.round(kept, None)
        rounds += 1
        if taker.used == before:  # every group that is left is at its cap
            break
    return taker.result(done, last, passed_over, rounds)


@dataclass(frozen=True)
class _Caps:
    """Caps of all groups in one numbering: field by field, value by value."""

    names: list[str]
    fields: list[tuple[int, NDArray[np.integer[Any]]]]  # first number and codes of each field
    amount: NDArray[np.int64]
    documents: NDArray[np.int64]

    @staticmethod
    def build(budget: Budget, groups: Mapping[str, Group], quotas: Sequence[Quota]) -> _Caps:
        """Return the caps that the quotas set; fields without a quota are left out."""
        names: list[str] = []
        fields = []
        amounts: list[int] = []
        documents: list[int] = []
        for name in dict.fromkeys(quota.field for quota in quotas):
            if name not in groups:
                columns = ", ".join(sorted(groups)) or "none"
                raise ConfigError(f"a quota names the field {name!r}; the table's are: {columns}")
            group, own = groups[name], [quota for quota in quotas if quota.field == name]
            fields.append((len(names), group.codes))
            of_value = {quota.value: quota for quota in own}
            _check_values(own, group)
            for value in group.values:
                quota = None if value is None else of_value.get(value, of_value.get(None))
                amount, count = (_NO_CAP, _NO_CAP) if quota is None else _limits(quota, budget)
                names.append(f"{name}={value}")
                amounts.append(amount)
                documents.append(count)
        return _Caps(names, fields, np.array(amounts, np.int64), np.array(documents, np.int64))

    def codes(self, rows: Rows) -> NDArray[np.int64]:
        """Number of each row's group in each field, int64 [fields, rows]; -1 for none."""
        numbers = np.empty((len(self.fields), len(rows)), np.int64)
        for number, (first, codes) in zip(numbers, self.fields, strict=True):
            number[:] = codes[rows]
            number[number >= 0] += first
        return numbers


def _check_values(quotas: Sequence[Quota], group: Group) -> None:
    values = {value for value in group.values if value is not None}
    for quota in quotas:
        if quota.value is not None and quota.value not in values:
            raise ConfigError(
                f"the quota {quota} names a value that {quota.field} does not have; it has "
                f"{len(values)}: {', '.join(sorted(values)[:10])}"
            )


def _limits(quota: Quota, budget: Budget) -> tuple[int, int]:
    """Return (largest size, most documents) of a quota."""
    cap = quota.cap
    if cap.unit == "share":
        cap = Budget(max(1, int(Fraction(str(cap.amount)) * int(budget.amount))), budget.unit)
    if cap.unit == "documents":
        return _NO_CAP, int(cap.amount)
    if (cap.unit == "bytes") != (budget.unit == "bytes"):
        raise ConfigError(f"the quota {quota} is in {cap.unit}, the budget {budget} is not")
    return int(cap.amount), _NO_CAP


class _Taker:
    """The running state of a cut."""

    def __init__(self, tokens: NDArray[np.integer[Any]], budget: Budget, caps: _Caps) -> None:
        self.counts = np.zeros(len(tokens), np.uint16)
        self._tokens = tokens
        self._budget = budget
        self._caps = caps
        self._group_amount = np.zeros(len(caps.names), np.int64)
        self._group_documents = np.zeros(len(caps.names), np.int64)
        self._hit = np.zeros(len(caps.names), np.bool_)
        self._totals = np.zeros(3, np.int64)  # documents, amount, passed over
        self.last: int | None = None

    @property
    def used(self) -> int:
        return int(self._totals[0 if self._budget.unit == "documents" else 1])

    @property
    def passed_over(self) -> int:
        return int(self._totals[2])

    def round(self, order: Iterable[Rows], kept: list[Rows] | None) -> bool:
        """Go through the order once; whether the budget is met. Accepted rows go to `kept`."""
        for rows in _narrow(order):
            sizes = self._tokens[rows].astype(np.int64)
            taken = np.zeros(len(rows), np.bool_)
            done = _take(
                rows,
                sizes,
                self._caps.codes(rows),
                self._caps.amount,
                self._caps.documents,
                self._group_amount,
                self._group_documents,
                self._hit,
                self.counts,
                taken,
                self._totals,
                int(self._budget.amount),
                self._budget.unit == "documents",
            )
            accepted = rows[taken]
            if len(accepted):
                self.last = int(accepted[-1])
                if kept is not None:
                    kept.append(accepted)
            if done:
                return True
        return False

    def result(self, done: bool, last: int | None, passed_over: int, rounds: int) -> Cut:
        documents, amount = int(self._totals[0]), int(self._totals[1])
        unit, asked = self._budget.unit, int(self._budget.amount)
        capped = tuple(name for name, hit in zip(self._caps.names, self._hit, strict=True) if hit)
        distinct = int(np.count_nonzero(self.counts))
        reason = ""
        if not done:
            used = documents if unit == "documents" else amount
            reason = f"{used:,} of {asked:,} {unit}: all {distinct:,} documents of the order taken"
            if passed_over:
                reason = (
                    f"{used:,} of {asked:,} {unit}: the order is exhausted, and {passed_over:,} "
                    "documents were passed over for quotas"
                )
            reason += f", {rounds} times over" if rounds > 1 else ""
        return Cut(
            counts=self.counts,
            budget=self._budget,
            documents=documents,
            distinct=distinct,
            amount=amount,
            last=last,
            rounds=rounds,
            passed_over=passed_over,
            capped=capped,
            short=not done,
            reason=reason,
        )


def _narrow(order: Iterable[Rows], rows: int = 1 << 17) -> Iterator[Rows]:
    """Blocks of at most `rows`, so that what is gathered for a block stays small."""
    for block in order:
        for start in range(0, len(block), rows):
            yield np.ascontiguousarray(block[start : start + rows], np.int64)


@kernel
def _take(  # type: ignore[no-untyped-def]
    rows,
    sizes,
    codes,
    cap_amount,
    cap_documents,
    group_amount,
    group_documents,
    hit,
    counts,
    taken,
    totals,
    limit,
    by_documents,
):
    """Take a block's rows into `counts`, `taken` and the totals; whether the budget is met."""
    for i in range(len(rows)):
        size = sizes[i]
        free = True
        for field in range(len(codes)):
            group = codes[field, i]
            if group >= 0 and (
                size > cap_amount[group] - group_amount[group]
                or group_documents[group] >= cap_documents[group]
            ):
                free = False
                hit[group] = True
        if not free:
            totals[2] += 1
            continue
        spent = totals[0] if by_documents else totals[1]
        after = spent + (1 if by_documents else size)
        if after > limit and totals[0] > 0 and after - limit >= limit - spent:
            return True
        counts[rows[i]] += np.uint16(1)
        taken[i] = True
        totals[0] += 1
        totals[1] += size
        for field in range(len(codes)):
            group = codes[field, i]
            if group >= 0:
                group_amount[group] += size
                group_documents[group] += 1
        if after >= limit:
            return True
    return False
