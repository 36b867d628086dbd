"""Reasons to distrust results, with every threshold in one place.

The limits are ours, chosen to speak up rarely; each sentence gives the numbers it rests on.
Sentences are plain text; what comes from data in them is made visible, not yet escaped. Reasons
that only the running application can see (a target that lies in the pool, a missing field) come
in as `warnings` of the records and stand first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dataworth.results import attribution as of_attribution
from dataworth.results import comparison as of_comparison
from dataworth.results import format as f
from dataworth.results import judgement as of_judgement
from dataworth.results import selection as of_selection
from dataworth.results.inert import visible
from dataworth.results.reading import Reading, seeds
from dataworth.results.verdict import beats_random, in_words, short_name

BAD_SHARE = 0.001  # of the lines
FEW_TARGET_DOCUMENTS = 100  # that a gain is measured on
SMALL_TARGET = 20_000  # bytes, below which n-grams are few
EFFECTIVE_SHARE = 0.01  # effective sample size, of the documents
LENGTH_CORRELATION = 0.3
LENGTH_RATIO = 3.0  # of the medians of selection and pool
ONE_VALUE_SHARE = 0.9  # of the selection that has one value of a field
COPIES_SHARE = 0.01
FEW_SEEDS = 3
MANY_EPOCHS = 4.0  # more passes over the same text than this are worth less and less
MANY_INTERVALS = 20  # of 95 %: one in twenty errs
FEW_POINTS = 8  # of a statistic that is told as a finding
ROUGH_POINTS = 10  # of a correlation that is shown
UNSOLVED = 0.1  # of a query: a residual that is named
LONG = 3  # times the mean length, from which documents are called long
NEARLY_ALL = 0.95  # of the documents have a positive score


def selection(metrics: of_selection.Metrics) -> list[str]:
    """Return the doubts about a selection; empty when nothing stands out."""
    parts = (_accounting(metrics), _targets(metrics), _weights(metrics), _shape(metrics))
    return _once(metrics.get("warnings"), *parts)


def judgement(metrics: of_judgement.Metrics) -> list[str]:
    """Return the doubts about a judged selection, its own warnings first."""
    measured = [t for t in metrics.get("targets") or [] if _known(t.get("gain"))]
    return _once(metrics.get("warnings"), _halves(measured), _shape(metrics))


def comparison(record: of_comparison.Comparison, reading: Reading) -> list[str]:
    """Return the doubts about a comparison, its own warnings first."""
    parts = (_evidence(record, reading), _repeats(record), _laws(record), _few_points(record))
    return _once(record.get("warnings"), *parts, _left_out(record))


def attribution(record: of_attribution.Attribution) -> list[str]:
    """Return the doubts about an attribution; the first holds for every one."""
    return _once([], _estimates(record), _queries(record))


def _once(warnings: Sequence[str] | None, *parts: Iterator[str]) -> list[str]:
    texts = [visible(text, 400) for text in warnings or []]
    return list(dict.fromkeys([*texts, *(text for part in parts for text in part)]))


def some(items: Sequence[str], most: int = 3) -> str:
    """Return the first items: "a; b; c; and 4 more"."""
    more = len(items) - most
    return "; ".join(items[:most]) + (f"; and {more} more" if more > 0 else "")


# A selection


def _accounting(metrics: of_selection.Metrics) -> Iterator[str]:
    accounting = metrics["accounting"]
    if not accounting["kept"]["documents"]:
        yield "Nothing was selected."
    budget = accounting.get("budget")
    if budget and budget.get("note"):
        yield visible(str(budget["note"]), 400)
    bad = sum((accounting.get("bad") or {}).values())
    lines = accounting["documents"] + bad
    if lines and bad / lines > BAD_SHARE:
        yield f"Set aside as bad: {f.counted(bad, 'line')} ({f.share(bad, lines)})."
    if budget and budget.get("estimated"):
        yield "Tokens are estimated (bytes / 4), not counted: no tokenizer was given."


def _targets(metrics: of_selection.Metrics) -> Iterator[str]:
    targets = metrics.get("targets") or []
    if not targets:
        yield "No target was given, so nothing says how near the selection comes to one."
    if not metrics["accounting"]["kept"]["documents"]:
        return
    measured = [target for target in targets if _known(target.get("gain"))]
    unknown = [visible(t["name"], 40) for t in targets if not _known(t.get("gain"))]
    chance = [
        f"{visible(target['name'], 40)} {in_words(gain)}"
        for target in measured
        if (gain := target.get("gain")) and not beats_random(gain)
    ]
    if chance:
        yield f"No nearer the target than chance. {some(chance)}."
    if unknown:
        yield f"The gain was not measured for {some(unknown)}."
    yield from _halves(measured)


def _known(gain: of_selection.Gain | None) -> bool:
    return beats_random(gain) is not None


def _halves(
    measured: Sequence[of_selection.Target] | Sequence[of_judgement.Target],
) -> Iterator[str]:
    """Yield a line for gains measured on the examples that chose, and one for gains on little."""
    seen, few = [], []
    for target in measured:
        gain, name = target.get("gain") or {"value": None}, visible(target["name"], 40)
        documents = gain.get("documents")
        if not gain.get("held_out"):
            seen.append(name)
        if documents is not None and documents < FEW_TARGET_DOCUMENTS:
            few.append(f"{name} {f.count(documents)}")
    if seen:
        yield f"The gain was measured on the examples that chose, for {some(seen)}."
    if few:
        yield f"The gain was measured on few target documents: {some(few)}."


def few_effective(utility: of_selection.Utility) -> bool:
    """Tell whether the weights of a utility rest on few of its documents."""
    effective = f.finite(utility.get("effective_sample_size"))
    whole = f.finite(utility.get("effective_of"))
    return effective is not None and bool(whole) and effective < EFFECTIVE_SHARE * (whole or 0)


def goes_with_length(correlation: float | None) -> bool:
    """Tell whether a correlation of a utility with length is worth a warning."""
    return abs(f.finite(correlation) or 0.0) >= LENGTH_CORRELATION


def _weights(metrics: of_selection.Metrics) -> Iterator[str]:
    utilities = metrics.get("utilities") or []
    few = [
        f"{short_name(one)} {f.real(one.get('effective_sample_size'))} "
        f"of {f.count(one.get('effective_of'))}"
        for one in utilities
        if few_effective(one)
    ]
    by_length = [
        f"{short_name(one)} {f.real(one.get('spearman_length'), signed=True)}"
        for one in utilities
        if goes_with_length(one.get("spearman_length"))
    ]
    if few:
        yield (
            "The sampling weights rest on few documents, so that sampling is nearly top-k. "
            f"Effective sample size: {some(few)}."
        )
    if by_length:
        yield (
            "Utility goes with length: long documents are preferred where the correlation is "
            f"positive, short ones where it is negative. Spearman: {some(by_length)}."
        )


def _shape(metrics: of_selection.Metrics | of_judgement.Metrics) -> Iterator[str]:
    """Yield a line for lengths and for groups that are far from those of the pool."""
    lengths = metrics.get("lengths")
    median = (lengths.get("median") if lengths else None) or {}
    before, after = f.finite(median.get("pool")), f.finite(median.get("selection"))
    if before and after and not 1 / LENGTH_RATIO < after / before < LENGTH_RATIO:
        unit = visible(str(lengths["unit"] if lengths and "unit" in lengths else "units"), 20)
        yield (
            f"The median document has {f.short(after)} {unit}, in the pool {f.short(before)}: "
            "the selection is of another length."
        )
    for composition in metrics.get("composition") or []:
        parts = composition["parts"]
        before_all = sum(part["pool"]["documents"] for part in parts) or 1
        after_all = sum(part["selection"]["documents"] for part in parts) or 1
        for part in parts:
            share_after = part["selection"]["documents"] / after_all
            share_before = part["pool"]["documents"] / before_all
            if share_after >= ONE_VALUE_SHARE and share_before < share_after / 2:
                field = visible(composition["field"], 40)
                yield (
                    f"{f.share(share_after)} of the selection is {field} "
                    f"{visible(str(part['value']), 40)} ({f.share(share_before)} of the pool)."
                )


# A judgement


def judged(metrics: of_judgement.Metrics) -> list[str]:
    """Return the warnings that a judgement keeps with its numbers, the gravest first."""
    if not metrics["selection"]["documents"]:
        return ["Nothing was selected: there is nothing to measure."]
    found: list[str] = []
    for check in metrics.get("contamination", []):
        found += _contaminated(check)
    found += _pool(metrics)
    for target in metrics.get("targets", []):
        found += _judged_target(target)
    found += _copies(metrics)
    for utility in metrics.get("utilities", []):
        if few_effective(utility):
            found.append(
                f"The weights of {utility['column'].removeprefix('utility:')} rest on about "
                f"{utility['effective_sample_size']:,.0f} of {utility['effective_of']:,} "
                "documents: sampling by them is close to taking the best."
            )
    return found


def _contaminated(check: of_judgement.Contamination) -> Iterator[str]:
    held, exact = check.get("held") or 0, check.get("exact") or 0
    if not held and not exact:
        return
    equal = f" ({exact:,} to the letter)" if exact else ""
    yield (
        f"The selection holds {held:,} of {check['documents']:,} documents of the validation set "
        f"{check['name']} by half or more{equal}: a model trained on it has seen them."
    )


def _pool(metrics: of_judgement.Metrics) -> Iterator[str]:
    pool, distinct = metrics.get("pool"), metrics["selection"]["distinct"]
    found = None if pool is None else pool.get("found")
    if found is None or found == distinct:
        return
    missing = "None" if not found else f"Only {found:,}"
    yield (
        f"{missing} of the {distinct:,} different documents of the selection "
        f"{'is' if found == 1 else 'are'} in the pool: is it the one that was selected from, read "
        "by the same text field? Texts that were changed since then count as missing."
    )


def _judged_target(target: of_judgement.Target) -> Iterator[str]:
    name, size, gain = target["name"], target.get("bytes"), target.get("gain")
    if size is not None and size < SMALL_TARGET:
        yield (
            f"The target {name} is small ({size:,} bytes): its n-gram distribution is rough, and "
            "so is what is measured against it."
        )
    if gain is not None and beats_random(gain) is False:
        yield (
            f"For {name} the selection is no nearer than random documents are: gain "
            f"{gain['value']:.3f} nats per word, where random selections spread by "
            f"{gain.get('random_spread') or 0.0:.3f}."
        )


def _copies(metrics: of_judgement.Metrics) -> Iterator[str]:
    copies = metrics.get("duplicates")
    if copies is None:
        return
    if copies["exact_share"] > COPIES_SHARE and not copies.get("intended"):
        yield (
            f"{copies['exact']:,} documents ({copies['exact_share']:.1%}) have a text that came "
            "before in the selection."
        )
    near = copies.get("near_share")
    if near is not None and near > COPIES_SHARE:
        yield f"{copies.get('near'):,} texts ({near:.1%}) are nearly a text that came before."


# A comparison


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _evidence(record: of_comparison.Comparison, reading: Reading) -> Iterator[str]:
    if not (record.get("trainings") or []):
        yield "Nothing was trained."
        return
    number = len(seeds(record))
    if number < FEW_SEEDS:
        yield (
            f"Only {f.counted(number, 'seed')}: with fewer than {FEW_SEEDS}, chance can hardly be "
            "told from a difference."
        )
    intervals = sum(
        f.finite(row.get("low")) is not None
        for board in reading.boards.values()
        for row in board["rows"]
    )
    if intervals >= MANY_INTERVALS:
        yield (
            f"{intervals} intervals of 95 %: if nothing differed, about {intervals * 0.05:.0f} "
            "would still seem to. A lone narrow win means little."
        )


def _repeats(record: of_comparison.Comparison) -> Iterator[str]:
    most: dict[str, float] = {}
    for training in record.get("trainings") or []:
        name, epochs = training["selection"], f.finite(training.get("epochs")) or 0.0
        most[name] = max(most.get(name, 0.0), epochs)
    many = [
        f"{visible(n, 40)} {f.real(epochs)}" for n, epochs in most.items() if epochs > MANY_EPOCHS
    ]
    if many:
        yield f"Selections were repeated in training. Passes over the text: {some(many)}."


def _laws(record: of_comparison.Comparison) -> Iterator[str]:
    outside = [
        f"{visible(scaling['selection'], 40)} ({visible(scaling['target'] or 'all targets', 30)})"
        for scaling in record.get("scaling") or []
        if (scaling.get("multiplier") or {}).get("outside")
    ]
    if outside:
        number = len(outside)
        yield (
            f"{f.counted(number, 'compute multiplier')} {_were(number)} read outside the measured "
            f"range: {some(outside)}."
        )


def _few_points(record: of_comparison.Comparison) -> Iterator[str]:
    few = [p["n"] for p in record.get("predictions") or [] if p["n"] < ROUGH_POINTS]
    if few:
        yield f"Correlations of cheap metrics rest on as few as {f.counted(min(few), 'point')}."


def _left_out(record: of_comparison.Comparison) -> Iterator[str]:
    number = len(record.get("gave_up") or [])
    if number:
        yield (
            f"To fit the time, {f.counted(number, 'thing')} of the plan {_were(number)} left "
            'out: see "Left out".'
        )


# An attribution


def _estimates(record: of_attribution.Attribution) -> Iterator[str]:
    yield (
        "Scores are estimates, good for ranks more than for amounts: they say what a small step "
        "or one more copy would do to this very model. Only training again tells."
    )
    if record["solver"] == "identity":
        yield (
            "Plain inner products of gradients prefer long and unusual documents: another solver "
            "(ekfac) weighs directions by their curvature."
        )
    residual = record.get("residual")
    if residual is not None and residual > UNSOLVED:
        yield (
            f"The solver stopped early: what is left to be solved, the residual, is "
            f"{f.real(residual)} times as long as the query's gradient. The scores are not quite "
            "those of the curvature; more steps come nearer."
        )
    shown = [doc for query in record["queries"] for doc in query["helpful"]]
    mean = record["tokens"] / max(record["documents"], 1)
    longer = sum(doc["tokens"] for doc in shown) / len(shown) / mean if shown and mean else 0.0
    if longer > LONG:
        yield (
            f"The most helpful documents have {f.real(longer)} times as many tokens as the "
            "mean document. To rank by the share of a token, use per=token."
        )


def _queries(record: of_attribution.Attribution) -> Iterator[str]:
    queries, common = record["queries"], record["common"]
    for query in queries:
        if query["share_positive"] > NEARLY_ALL:
            yield (
                f"Query {query['number']}: nearly all documents help "
                f"({f.share(query['share_positive'])}). What sets them apart is small beside what "
                "they share."
            )
    if common and len(queries) > 2 and common[0][1] > len(queries) / 2:
        yield (
            f"One document is at the top of {f.count(common[0][1])} of {f.count(len(queries))} "
            "queries: it may be loud rather than to the point."
        )
