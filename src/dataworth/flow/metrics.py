"""A selection in numbers: what is shown at the end of a run, in `metrics.json` and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fetch import fetch_texts
from dataworth.corpus.fields import Fields
from dataworth.engine.table import Table
from dataworth.flow.choosing import Choice, sample_rows
from dataworth.flow.scoring import Scored
from dataworth.judge.kl import MEASURED, kl_reduction
from dataworth.judge.shifts import Shift, ngram_shifts
from dataworth.judge.weights import effective_sample_size, length_correlation
from dataworth.mechanism.base import split_name
from dataworth.mechanism.budget import parse_budget
from dataworth.mechanism.expression import Combined
from dataworth.mechanism.gumbel_top_k import GumbelTopK
from dataworth.mechanism.per_target import PerTarget
from dataworth.report import model
from dataworth.report.histogram import histogram

_BINS = 60
_VALUES = 200  # of a group field, the rest is summed
_EXCERPT = 4000
_EACH = 6  # sample documents of a kind
_DRIVERS = 12


@dataclass(frozen=True)
class SelectionText:
    """Documents of the selection that the text measures look at, and how they were had."""

    documents: Documents
    how: str


def text_of_selection(scored: Scored, choice: Choice) -> SelectionText:
    """The chosen documents within the pool's random sample: a random part of the selection."""
    candidates = choice.candidates
    rows, inside = sample_rows(candidates.uid, choice.counts > 0, scored.survey.sample)
    documents = scored.survey.sample.take(inside[choice.counts[rows] > 0])
    return SelectionText(documents, f"{len(documents):,} chosen documents in the pool's sample")


def measure(
    scored: Scored,
    choice: Choice,
    text: SelectionText,
    *,
    run: model.Run,
    seed: int,
) -> model.Metrics:
    """All metrics of a choice."""
    table, counts = scored.table, choice.counts
    columns = choice.view.utilities
    taken = counts > 0
    metrics: model.Metrics = {
        "metrics_version": model.METRICS_VERSION,
        "run": run,
        "accounting": _accounting(scored, choice),
        "utilities": [_utility(scored, choice, column) for column in columns],
        "targets": [_target(scored, choice, name, text, seed) for name in scored.targets.names],
        "composition": [_composition(table, choice, name) for name in scored.corpus.fields.groups],
        "lengths": _lengths(choice.candidates.column("text_bytes"), taken),
        "samples": _samples(scored, choice),
        "warnings": warnings(scored, choice),
        "notes": list(choice.notes),
    }
    gained, lost = ngram_shifts(scored.survey.sample, text.documents)
    if gained or lost:
        metrics["ngrams"] = {
            "gained": [_shift(item) for item in gained],
            "lost": [_shift(item) for item in lost],
            "measured": f"on up to 3 MB of the pool's random sample and of {text.how}; counts "
            "plus one; n-grams in three documents or more",
        }
    return metrics


def _accounting(scored: Scored, choice: Choice) -> model.Accounting:
    tally, counts = scored.table.tally, choice.counts
    text_bytes = choice.candidates.column("text_bytes")
    many = counts.astype(np.int64)
    made, tokens = choice.cut, int((choice.tokens * many).sum())
    asked = parse_budget(choice.settings.budget)
    note = made.reason if made.short else None
    budget: model.Budget = {
        "asked": choice.settings.budget,
        "unit": "tokens" if asked.unit == "share" else asked.unit,
        "amount": float(made.budget.amount),
        "met": float(made.used),
        "estimated": not choice.exact,
        "note": note,
    }
    return {
        "documents": tally.documents,
        "blank": tally.blank,
        "bad": dict(tally.bad),
        "dropped": choice.dropped,
        "eligible": int(choice.candidates.eligible.sum()),
        "pool": {
            "documents": tally.documents,
            "tokens": int(choice.tokens.sum()),
            "bytes": int(text_bytes.sum()),
        },
        "kept": {
            "documents": made.distinct,
            "tokens": tokens,
            "bytes": int((text_bytes * many).sum()),
        },
        "copies": made.documents if made.documents != made.distinct else None,
        "budget": budget,
    }


def temperature_of(choice: Choice, column: str) -> float | None:
    """The temperature that a utility was sampled with; None for mechanisms without one."""
    mechanism = choice.mechanism
    inner = mechanism.inner if isinstance(mechanism, PerTarget) else mechanism
    return inner.temperature_of(column) if isinstance(inner, GumbelTopK) else None


def _utility(scored: Scored, choice: Choice, column: str) -> model.Utility:
    values = choice.view.column(column)
    eligible, taken = choice.candidates.eligible, choice.counts > 0
    step, target = split_name(column)
    temperature = temperature_of(choice, column)
    of_pool = values[eligible]
    # Weights are what sampling has: an order without noise has none.
    effective = effective_sample_size(of_pool, temperature) if temperature else None
    pearson, spearman = length_correlation(
        np.where(eligible, values, np.nan),
        choice.candidates.column("text_bytes"),
        choice.candidates.uid,
    )
    series = {"pool": of_pool, "selection": values[taken]}
    on_target = _scores_of_target(scored, column, target)
    if on_target is not None:
        series["target"] = on_target
    return {
        "column": column,
        "step": step,
        "target": target or None,
        "unit": unit_of(scored, choice, column),
        "histogram": histogram(**series, bins=_BINS),
        "threshold": _threshold(choice, values),
        "effective_sample_size": effective,
        "effective_of": int(eligible.sum()),
        "pearson_length": pearson,
        "spearman_length": spearman,
        "temperature": temperature,
        "temperature_from": None
        if temperature is None
        else ("found from the data" if column in choice.temperatures else "given"),
    }


def unit_of(scored: Scored, choice: Choice, column: str) -> str:
    """The unit of a utility, as its step declares it."""
    for fitted in scored.fitted:
        for item in fitted.columns:
            if item.name == column:
                return item.unit
    return f"{choice.settings.scale} scale" if choice.settings.scale != "raw" else "combined"


def _threshold(choice: Choice, values: NDArray[np.float64]) -> float | None:
    """The utility of the last document taken, where no noise or quota blurs it."""
    last = choice.cut.last
    if last is None or choice.mechanism_text.split("(")[0] not in ("top_k", "threshold"):
        return None
    return None if choice.cut.passed_over else float(values[last])


def _scores_of_target(scored: Scored, column: str, target: str) -> NDArray[np.float64] | None:
    """The utility of the target's own documents: held-out ones where there are any."""
    held = scored.targets.held_out
    documents = held.get(target) if target in held else scored.targets.fit.get(target)
    for fitted in scored.fitted:
        if documents is not None and column in [item.name for item in fitted.columns]:
            values = fitted.annotate(documents).column(column)
            return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)
    return None


def _target(
    scored: Scored, choice: Choice, name: str, text: SelectionText, seed: int
) -> model.Target:
    held_out = name in scored.targets.held_out
    documents = scored.targets.held_out[name] if held_out else scored.targets.fit[name]
    whole = len(scored.targets.fit[name]) + len(scored.targets.held_out.get(name, ()))
    found: model.Target = {"name": name, "documents": whole}
    mechanism = choice.mechanism
    if isinstance(mechanism, PerTarget):
        targets = {split_name(column)[1]: column for column in choice.view.utilities}
        found["proportion"] = mechanism.shares(targets).get(name)
    if len(text.documents):
        made = kl_reduction(documents, scored.survey.sample, text.documents, seed=seed)
        found["kl_reduction"] = {
            "value": made.value,
            "bound": made.bound,
            "random": 0.0,
            "random_spread": made.random_spread,
            "random_draws": made.draws,
            "held_out": held_out,
            "documents": len(documents),
            "measured": f"{MEASURED}; on {text.how}",
        }
    return found


def _composition(table: Table, choice: Choice, name: str) -> model.Composition:
    codes, values = table.codes(name)
    many = choice.counts.astype(np.float64)
    tokens = choice.tokens.astype(np.float64)
    size = len(values)

    def sums(weights: NDArray[np.float64] | None) -> list[int]:
        return [int(x) for x in np.bincount(codes, weights, minlength=size)]

    pool_documents, pool_tokens = sums(None), sums(tokens)
    kept_documents, kept_tokens = sums((many > 0).astype(np.float64)), sums(tokens * many)
    parts: list[model.Part] = [
        {
            "value": value,
            "pool": {"documents": pool_documents[i], "tokens": pool_tokens[i]},
            "selection": {"documents": kept_documents[i], "tokens": kept_tokens[i]},
        }
        for i, value in enumerate(values)
    ]
    parts.sort(key=lambda part: -(part["pool"]["tokens"] or 0))
    made: model.Composition = {"field": name, "parts": parts[:_VALUES]}
    rest = parts[_VALUES:]
    if rest:
        made["rest_values"] = len(rest)
        made["rest"] = {
            "value": None,
            "pool": _total(part["pool"] for part in rest),
            "selection": _total(part["selection"] for part in rest),
        }
    return made


def _total(amounts: Any) -> model.Amount:
    documents = tokens = 0
    for amount in amounts:
        documents += amount["documents"]
        tokens += amount["tokens"] or 0
    return {"documents": documents, "tokens": tokens}


def _lengths(lengths: NDArray[np.int64], taken: NDArray[np.bool_]) -> model.Lengths | None:
    if not len(lengths):
        return None
    made: model.Lengths = {
        "unit": "bytes",
        "histogram": histogram(pool=lengths, selection=lengths[taken], bins=_BINS, log=True),
        "median": {"pool": float(np.median(lengths))},
    }
    if taken.any():
        made["median"]["selection"] = float(np.median(lengths[taken]))
    return made


def warnings(scored: Scored, choice: Choice) -> list[str]:
    """Reasons for distrust that the run itself knows."""
    found = []
    if not choice.cut.distinct:
        found.append("Nothing was selected: see the drop reasons and the budget.")
    if choice.cut.capped:
        found.append("Quotas held back: " + ", ".join(choice.cut.capped) + ".")
    for name in scored.targets.names:
        size = int(scored.targets.fit[name].text_bytes.sum())
        if size < 20_000:
            found.append(
                f"The target {name} is small ({size:,} bytes to learn from): its n-gram model is "
                "rough; more examples make a better selection."
            )
    return found


def _shift(item: Shift) -> model.Shift:
    return {
        "ngram": item.ngram,
        "pool": item.pool,
        "selection": item.selection,
        "log_ratio": item.log_ratio,
    }


def _samples(scored: Scored, choice: Choice) -> model.Samples:
    """Documents at the top of the order, around the cut, at its end, and dropped ones."""
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
        values = np.where(choice.candidates.eligible, choice.view.column(columns[0]), np.inf)
        few = min(_EACH, len(values))
        lowest = np.sort(np.argpartition(values, few - 1)[:few])
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


def describe_rows(scored: Scored, choice: Choice, rows: NDArray[np.int64]) -> list[model.Sample]:
    """Documents of the table as a person sees them: text, place, scores, reason, what drove it."""
    if not len(rows):
        return []
    table = scored.table
    facts = table.rows(rows).to_pylist()
    texts = texts_of(scored, rows)
    ranks = choice.ranks(rows)
    best = best_columns(choice, rows)
    own = set(table.utilities)
    shown = {name: choice.view.column(name)[rows] for name in choice.view.utilities}
    out: list[model.Sample] = []
    for i, (fact, text) in enumerate(zip(facts, texts, strict=True)):
        utilities = {name: fact[name] for name in table.utilities}
        utilities |= {name: float(values[i]) for name, values in shown.items() if name not in own}
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


def best_columns(choice: Choice, rows: NDArray[np.int64]) -> list[str | None]:
    """For each row the utility by which it stands highest: the target that it was chosen for."""
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
    """What drove a document's utility most, and the sum of all else."""
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


def texts_of(scored: Scored, rows: NDArray[np.int64]) -> list[str]:
    """The texts of some rows of the table, read from the pool."""
    table, corpus = scored.table, scored.corpus
    pieces = ["piece"] if corpus.fields.split_words is not None else []
    places = table.rows(rows, ["file", "offset", "bytes", *pieces])
    corpus.check_unchanged(places["file"].unique().to_pylist())
    units = np.searchsorted(table.firsts, rows, side="right") - 1
    texts: list[str] = [""] * len(rows)
    for unit in np.unique(units):
        inside = np.flatnonzero(units == unit)
        part = places.take(inside)
        numbers = np.asarray(part["piece"], np.int64) if pieces else None
        found = fetch_texts(
            corpus.units[int(unit)],
            np.asarray(part["offset"], np.int64),
            np.asarray(part["bytes"], np.int64),
            corpus.fields,
            pieces=numbers,
            storage_options=corpus.storage_options,
        )
        for place, text in zip(inside, found, strict=True):
            texts[place] = text
    return texts


def load_text(folder: Path, names: Sequence[str], limit: int, pool: Corpus) -> Documents | None:
    """Documents of written shards, for measuring: about the first `limit` bytes of text."""
    fields = Fields() if pool.fields.split_words else replace(pool.fields, groups=(), id=None)
    corpus = Corpus.open([folder / name for name in names], fields=fields)
    batches, held = [], 0
    for unit in corpus.units:
        for block in corpus.blocks(unit):
            batches.append(block.documents)
            held += int(block.documents.text_bytes.sum())
            if held >= limit:
                return Documents.concatenate(batches)
    return Documents.concatenate(batches) if batches else None
