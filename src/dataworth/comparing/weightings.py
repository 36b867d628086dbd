"""The search for weights of several utilities: one swarm of weightings, and a law of its losses.

An entry of a plan's selections with `weightings: 64` stands for 64 selections, each by a weighted
sum of the utilities of its steps; a model is trained on each as on any other. The law

    L(w) = c - sum_k b_k sqrt(w_k)

is fitted to the losses by least squares, and its optimum on the simplex is the weights, w_k
proportional to b_k^2 over b_k > 0. After Meta-rater (Zhuang et al. 2025, arXiv 2504.14194): random
weights, small models, a regression, its optimum, the documents of the greatest sum. The law in
place of trees, and the corners among the weightings, are dataworth's own; the principal components
of the scores, QuaDMix' sampling functions by domain and R-Select's groups of metrics are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.comparing.measures import LOSS
from dataworth.comparing.plan import CandidatePlan, ComparePlan
from dataworth.comparing.results import Values, by_seed
from dataworth.errors import ConfigError
from dataworth.mechanism.expression import parse_expression
from dataworth.mixture.laws import best_roots, root_gains
from dataworth.mixture.swarm import FEWEST
from dataworth.results.comparison import Weighting

KEY = "weightings"
SCALE = "z"
_DIGITS = 3
_SEED = 42
_FOLDS = 8
Floats = NDArray[np.float64]


def utilities_of(candidate: CandidatePlan) -> list[str]:
    """Return the labels of a candidate's steps that give a utility."""
    return [
        label
        for label, step in zip(candidate.labels, candidate.steps, strict=True)
        if any(column.name.startswith("utility:") for column in step.columns(("target",)))
    ]


def draw_weightings(count: int, utilities: int) -> Floats:
    """Return different points of the simplex, float64 [count, utilities]: its corners, then random.

    Drawn evenly, and rounded to three digits with their sum kept. More of them begin with the same.
    """
    rng = np.random.default_rng(_SEED)
    rows = {tuple(row): row for row in np.eye(utilities)}
    grain = 10**_DIGITS
    while len(rows) < count:
        exact = rng.dirichlet(np.ones(utilities)) * grain
        whole = np.floor(exact)
        short = round(grain - whole.sum())
        whole[np.argsort(whole - exact, kind="stable")[:short]] += 1
        rows.setdefault(tuple(whole / grain), whole / grain)
    return np.stack(list(rows.values())[:count])


def spread(candidate: CandidatePlan, count: Any) -> list[CandidatePlan]:
    """Return the candidates that an entry with `weightings` stands for, `NAME 1` and so on.

    Raises ConfigError for too few weightings or utilities, and for a utility beside them.
    """
    names = utilities_of(candidate)
    if candidate.utility is not None:
        raise ConfigError("weightings are of the steps' utilities: leave out 'utility'")
    if len(names) < 2:
        raise ConfigError("weightings take two steps or more that give a utility")
    least = max(FEWEST, len(names) + 2)
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        raise ConfigError(
            f"{KEY}: a whole number of {least} or more for {len(names)} utilities, not {count!r}"
        )
    return [
        replace(candidate, name=f"{candidate.name} {number}", utility=written(names, weights))
        for number, weights in enumerate(draw_weightings(count, len(names)), 1)
    ]


def written(names: Sequence[str], weights: Floats) -> str:
    """Return a weighted sum as a utility; weights of 0 are left out."""
    pairs = [(float(w), name) for name, w in zip(names, weights.round(_DIGITS), strict=True) if w]
    return " + ".join(f"{weight!r}*{name}" if weight != 1 else name for weight, name in pairs)


def weightings(plan: ComparePlan, values: Values) -> list[Weighting]:
    """Return the best weights of each group of selections that differ in the weights alone.

    By the mean loss over targets and seeds, at the plan's first size and number of tokens. Groups
    of too few selections for the law have none.
    """
    groups: dict[str, tuple[CandidatePlan, list[CandidatePlan]]] = {}
    for candidate in plan.candidates:
        stem, _, number = candidate.name.rpartition(" ")
        if candidate.utility is not None and number.isdigit():
            common = replace(candidate, name=stem, utility=None)
            key = f"{stem} {json.dumps(common.as_dict(), sort_keys=True)}"
            groups.setdefault(key, (common, []))[1].append(candidate)
    place = (plan.sizes[0].name, plan.tokens[0], LOSS)
    found = []
    for common, members in groups.values():
        losses: dict[str, float] = {}
        for member in members:
            own = by_seed(plan, values, member.name, list(plan.targets), place)
            if own:
                losses[member.name] = float(np.mean(list(own.values())))
        known = [member for member in members if member.name in losses]
        result = _fit(common, known, losses)
        if result is not None:
            found.append(result)
    return found


def _fit(
    common: CandidatePlan, members: Sequence[CandidatePlan], losses: Mapping[str, float]
) -> Weighting | None:
    """Return the optimum of the law; None for too few selections, or utilities that are no sum."""
    names = utilities_of(common)
    rows = np.zeros((len(members), len(names)))
    for row, member in zip(rows, members, strict=True):
        for weight, name in parse_expression(str(member.utility)).weighted:
            if name not in names or weight < 0:
                return None
            row[names.index(name)] += weight
    if len(members) < max(FEWEST, len(names) + 2) or not (rows.sum(1) > 0).all():
        return None
    rows /= rows.sum(1, keepdims=True)
    loss = np.array([losses[member.name] for member in members])
    if not np.ptp(loss) > 0:  # ties: nothing tells the weights apart
        return None
    gains = root_gains(rows, loss)
    weights = best_roots(gains, np.ones(len(names)))
    shares = np.round(weights, _DIGITS)
    return {
        "selection": common.name,
        "scale": common.scale,
        "utility": written(names, shares),
        "weights": {name: float(share) for name, share in zip(names, shares, strict=True)},
        "models": len(members),
        "correlation": _unseen(rows, loss),
        "best_trained": str(min(members, key=lambda one: losses[one.name]).utility),
    }


def _unseen(rows: Floats, loss: Floats) -> float | None:
    """Return the correlation of the law with losses that it was not fitted on, by folds."""
    folds = np.arange(len(loss)) % _FOLDS
    predicted = np.full(len(loss), np.nan)
    for fold in range(_FOLDS):
        out = folds == fold
        if (~out).sum() < rows.shape[1] + 2 or not out.any():
            return None
        design = [np.column_stack([np.ones(len(w)), np.sqrt(w)]) for w in (rows[~out], rows[out])]
        predicted[out] = design[1] @ np.linalg.lstsq(design[0], loss[~out], rcond=None)[0]
    return float(np.corrcoef(predicted, loss)[0, 1]) if np.ptp(predicted) > 0 else None


def sentences(found: Sequence[Weighting]) -> list[str]:
    """Return what the searches came to, a sentence each."""
    said = []
    for one in found:
        r = one["correlation"]
        sure = "" if r is None else f", correlation with losses left out {r:.2f}"
        said.append(
            f"{one['selection']}: the best weights by a law of {one['models']} weightings{sure}: "
            f"{one['utility']} (scale {one['scale']}); the best that was trained: "
            f"{one['best_trained']}."
        )
    return said
