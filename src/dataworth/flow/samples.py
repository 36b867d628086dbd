"""Documents of a run as a person sees them: text, place, scores, reason, what drove the score."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dataworth.flow.choosing import Choice, sample_rows
from dataworth.flow.scoring import Scored
from dataworth.flow.texts import texts_of
from dataworth.mechanism.base import Draws
from dataworth.mechanism.expression import Combined
from dataworth.results import selection as model

_EXCERPT = 4000
_EACH = 6  # sample documents of a kind
_DRIVERS = 12
_BLOCK = 1 << 18
_AT_ENDS, _AT_RANDOM = 50, 400  # documents of the table
_BEGINNING = 160  # characters of a text in the table


def samples(scored: Scored, choice: Choice) -> model.Samples:
    """Return documents at the top of the order, around the cut, at its end, and dropped ones."""
    order, counts = choice.order, choice.counts
    if not len(order):
        return {}
    taken = np.flatnonzero(counts[order] > 0)
    last = int(taken[-1]) if len(taken) else -1
    head = order[taken[:_EACH]].astype(np.int64)
    groups = {
        "top": head,
        "just_kept": np.setdiff1d(order[taken[-_EACH:]].astype(np.int64), head),
        "just_missed": order[last + 1 : last + 1 + _EACH].astype(np.int64),
    }
    columns = choice.view.utilities
    if len(columns) == 1:
        lowest = _lowest(choice.view.column(columns[0]), choice.candidates.eligible)
        kept = choice.candidates.eligible[lowest] & (counts[lowest] == 0)
        groups["bottom"] = lowest[kept]
    if scored.table.tally.dropped:
        codes, reasons = scored.table.codes("drop")
        wanted = [code for code, reason in enumerate(reasons) if reason is not None]
        dropped = np.flatnonzero(np.isin(codes, wanted))
        step = max(1, len(dropped) // _EACH)
        groups["dropped"] = dropped[::step][:_EACH]
    everything = np.unique(np.concatenate(list(groups.values())))
    shown = dict(zip(everything.tolist(), describe_rows(scored, choice, everything), strict=True))
    made: dict[str, list[model.Sample]] = {}
    for name, rows in groups.items():
        made[name] = [shown[int(row)] for row in rows]
    made["just_kept"].sort(key=lambda sample: sample.get("rank") or 0)
    return cast(model.Samples, made)


def _lowest(values: NDArray[np.float64], eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the `_EACH` eligible rows of lowest value, ascending; by blocks to spare memory."""
    rows = np.empty(0, np.int64)
    for start in range(0, len(values), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(values)))
        rows = np.concatenate([rows, block[eligible[block]]])
        if len(rows) > _EACH:
            rows = rows[np.argpartition(values[rows], _EACH - 1)[:_EACH]]
    return np.sort(rows)


def describe_rows(scored: Scored, choice: Choice, rows: NDArray[np.int64]) -> list[model.Sample]:
    """Return documents as a person sees them: text, place, scores, reason, what drove it."""
    if not len(rows):
        return []
    table = scored.table
    facts = table.rows(rows).to_pylist()
    texts = texts_of(scored, rows)
    ranks = choice.ranks(rows)
    best = best_columns(choice, rows)
    own = set(table.utilities)
    columns_shown = {name: choice.view.column(name)[rows] for name in choice.view.utilities}
    out: list[model.Sample] = []
    for i, (fact, text) in enumerate(zip(facts, texts, strict=True)):
        utilities = {name: fact[name] for name in table.utilities}
        utilities |= {
            name: float(values[i]) for name, values in columns_shown.items() if name not in own
        }
        column = best[i]
        sample: model.Sample = {
            "uid": f"{fact['uid']:016x}",
            "text": text[:_EXCERPT],
            "characters": len(text),
            "file": scored.corpus.files[fact["file"]].path,
            "offset": fact["offset"],
            "id": fact.get("id"),
            "column": column,
            "utility": utilities.get(column) if column is not None else None,
            "rank": int(ranks[i]) or None,
            "copies": int(choice.counts[rows[i]]),
            "drop": _drop_reason(choice, fact, int(rows[i])),
            "groups": {name: fact.get(name) for name in scored.corpus.fields.groups},
        }
        if len(utilities) > 1:
            sample["utilities"] = utilities
        if column is not None and fact["drop"] is None:
            drivers, rest = why(scored, choice, text, column)
            sample["why"], sample["rest"] = drivers, rest
        out.append(sample)
    return out


def documents(scored: Scored, choice: Choice) -> list[model.Listed]:
    """Return the rows of the table of documents: top and bottom of the order, and random ones.

    Random ones are of the survey's sample, whose texts are in memory; dropped ones are among them.
    """
    order, sample = choice.order, scored.survey.sample
    places: dict[int, str] = dict.fromkeys(order[:_AT_ENDS].tolist(), "top")
    places |= dict.fromkeys(order[_AT_ENDS:][-_AT_ENDS:].tolist(), "bottom")
    ends = np.array(sorted(places), np.int64)
    texts = dict(zip(ends.tolist(), texts_of(scored, ends), strict=True)) if len(ends) else {}
    anywhere = np.ones(len(choice.candidates), np.bool_)
    for row, inside in zip(*sample_rows(choice.candidates.uid, anywhere, sample), strict=True):
        if len(places) >= len(ends) + _AT_RANDOM:
            break
        if int(row) not in places:
            places[int(row)], texts[int(row)] = "random", sample.text(int(inside))
    rows = np.array(sorted(places), np.int64)
    facts = scored.table.rows(rows).to_pylist() if len(rows) else []
    ranks, best = choice.ranks(rows), best_columns(choice, rows)
    utilities = {name: choice.view.column(name)[rows] for name in choice.view.utilities}
    quiet = _quiet_ranks(choice, rows)
    listed: list[model.Listed] = []
    for i, (row, fact) in enumerate(zip(rows.tolist(), facts, strict=True)):
        column = best[i]
        value = float(utilities[column][i]) if column is not None else np.nan
        listed.append(
            {
                "place": cast(Any, places[row]),
                "uid": f"{fact['uid']:016x}",
                "file": scored.corpus.files[fact["file"]].path,
                "offset": fact["offset"],
                "copies": int(choice.counts[row]),
                "drop": _drop_reason(choice, fact, row),
                "rank": int(ranks[i]) or None,
                "quiet_rank": None if quiet is None else int(quiet[i]) or None,
                "utility": value if np.isfinite(value) else None,
                "text": texts[row][:_BEGINNING],
            }
        )
    return sorted(listed, key=lambda one: (one["rank"] is None, one["rank"] or 0, one["uid"]))


def _quiet_ranks(choice: Choice, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return ranks by utility alone, 0 where there is none; None where noise had no part."""
    columns = choice.view.utilities
    if len(columns) != 1 or not isinstance(choice.mechanism, Draws):
        return None
    if not choice.mechanism.temperature_of(columns[0]):
        return None
    values = choice.view.column(columns[0])
    ordered, own = np.sort(values[choice.candidates.eligible]), values[rows]
    above = len(ordered) - np.searchsorted(ordered, own, side="right")
    known = choice.candidates.eligible[rows] & np.isfinite(own)
    return np.where(known, above + 1, 0)


def best_columns(choice: Choice, rows: NDArray[np.int64]) -> list[str | None]:
    """Return for each row the utility by which it stands highest: that of its target."""
    columns = choice.view.utilities
    if len(columns) < 2:
        return [columns[0] if columns else None] * len(rows)
    above = np.empty((len(columns), len(rows)), np.int64)
    for i, column in enumerate(columns):
        values = choice.view.column(column)
        ordered = np.sort(values[choice.candidates.eligible])
        above[i] = len(ordered) - np.searchsorted(ordered, values[rows], side="right")
    return [columns[int(i)] for i in np.argmin(above, axis=0)]


def _drop_reason(choice: Choice, fact: dict[str, Any], row: int) -> str | None:
    if fact["drop"] is not None:
        return str(fact["drop"])
    if choice.candidates.eligible[row]:
        return None
    reasons = [reason for reason in choice.dropped if reason.startswith(("excluded", "duplicate"))]
    return " or ".join(reasons) or None


def why(
    scored: Scored, choice: Choice, text: str, column: str
) -> tuple[list[model.Driver], float | None]:
    """Return the largest contributions to a document's utility, and the sum of all others."""
    view = choice.view
    terms = view.terms(column) if isinstance(view, Combined) else [(1.0, column)]
    shares: dict[str, float] = {}
    for weight, name in terms:
        for fitted in scored.fitted:
            if name in [item.name for item in fitted.columns]:
                for label, value in fitted.explain(text, name):
                    shares[label] = shares.get(label, 0.0) + weight * value
    if not shares:
        return [], None
    ordered = sorted(shares.items(), key=lambda share: (-abs(share[1]), share[0]))
    drivers: list[model.Driver] = [
        {"label": label, "contribution": value} for label, value in ordered[:_DRIVERS]
    ]
    return drivers, float(sum(value for _, value in ordered[_DRIVERS:]))
