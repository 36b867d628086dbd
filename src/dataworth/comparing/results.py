"""From trained models to what is shown: results, leaderboards, scaling laws, predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from dataworth.comparing.choices import Chosen
from dataworth.comparing.grid import Key
from dataworth.comparing.measures import LOSS, MEASURES, METRICS, PREDICTED, SHIFT, sign_of
from dataworth.comparing.plan import ComparePlan
from dataworth.errors import ConfigError
from dataworth.measures.scaling import compute_multiplier, fit_law
from dataworth.measures.statistics import correlation, decision_accuracy, paired
from dataworth.results.comparison import (
    Cheap,
    Leaderboard,
    Prediction,
    Result,
    Row,
    Scaling,
    Training,
)
from dataworth.results.plain import plain

Outcomes = Mapping[str, Mapping[str, Any]]
"""Results of trainings by their names."""
Facts = Mapping[str, Any]
"""A measured object as JSON."""
Values = dict[tuple[str, str, int, str, int, str], float]
"""(selection, target, seed, size, tokens, measure) → value."""


def trainings_of(
    plan: ComparePlan, chosens: Sequence[Chosen], grid: Mapping[Key, str], outcomes: Outcomes
) -> list[Training]:
    """Return one entry for each selection, its target (None: all), seed, size and tokens."""
    shared = {(item.selection, item.seed) for item in chosens if item.target is None}
    trainings: dict[tuple[Any, ...], Training] = {}
    for (selection, target, seed, size, tokens), name in grid.items():
        if name not in outcomes:
            continue
        of = None if (selection, seed) in shared else target
        key = (selection, of, seed, size, tokens)
        outcome = outcomes[name]
        if key not in trainings:
            trainings[key] = {
                "id": name,
                "selection": selection,
                "target": of,
                "seed": seed,
                "size": size,
                "parameters": outcome["parameters"],
                "tokens": outcome["tokens_seen"],
                "unique_tokens": outcome["unique_tokens"],
                "epochs": outcome["epochs"],
                "flop": 6.0 * outcome["parameters"] * outcome["tokens_seen"],
                "seconds": outcome["seconds"],
                "curve": [(int(x), float(y)) for x, y in outcome["curve"]],
            }
            if "core_seconds" in outcome:
                trainings[key]["core_seconds"] = outcome["core_seconds"]
            # As the plan has them: what was seen may be a few more, to fill the last batch.
            trainings[key]["tokens"] = tokens
    return list(trainings.values())


def results_of(
    grid: Mapping[Key, str],
    outcomes: Outcomes,
    keys: Mapping[str, Sequence[str]],
    *,
    transfer: bool = False,
) -> list[Result]:
    """Return all measures; `keys`: target → names of its evaluation sets, "" those of no target.

    `transfer`: with the mean losses on the text of the other targets, and on that from elsewhere.
    """
    results: list[Result] = []
    for (selection, target, seed, size, tokens), name in grid.items():
        if name not in outcomes:
            continue
        evaluations = outcomes[name]["evaluations"]
        values: dict[str, float] = {}
        for key in keys[target]:
            values |= evaluations[key]
        shifted = [key for key in keys[""] if key.startswith(f"{SHIFT}:")]
        for key in keys[""]:
            if key not in shifted:
                values |= {f"pool_{measure}": value for measure, value in evaluations[key].items()}
        if transfer:
            rest = [key for name in keys if name not in ("", target) for key in keys[name]]
            others = [key for key in rest if key.startswith("text:")]
            for name, sets in (("transfer_loss", others), ("shift_loss", shifted)):
                if sets:
                    values[name] = float(np.mean([evaluations[key][LOSS] for key in sets]))
        results += [
            {
                "selection": selection,
                "target": target,
                "seed": seed,
                "size": size,
                "tokens": tokens,
                "measure": measure,
                "value": value,
            }
            for measure, value in values.items()
            if math.isfinite(value)
        ]
    return results


def values_of(results: Iterable[Result]) -> Values:
    """Return results by their place."""
    return {
        (
            item["selection"],
            str(item["target"]),
            item["seed"],
            item["size"],
            item["tokens"],
            item["measure"],
        ): item["value"]
        for item in results
    }


def leaderboards(plan: ComparePlan, values: Values) -> list[Leaderboard]:
    """Rank the selections by each measure, on each target and on the mean over those that have it.

    Differences are from the baseline with the same seed; on the mean over targets they are the
    seeds' means over the targets, so that a seed is one point.
    """
    boards = []
    for size in plan.sizes:
        for tokens in plan.tokens:
            for measure in MEASURES:
                having = [
                    target
                    for target in plan.targets
                    if any(
                        (plan.baseline, target, seed, size.name, tokens, measure["name"]) in values
                        for seed in plan.seeds
                    )
                ]
                groups: list[tuple[str | None, list[str]]] = [(t, [t]) for t in having]
                if len(having) > 1:
                    groups.insert(0, (None, having))
                for target, of in groups:
                    place = (size.name, tokens, measure["name"])
                    rows = _rows(plan, values, of, place, lower=measure["lower_is_better"])
                    if rows:
                        boards.append(
                            Leaderboard(
                                target=target,
                                size=size.name,
                                tokens=tokens,
                                measure=measure["name"],
                                baseline=plan.baseline,
                                rows=rows,
                            )
                        )
    return boards


def by_seed(
    plan: ComparePlan,
    values: Values,
    selection: str,
    targets: Sequence[str],
    place: tuple[str, int, str],
) -> dict[int, float]:
    """Return a selection's mean over targets for each seed that has all of them."""
    means = {}
    for seed in plan.seeds:
        cells = [values.get((selection, target, seed, *place)) for target in targets]
        numbers = [cell for cell in cells if cell is not None]
        if numbers and len(numbers) == len(targets):
            means[seed] = float(np.mean(numbers))
    return means


def _rows(
    plan: ComparePlan,
    values: Values,
    targets: Sequence[str],
    place: tuple[str, int, str],
    *,
    lower: bool,
) -> list[Row]:
    base = by_seed(plan, values, plan.baseline, targets, place)
    rows = []
    for candidate in plan.candidates:
        own = by_seed(plan, values, candidate.name, targets, place)
        seeds = [seed for seed in own if seed in base]
        if not seeds:
            continue
        row: dict[str, Any] = {
            "selection": candidate.name,
            "mean": float(np.mean([own[seed] for seed in seeds])),
        }
        if candidate.name == plan.baseline:
            row |= dict.fromkeys(("difference", "low", "high", "p", "verdict")) | {"points": []}
        else:
            pairs = [own[seed] for seed in seeds], [base[seed] for seed in seeds]
            row |= plain(paired(*pairs, lower_is_better=lower))
        rows.append(cast(Row, row))
    return sorted(rows, key=lambda row: row["mean"] if lower else -row["mean"])


def scaling(plan: ComparePlan, values: Values, parameters: Mapping[str, int]) -> list[Scaling]:
    """Return losses over tokens (of the first size) and compute, with laws and multipliers."""
    first = plan.sizes[0].name
    axes: list[tuple[Any, list[tuple[float, str, int]]]] = []
    if len(plan.tokens) > 1:
        axes.append(("tokens", [(float(tokens), first, tokens) for tokens in plan.tokens]))
    if len(plan.sizes) > 1:
        places = [
            (6.0 * parameters[size.name] * tokens, size.name, tokens)
            for size in plan.sizes
            for tokens in plan.tokens
            if size.name in parameters
        ]
        if len(places) > 1:
            axes.append(("compute", places))
    found = []
    for axis, places in axes:
        for target in [None, *plan.targets] if len(plan.targets) > 1 else list(plan.targets):
            of = list(plan.targets) if target is None else [target]
            base = _points(plan, values, plan.baseline, of, places)
            for candidate in plan.candidates:
                points = _points(plan, values, candidate.name, of, places)
                if len({x for x, _, _ in points}) < 2:
                    continue
                own = candidate.name == plan.baseline
                found.append(
                    Scaling(
                        selection=candidate.name,
                        target=target,
                        axis=axis,
                        points=points,
                        law=_law(points),
                        multiplier=None if own else _multiplier(points, base),
                    )
                )
    return found


def _points(
    plan: ComparePlan,
    values: Values,
    selection: str,
    targets: Sequence[str],
    places: Sequence[tuple[float, str, int]],
) -> list[tuple[float, float, int]]:
    return [
        (x, loss, seed)
        for x, size, tokens in places
        for seed, loss in by_seed(plan, values, selection, targets, (size, tokens, LOSS)).items()
    ]


def _law(points: Sequence[tuple[float, float, int]]) -> Facts | None:
    x, loss, seeds = zip(*points, strict=True)
    try:
        law = fit_law(x, loss, seeds=seeds)
    except ConfigError:  # too few different points
        return None
    if not all(math.isfinite(value) for value in (law.floor, law.scale, law.exponent)):
        return None
    return cast(Facts, plain(law))


def _multiplier(
    points: Sequence[tuple[float, float, int]], base: Sequence[tuple[float, float, int]]
) -> Facts | None:
    if not base:
        return None
    x, loss, seeds = zip(*points, strict=True)
    base_x, base_loss, base_seeds = zip(*base, strict=True)
    try:
        made = compute_multiplier(
            x, loss, base_x, base_loss, seeds=seeds, baseline_seeds=base_seeds
        )
    except ConfigError:
        return None
    return cast(Facts, plain(made))


def predictions(plan: ComparePlan, values: Values, cheap: Sequence[Cheap]) -> list[Prediction]:
    """Correlate cheap numbers with what training shows, at the first size and number of tokens.

    Points are means over seeds of a selection on a target. Both sides are centred on their
    target's mean; the interval resamples whole selections, whose points are not independent.
    """
    place = (plan.sizes[0].name, plan.tokens[0])
    sums: dict[tuple[str, str, str], list[float]] = {}
    for item in cheap:
        sums.setdefault((item["metric"], item["selection"], item["target"]), []).append(
            item["value"]
        )
    found = []
    for metric in METRICS:
        for measure in MEASURES:
            if measure["name"] not in PREDICTED:
                continue
            points = []
            for candidate in plan.candidates:
                for target in plan.targets:
                    x = sums.get((metric["name"], candidate.name, target))
                    y = by_seed(plan, values, candidate.name, [target], (*place, measure["name"]))
                    if x and y:
                        mean = float(np.mean(list(y.values())))
                        points.append((candidate.name, target, float(np.mean(x)), mean))
            if len(points) > 3 and len({x for _, _, x, _ in points}) > 1:
                found.append(_prediction(metric["name"], measure["name"], points))
    return found


def _prediction(
    metric: str, measure: str, points: Sequence[tuple[str, str, float, float]]
) -> Prediction:
    names, targets, x, y = zip(*points, strict=True)
    made = correlation(x, y, targets, interval="bootstrap", clusters=names)
    sign = sign_of(metric, measure)
    alike = []
    for target in dict.fromkeys(targets):
        inside = [i for i, name in enumerate(targets) if name == target]
        alike.append(decision_accuracy([sign * x[i] for i in inside], [y[i] for i in inside]))
    alike = [value for value in alike if math.isfinite(value)]
    prediction = {
        "metric": metric,
        "measure": measure,
        **plain(made),
        "decision_accuracy": float(np.mean(alike)) if alike else None,
        "points": [
            {"selection": name, "target": target, "x": a, "y": b} for name, target, a, b in points
        ],
    }
    return cast(Prediction, prediction)
