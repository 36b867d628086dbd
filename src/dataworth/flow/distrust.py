"""Reasons to distrust a choice: its budget, and targets that lie in the pool."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.flow.choosing import Choice, sample_rows
from dataworth.flow.scoring import Scored
from dataworth.mechanism.base import needs_utility, split_name
from dataworth.mechanism.budget import parse_budget

_FEW, _OF_MANY = 10, 1_000  # documents chosen, of eligible ones
_SMALL = 10_000  # a number of which another unit may have been meant
_MOST = 0.5  # of the chosen tokens
_SHARED = 0.05  # of a target's documents


OfTarget = Callable[[str, str], NDArray[np.float64] | None]
"""A utility column and a target → the utilities of the target's own documents."""


def of_choice(scored: Scored, choice: Choice, of_target: OfTarget) -> list[str]:
    """Return a line for each reason."""
    return [*_too_few(choice), *_too_many(scored, choice, of_target), *_in_pool(scored, choice)]


def _too_few(choice: Choice) -> list[str]:
    """Return a line for a budget that is less than a document, or leaves very few of many."""
    asked, made = parse_budget(choice.settings.budget), choice.cut
    sizes = choice.candidates.lengths[choice.candidates.eligible]
    if asked.unit not in ("tokens", "bytes") or not len(sizes):
        return []
    usual, amount = float(np.median(sizes)), int(asked.amount)
    if amount >= usual and (made.distinct >= _FEW or len(sizes) <= _OF_MANY):
        return []
    meant = [f"{amount}-docs", *([f"{amount}%"] if amount < 100 else []), f"{amount}M"]
    hint = f"; if another unit was meant, write {' or '.join(meant)}" if amount <= _SMALL else ""
    return [
        f"The budget is {amount:,} {asked.unit}, where a document of the pool has {usual:,.0f} "
        f"(median), so that few or none are chosen{hint}."
    ]


def _too_many(scored: Scored, choice: Choice, of_target: OfTarget) -> list[str]:
    """Return a line where most of the chosen tokens are more like the pool than like any target."""
    names = choice.view.utilities
    shares = [_even(scored, choice, name, of_target) for name in names]
    evens = [even for even in shares if even is not None]
    rows = np.flatnonzero(choice.counts)
    if not len(rows) or not evens or len(evens) < len(names):
        return []
    if not needs_utility(choice.mechanism):
        return []
    below = np.ones(len(rows), np.bool_)
    for name, even in zip(names, evens, strict=True):
        below &= choice.view.column(name)[rows] < even
    tokens = choice.tokens[rows] * choice.counts[rows].astype(np.int64)
    share = float(tokens[below].sum() / max(int(tokens.sum()), 1))
    if share <= _MOST:
        return []
    every = " for every target" if len(names) > 1 else ""
    return [
        f"{share:.0%} of the chosen tokens have a utility below {evens[0]:g}{every}: they are more "
        "like the pool than like the target. A smaller budget leaves them out."
    ]


def _even(scored: Scored, choice: Choice, name: str, of_target: OfTarget) -> float | None:
    """Return the value that parts what is like the target from the rest, if it is declared.

    None too where most of the target's own documents are below it, as those of a small target are
    of which little was learned: then it parts nothing.
    """
    if choice.settings.utility is None and choice.settings.scale == "raw":
        terms = [(1.0, name)]
    else:  # a sum says as much as its terms, where they are added as they are
        terms = choice.view.terms(name)
    known = {item.name: item.even for fitted in scored.fitted for item in fitted.columns}
    total, own = 0.0, np.zeros(1)
    for weight, column in terms:
        even = known.get(column)
        if even is None or weight <= 0:
            return None
        if (values := of_target(column, split_name(column)[1])) is None:
            return None
        total, own = total + weight * even, own + weight * values
    return total if terms and float(np.nanmedian(own)) > total else None


def _in_pool(scored: Scored, choice: Choice) -> list[str]:
    """Return a line for each target of whose documents some lie in the pool."""
    found = []
    everywhere: NDArray[np.bool_] = np.ones(len(choice.candidates), np.bool_)
    for name, fit in scored.targets.fit.items():
        held = scored.targets.held_out.get(name)
        documents = fit if held is None else Documents.concatenate([fit, held])
        rows = sample_rows(choice.candidates.uid, everywhere, documents)[0]
        if len(rows) < max(1.0, _SHARED * len(documents)):
            continue
        chosen = int((choice.counts[rows] > 0).sum())
        found.append(
            f"{len(rows):,} of the {len(documents):,} documents of the target {name} lie in the "
            f"pool, and {chosen:,} of them were chosen: what is measured on them says little. "
            "To leave them out, exclude the target (--exclude)."
        )
    return found
