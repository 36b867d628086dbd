"""A selection in numbers: what is shown at the end of a run, in `metrics.json` and the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.flow import distrust
from dataworth.flow.choosing import Choice
from dataworth.flow.inspect import fields_there
from dataworth.flow.samples import documents, samples
from dataworth.flow.scoring import Scored
from dataworth.measures.gain import MEASURED, gain
from dataworth.measures.kl import kl_reduction
from dataworth.measures.shifts import ngram_shifts
from dataworth.measures.weights import effective_sample_size, length_correlation
from dataworth.mechanism.base import Draws, TakesTurns, cuts_utility, split_name
from dataworth.mechanism.budget import parse_budget
from dataworth.results import doubts
from dataworth.results import selection as model
from dataworth.results.histogram import histogram
from dataworth.results.plain import plain
from dataworth.table.table import Table

T = TypeVar("T")

_BINS = 60
_FIRST = 1_000  # documents that are looked at for an id
_FRAGMENT = 40  # bytes
_MANY = 0.05  # of the selection
_VALUES = 200  # of a group field, the rest is summed


@dataclass(frozen=True)
class SelectionText:
    """Documents of the selection that the text measures look at, and how they were had."""

    documents: Documents
    how: str


def measure(
    scored: Scored,
    choice: Choice,
    text: SelectionText,
    *,
    run: model.Run,
    seed: int,
    threads: int = 1,
) -> model.Metrics:
    """Compute all metrics of a choice, independent ones side by side in `threads`."""
    table, columns = scored.table, choice.view.utilities
    groups = scored.corpus.fields.groups
    with ThreadPoolExecutor(threads) as pool:

        def each(work: Callable[[str], T], names: Iterable[str]) -> list[Future[T]]:
            return [pool.submit(work, name) for name in names]

        # The longest first. What they read is fixed, so their order changes nothing.
        shown = pool.submit(samples, scored, choice)
        listed = pool.submit(documents, scored, choice)
        utilities = each(lambda name: utility_facts(scored, choice, name), columns)
        ngrams = pool.submit(ngrams_of, scored.survey.sample, text)
        targets = each(lambda name: _target(scored, choice, name, text, seed), scored.targets.names)
        lengths = pool.submit(lengths_of, choice.candidates.column("text_bytes"), choice.counts > 0)
        composition = each(lambda name: _composition(table, choice, name), groups)
        metrics: model.Metrics = {
            "metrics_version": model.METRICS_VERSION,
            "run": run,
            "accounting": _accounting(scored, choice),
            "utilities": [part.result() for part in utilities],
            "targets": [part.result() for part in targets],
            "composition": [part.result() for part in composition],
            "lengths": lengths.result(),
            "samples": shown.result(),
            "documents": listed.result(),
            "warnings": warnings(scored, choice),
            "notes": list(choice.notes),
        }
        found = ngrams.result()
    if found is not None:
        metrics["ngrams"] = found
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
    """Return the temperature that a utility was sampled with; None for mechanisms without one."""
    mechanism = choice.mechanism
    return mechanism.temperature_of(column) if isinstance(mechanism, Draws) else None


def utility_facts(scored: Scored, choice: Choice, column: str) -> model.Utility:
    """Describe a utility: its distribution, effective sample size and correlation with length."""
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
    """Return the unit of a utility, as its step declares it."""
    for fitted in scored.fitted:
        for item in fitted.columns:
            if item.name == column:
                return item.unit
    return f"{choice.settings.scale} scale" if choice.settings.scale != "raw" else "combined"


def _threshold(choice: Choice, values: NDArray[np.float64]) -> float | None:
    """Return the utility of the last document taken, where no noise or quota blurs it."""
    last = choice.cut.last
    if last is None or not cuts_utility(choice.mechanism):
        return None
    return None if choice.cut.passed_over else float(values[last])


def _scores_of_target(scored: Scored, column: str, target: str) -> NDArray[np.float64] | None:
    """Return the utility of the target's own documents: held-out ones where there are any."""
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
    text = part_for(choice, name, text)
    whole = len(scored.targets.fit[name]) + len(scored.targets.held_out.get(name, ()))
    found: model.Target = {"name": name, "documents": whole}
    mechanism = choice.mechanism
    if isinstance(mechanism, TakesTurns):
        targets = {split_name(column)[1]: column for column in choice.view.utilities}
        found["proportion"] = mechanism.shares(targets).get(name)
    if len(text.documents):
        found["gain"] = gain_on(documents, scored.survey.sample, text, seed=seed, held_out=held_out)
    return found


def part_for(choice: Choice, name: str, text: SelectionText) -> SelectionText:
    """Return the text of what was chosen for one target, where targets took turns; else all."""
    part = choice.parts.get(name)
    if part is None:
        return text
    mine = np.isin(text.documents.uid, choice.candidates.uid[part])
    documents = text.documents.take(np.flatnonzero(mine))
    return SelectionText(documents, f"its part of {text.how}")


def gain_on(
    target: Documents, pool: Documents, text: SelectionText, *, seed: int, held_out: bool
) -> model.Gain:
    """Return the gain for one target; `held_out`: whether nothing was chosen with `target`."""
    made = gain(target, pool, text.documents, seed=seed)
    return {
        "value": made.value,
        "bound": made.bound,
        "random": 0.0,
        "random_spread": made.random_spread,
        "random_draws": made.draws,
        "kl_reduction": kl_reduction(target, pool, text.documents, seed=seed).value,
        "held_out": held_out,
        "documents": len(target),
        "measured": f"{MEASURED}; on up to 4 MB of {text.how}",
    }


def _composition(table: Table, choice: Choice, name: str) -> model.Composition:
    codes, values = table.codes(name)
    counts = choice.counts.astype(np.float64)
    tokens = choice.tokens.astype(np.float64)
    size = len(values)

    def sums(weights: NDArray[np.float64] | None) -> list[int]:
        return [int(x) for x in np.bincount(codes, weights, minlength=size)]

    kept = (counts > 0).astype(np.float64)
    return composition(
        name,
        values,
        pool=(sums(None), sums(tokens)),
        selection=(sums(kept), sums(tokens * counts)),
    )


Sums = tuple[Sequence[int], Sequence[int]]
"""(documents, tokens) of each value of a field."""


def composition(
    name: str, values: Sequence[str | None], *, pool: Sums, selection: Sums
) -> model.Composition:
    """Return the parts by a field, those with most of the pool first; the rest is summed."""
    parts: list[model.Part] = [
        {
            "value": value,
            "pool": {"documents": pool[0][i], "tokens": pool[1][i]},
            "selection": {"documents": selection[0][i], "tokens": selection[1][i]},
        }
        for i, value in enumerate(values)
    ]
    parts.sort(key=lambda part: -(part["pool"]["tokens"] or 0))
    record: model.Composition = {"field": name, "parts": parts[:_VALUES]}
    rest = parts[_VALUES:]
    if rest:
        record["rest_values"] = len(rest)
        record["rest"] = {
            "value": None,
            "pool": _total(part["pool"] for part in rest),
            "selection": _total(part["selection"] for part in rest),
        }
    return record


def _total(amounts: Any) -> model.Amount:
    documents = tokens = 0
    for amount in amounts:
        documents += amount["documents"]
        tokens += amount["tokens"] or 0
    return {"documents": documents, "tokens": tokens}


def lengths_of(lengths: NDArray[np.int64], taken: NDArray[np.bool_]) -> model.Lengths | None:
    """Return histogram and median of text bytes, in the pool and in the selection."""
    if not len(lengths):
        return None
    record: model.Lengths = {
        "unit": "bytes",
        "histogram": histogram(pool=lengths, selection=lengths[taken], bins=_BINS, log=True),
        "median": {"pool": float(np.median(lengths))},
    }
    if taken.any():
        record["median"]["selection"] = float(np.median(lengths[taken]))
    return record


def warnings(scored: Scored, choice: Choice) -> list[str]:
    """Return the reasons for distrust that the run itself knows."""
    lines = []
    if not choice.cut.distinct:
        lines.append("Nothing was selected: see the drop reasons and the budget.")
    if choice.cut.capped:
        lines.append("Quotas held back: " + ", ".join(choice.cut.capped) + ".")
    lines += [*_missing_fields(scored), *_fragments(choice)]
    lines += distrust.of_choice(scored, choice, partial(_scores_of_target, scored))
    looked = scored.survey
    for kind, count in sorted(looked.unread.items()):
        lines.append(
            f"{count:,} of {looked.documents:,} chats{'' if looked.whole else ' looked at'} hold "
            f"{kind} that were not read: they are scored by their texts alone."
        )
    for name in scored.targets.names:
        size = int(scored.targets.fit[name].text_bytes.sum())
        if size < doubts.SMALL_TARGET:
            lines.append(
                f"The target {name} is small ({size:,} bytes to learn from): its n-gram model is "
                "rough; more examples make a better selection."
            )
    return lines


def _missing_fields(scored: Scored) -> list[str]:
    """Return a line for each label field that no document has: its name may be misspelt."""
    table, fields = scored.table, scored.corpus.fields
    first = np.arange(min(len(table), _FIRST))
    missing = [
        name
        for name in fields.groups
        if len(table) and all(value is None for value in table.codes(name)[1])
    ]
    if fields.id is not None and len(first):
        ids = table.rows(first, ["id"]).column("id")
        missing += [fields.id] * (ids.null_count == len(ids))
    if not missing:
        return []
    named = fields_there(scored.corpus)
    return [
        f"No document has a value in the field {name!r}{named}." for name in dict.fromkeys(missing)
    ]


def _fragments(choice: Choice) -> list[str]:
    """Return a line where far more of the selection than of the pool is a few words long."""
    short = choice.candidates.column("text_bytes") < _FRAGMENT
    taken = choice.counts > 0
    kept, share = int((short & taken).sum()), float(short[taken].mean()) if taken.any() else 0.0
    if share < _MANY or share < 1.5 * short[choice.candidates.eligible].mean():
        return []
    return [
        f"{kept:,} of the chosen documents ({share:.0%}) are shorter than {_FRAGMENT} bytes, about "
        "8 words: the score of so few says little. A least length, as a step before the method, "
        "drops them."
    ]


def ngrams_of(pool: Documents, text: SelectionText) -> model.Ngrams | None:
    """Return the n-grams that tell selection and pool's sample apart; None without any."""
    gained, lost = ngram_shifts(pool, text.documents)
    if not gained and not lost:
        return None
    return {
        "gained": plain(gained),
        "lost": plain(lost),
        "measured": f"on up to 3 MB of the pool's random sample and of {text.how}; counts "
        "plus one; n-grams in three documents or more",
    }
