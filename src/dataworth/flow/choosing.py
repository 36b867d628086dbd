"""From the table to chosen rows: exclusion, mechanism, temperature, cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.config import describe
from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.flow.exclusion import Excluded
from dataworth.flow.mixtures import WITHOUT_SHARE, mixture_quotas
from dataworth.flow.settings import ChoiceSettings
from dataworth.measures.temperature import Found, find_temperature
from dataworth.mechanism.base import Mechanism, Settles, TakesTurns, split_name
from dataworth.mechanism.budget import Budget, parse_budget, parse_quotas
from dataworth.mechanism.cut import Cut, Group, cut
from dataworth.mechanism.expression import combine
from dataworth.mechanism.registry import MECHANISMS, WITHOUT_UTILITY, for_targets
from dataworth.mechanism.registry import parse as parse_mechanism
from dataworth.methods.base import JOINT, Targets
from dataworth.table.table import Table

EXCLUDED = "excluded: trained on before"
CHECK = "check"
DUPLICATE = "duplicate of another document"

_FEW_BITS = 44  # of a uid; the upper 20 are looked up in a table

ExactTokens = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Rows of the table → their exact numbers of tokens."""


class Candidates:
    """The documents table as mechanisms see it."""

    def __init__(
        self,
        table: Table,
        eligible: NDArray[np.bool_],
        lengths: NDArray[np.int64],
        utilities: tuple[str, ...],
        columns: dict[str, NDArray[Any]],
    ) -> None:
        self._table = table
        self.eligible = eligible
        self.lengths = lengths
        self.utilities = utilities
        self._columns = columns

    def __len__(self) -> int:
        return len(self._table)

    @property
    def uid(self) -> NDArray[np.uint64]:
        """uint64 [rows]."""
        return self.column("uid")

    @cached_property
    def position(self) -> NDArray[np.int64]:
        """The table's rows are in the order of (file, offset) already."""
        return np.arange(len(self._table))

    @property
    def embeddings(self) -> tuple[str, ...]:
        """The columns of vectors."""
        return self._table.embeddings

    @property
    def matrices(self) -> tuple[str, ...]:
        """The columns of utilities for each query."""
        return self._table.matrices

    def vectors(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read some rows of a column of vectors, anew at each call."""
        return self._table.vectors(name, rows)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column; utilities are kept, since an order and the metrics both read them."""
        if name not in self._columns:
            self._columns[name] = self._table.column(name)
        return self._columns[name]


@dataclass
class Choice:
    """The chosen documents as copies of each row, and all that led to them.

    `tokens` int64 [rows]: of each document, exact where they were counted.
    `order`: the mechanism's order again, from its beginning. `dropped`: drop reasons → documents.
    """

    settings: ChoiceSettings
    candidates: Candidates
    view: Any
    mechanism: Mechanism
    mechanism_text: str
    cut: Cut
    tokens: NDArray[np.int64]
    exact: bool
    dropped: dict[str, int]
    temperatures: dict[str, Found] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> NDArray[np.uint16]:
        """Copies of each row of the table, uint16 [rows]."""
        return self.cut.counts

    @cached_property
    def order(self) -> NDArray[np.uint32]:
        """Rows of the table, best first; uint32, so that looking back costs little memory."""
        blocks = self.mechanism.order(self.view, self.settings.seed)
        parts = [block.astype(np.uint32) for block in blocks]
        return np.concatenate(parts) if parts else np.empty(0, np.uint32)

    @cached_property
    def parts(self) -> dict[str, NDArray[np.int64]]:
        """Chosen rows that each target took, where several took turns; else empty."""
        if not isinstance(self.mechanism, TakesTurns):
            return {}
        return self.mechanism.parts(self.view, self.settings.seed, self.counts > 0)

    def ranks(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rank of some rows in the order, 1 for the best; 0 for rows not in it."""
        wanted = np.zeros(len(self.candidates), np.bool_)
        wanted[rows] = True
        places = np.flatnonzero(wanted[self.order])
        rank = dict(zip(self.order[places].tolist(), (places + 1).tolist(), strict=True))
        return np.array([rank.get(int(row), 0) for row in rows], np.int64)


def choose_rows(
    table: Table,
    settings: ChoiceSettings,
    *,
    default_mechanism: str,
    default_utilities: tuple[str, ...],
    sample: Documents,
    targets: Targets,
    excluded: Excluded,
    exact_tokens: ExactTokens | None,
    fields_there: Callable[[], str],
    grouped: Sequence[str] = (),
) -> Choice:
    """Choose for a budget. `sample` is the pool's random sample, for the temperature;
    `fields_there` names the pool's fields, for messages. `grouped`: fields that a mixture may be
    of, where it names none.

    Raises ConfigError for settings that do not fit the table.
    """
    budget = parse_budget(settings.budget)
    # One pass over the files for all that nearly every choice reads.
    usual = ["uid", "tokens", "text_bytes"]
    columns = table.columns([*usual, *(default_utilities if settings.utility is None else ())])
    eligible, dropped = eligibility(
        table, columns["uid"], excluded, keep_duplicates=settings.duplicates == "keep"
    )
    tokens = columns.pop("tokens")
    # An expression may name any step's utilities, not only those chosen by when none are named.
    names = default_utilities if settings.utility is None else table.utilities
    lengths = _sizes(tokens, columns["text_bytes"], budget)
    resolved = budget.resolve(max(int(tokens[eligible].sum()), 1))
    groups = _groups(table, settings, fields_there) or {}
    quotas = list(parse_quotas(settings.quotas))
    if settings.mixture is not None:
        how = (resolved, settings.max_repeat, targets.names)
        name, group, caps, without = mixture_quotas(
            settings.mixture, table, grouped, eligible, lengths, *how
        )
        if (eligible & without).any():
            dropped[WITHOUT_SHARE] = int((eligible & without).sum())
            eligible &= ~without
        groups[name] = group
        quotas += caps
    candidates = Candidates(table, eligible, lengths, names, columns)
    view: Any = candidates
    if settings.utility is not None:
        view = combine(candidates, settings.utility, settings.scale)
    elif settings.scale != "raw" and default_utilities:
        steps = sorted({split_name(column)[0] for column in default_utilities})
        view = combine(candidates, " + ".join(steps), settings.scale)
    text = settings.mechanism or (default_mechanism if view.utilities else WITHOUT_UTILITY)
    mechanism = for_targets(parse_mechanism(text), view.utilities, settings.proportions)
    found: dict[str, Found] = {}
    if isinstance(mechanism, Settles):
        share = min(1.0, resolved.amount / max(int(candidates.lengths[eligible].sum()), 1))
        find = _Temperatures(view, sample, targets, share, settings.seed, found)
        mechanism = mechanism.settle(view.utilities, find)
    counted = np.zeros(len(table), np.bool_)
    while True:
        made = cut(
            mechanism.order(view, settings.seed),
            candidates.lengths,
            resolved,
            groups=groups,
            quotas=quotas,
            max_repeat=settings.max_repeat,
        )
        unknown = np.flatnonzero((made.counts > 0) & ~counted)
        if exact_tokens is None or not len(unknown):
            break
        # Counted from the top down to the cut; the cut then moves, until all it holds are exact.
        tokens[unknown] = exact_tokens(unknown)
        counted[unknown] = True
        if budget.unit in ("tokens", "share"):
            candidates.lengths[unknown] = tokens[unknown]
    return Choice(
        settings,
        candidates,
        view,
        mechanism,
        describe(mechanism, MECHANISMS),
        made,
        tokens,
        exact_tokens is not None,
        dropped,
        found,
    )


def eligibility(
    table: Table,
    uid: NDArray[np.uint64],
    excluded: Excluded,
    *,
    keep_duplicates: bool,
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return which rows may be chosen, bool [rows], and the documents dropped by reason."""
    eligible = np.ones(len(table), np.bool_)
    dropped = dict(table.tally.dropped)
    if dropped:
        codes, reasons = table.codes("drop")
        eligible &= codes == (reasons.index(None) if None in reasons else -1)
        del codes
    if len(excluded):
        before = eligible & excluded.among(uid, partial(_second_hashes, table))
        eligible &= ~before
        dropped[EXCLUDED] = int(before.sum())
    if not keep_duplicates:
        copies = _copies(table, uid, eligible)
        if len(copies):
            eligible[copies] = False
            dropped[DUPLICATE] = len(copies)
    return eligible, dropped


def _second_hashes(table: Table, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    return np.asarray(table.rows(rows, [CHECK])[CHECK], np.uint64)


def _copies(
    table: Table, uid: NDArray[np.uint64], eligible: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the eligible rows that hold the same text as an eligible row before them.

    Rows of one uid are copies where the second hash of their texts is the same too.
    """
    ordered = np.sort(uid[eligible])
    if not (ordered[1:] == ordered[:-1]).any():  # the usual case, without an index of the sort
        return np.empty(0, np.int64)
    rows = np.flatnonzero(eligible)
    order = np.argsort(uid[rows], kind="stable")
    ordered = uid[rows[order]]
    again = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
    if CHECK not in table.names:  # tables of former versions
        return rows[order[again]]
    alike = rows[order[np.union1d(again - 1, again)]]
    check = table.column(CHECK)[alike]
    order = np.lexsort((alike, check, uid[alike]))
    alike, check = alike[order], check[order]
    same = (uid[alike][1:] == uid[alike][:-1]) & (check[1:] == check[:-1])
    copies: NDArray[np.int64] = alike[1:][same]
    return copies


def _sizes(
    tokens: NDArray[np.int64], text_bytes: NDArray[np.int64], budget: Budget
) -> NDArray[np.int64]:
    """Return the size of each document in the budget's unit, int64 [rows]."""
    if budget.unit == "documents":
        return np.ones(len(tokens), np.int64)
    return text_bytes if budget.unit == "bytes" else tokens.copy()


@dataclass
class _Temperatures:
    """The temperatures of utility columns, each for its target's share of the budget."""

    view: Any
    sample: Documents
    targets: Targets
    share: float
    seed: int
    found: dict[str, Found]

    @cached_property
    def _rows(self) -> tuple[NDArray[np.int64], Documents]:
        rows, inside = sample_rows(self.view.uid, self.view.eligible, self.sample)
        return rows, self.sample.take(inside)

    def __call__(self, column: str, share: float) -> float:
        """Return the temperature of a column. ConfigError without a target."""
        fit = self.targets.fit
        if not fit:
            raise ConfigError(
                "a temperature can be found from the data only with a target: give one, or a "
                "number (--mechanism 'gumbel_top_k(temperature=0.1)'), or another mechanism"
            )
        rows, documents = self._rows
        target = split_name(column)[1]
        if target in fit:
            towards = fit[target]
        else:  # a joint utility, or a sum of several
            names_in = [n for n in target.split("+") if n in fit]
            chosen = names_in if names_in and target != JOINT else self.targets.names
            towards = Documents.concatenate([fit[name] for name in chosen])
        self.found[column] = find_temperature(
            documents,
            self.view.column(column)[rows],
            self.view.lengths[rows],
            towards,
            share=self.share * share,
            seed=self.seed,
        )
        return self.found[column].temperature


def sample_rows(
    uid: NDArray[np.uint64], eligible: NDArray[np.bool_], sample: Documents
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (rows of the table, documents of the sample) of the sample's eligible documents.

    A text that is in the pool several times is found once for each time it is in the sample, at
    its first eligible row. In the sample's order.
    """
    wanted = np.unique(sample.uid)
    first = np.full(len(wanted), -1, np.int64)
    # Most rows are told apart by their uid's upper bits, without a search.
    some = np.zeros(1 << 64 - _FEW_BITS, np.bool_)
    some[wanted >> np.uint64(_FEW_BITS)] = True
    step = 1 << 20
    # Backwards throughout, so that the first row is written last.
    for start in reversed(range(0, len(uid), step)):
        piece = uid[start : start + step]
        hits = np.flatnonzero(some[piece >> np.uint64(_FEW_BITS)] & eligible[start : start + step])
        place = np.searchsorted(wanted, piece[hits])
        place[place == len(wanted)] = 0
        same = wanted[place] == piece[hits] if len(wanted) else np.zeros(0, np.bool_)
        first[place[same][::-1]] = hits[same][::-1] + start
    rows = first[np.searchsorted(wanted, sample.uid)] if len(wanted) else first
    inside = np.flatnonzero(rows >= 0)
    return rows[inside], inside


def _groups(
    table: Table, settings: ChoiceSettings, fields_there: Callable[[], str]
) -> dict[str, Group] | None:
    names = {quota.field for quota in parse_quotas(settings.quotas)}
    groups = {}
    for name in sorted(names):
        if name not in table.names:
            raise ConfigError(
                f"a quota is by the field {name!r}, which the table does not have: score with "
                f"--group-by {name}"
            )
        codes, values = table.codes(name)
        known = [value for value in values if value is not None]
        if not known and len(table):
            raise ConfigError(no_such_field(name, fields_there()))
        groups[name] = Group(np.where(codes < len(known), codes, -1), known)
    return groups or None


def no_such_field(name: str, there: str) -> str:
    """Return the message for a quota by a field without a value; `there` names those there are."""
    return f"a quota is by the field {name!r}, which no document of the pool has{there}"
