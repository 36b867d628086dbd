"""The record of a comparison: one plain dict, the same as in `comparison.json`.

Conventions as in `selection.py`: a key that is missing or None is "not measured". Losses are in
nats per token, or bits a byte, of text that no selection was made with. A difference is a
selection's value minus the baseline's with the same seed, so below zero is better for a loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Required, TypedDict

COMPARISON_VERSION = 1

Verdict = Literal["better", "worse", "no difference shown"]


class Candidate(TypedDict, total=False):
    """One way of selecting that is compared."""

    name: Required[str]
    kind: Required[Literal["baseline", "steps", "finished"]]
    steps: list[str]
    mechanism: str | None
    path: str | None  # of a finished selection
    needs_target: bool  # False: one selection and one training a seed serve all targets
    core_seconds: float  # that its steps took to fit and to score the pool, for all targets
    bound: bool  # it knows the answer: what the others are measured by, never named the best


class Measure(TypedDict, total=False):
    """A number that trained models are compared by."""

    name: Required[str]  # "loss", "bits_per_byte", "pool_loss", "accuracy", "correct_prob", ...
    label: Required[str]
    unit: Required[str]
    lower_is_better: Required[bool]


class Metric(TypedDict, total=False):
    """A cheap number of a selection, known without training."""

    name: Required[str]  # "kl_reduction", "distinct_2", "duplicates", "effective_share", ...
    label: Required[str]
    unit: Required[str]


class Training(TypedDict, total=False):
    """One model that was trained."""

    id: Required[str]
    selection: Required[str]
    target: Required[str | None]  # None: a selection that needs no target
    seed: Required[int]
    size: Required[str]
    parameters: int
    tokens: Required[int]  # trained on, repeats counted
    unique_tokens: int  # in the selection
    epochs: float
    flop: float  # 6 x parameters x tokens
    seconds: float
    core_seconds: float  # of training alone
    curve: list[tuple[int, float]]  # (tokens seen, training loss in nats per token)


class Result(TypedDict, total=False):
    """One measure of one trained model on one target (None: on the held-out sample of the pool)."""

    selection: Required[str]
    target: Required[str | None]
    seed: Required[int]
    size: Required[str]
    tokens: Required[int]
    measure: Required[str]
    value: Required[float]


class Cheap(TypedDict, total=False):
    """One cheap metric of one selection for one target."""

    selection: Required[str]
    target: Required[str]
    seed: Required[int]
    metric: Required[str]
    value: Required[float]


class Row(TypedDict, total=False):
    """A selection's place in a leaderboard. `low`, `high`: 95 % paired t interval."""

    selection: Required[str]
    mean: Required[float]
    difference: float | None  # None for the baseline itself
    low: float | None
    high: float | None
    p: float | None
    points: list[float]  # the paired differences, one a seed (or a target and seed)
    verdict: Verdict | None


class Leaderboard(TypedDict, total=False):
    """The selections by one measure on one target, best first. `target` None: mean over targets."""

    target: Required[str | None]
    size: Required[str]
    tokens: Required[int]
    measure: Required[str]
    baseline: Required[str]
    rows: Required[list[Row]]


class Scaling(TypedDict, total=False):
    """Losses of one selection on one target over tokens or compute, and the law fitted to them."""

    selection: Required[str]
    target: Required[str | None]
    axis: Required[Literal["tokens", "compute"]]
    points: Required[list[tuple[float, float, int]]]  # (x, loss, seed)
    law: Mapping[str, Any] | None  # as `measures.scaling.Law`
    multiplier: Mapping[str, Any] | None  # as `measures.scaling.Multiplier`; not of the baseline


class Point(TypedDict, total=False):
    """One selection on one target: cheap metric `x`, measured value `y` (means over seeds)."""

    selection: Required[str]
    target: Required[str]
    x: Required[float]
    y: Required[float]


class Prediction(TypedDict, total=False):
    """Does a cheap metric predict a dear measure? Correlations within targets, then overall."""

    metric: Required[str]
    measure: Required[str]
    r: float | None  # Pearson, both sides centred on their target's mean
    low: float | None
    high: float | None
    spearman: float | None
    decision_accuracy: float | None  # share of pairs of selections that both order alike
    n: Required[int]
    points: list[Point]


class Share(TypedDict, total=False):
    """The share of a selection's tokens that have this value of a field."""

    value: Required[str | None]  # None: all values that are not named, together
    share: Required[float]


class CompositionOf(TypedDict, total=False):
    """Shares of a selection's tokens by the values of a field; `selection` None: the pool."""

    selection: Required[str | None]
    target: Required[str | None]
    field: Required[str]
    parts: Required[list[Share]]


class Overlap(TypedDict, total=False):
    """Similarity of the selections for one target: [i][j] for names i, j; None where unknown."""

    target: Required[str]
    names: Required[list[str]]
    jaccard: Required[list[list[float | None]]]
    rank: list[list[float | None]]  # Spearman of the utilities over all documents


class Weighting(TypedDict):
    """The best weights of several utilities, by a law of the losses of selections by their sums.

    `correlation`: of the law with losses that it was not fitted on. `best_trained`: the utility of
    the selection of least loss.
    """

    selection: str
    scale: str
    utility: str
    weights: dict[str, float]
    models: int
    correlation: float | None
    best_trained: str


class Comparison(TypedDict, total=False):
    """All of a comparison. `gave_up`: what the plan left out to fit the time it was given."""

    comparison_version: Required[int]
    title: Required[str]
    version: str
    plan: dict[str, Any]
    machine: dict[str, Any]
    seconds: float
    targets: Required[list[str]]
    selections: Required[list[Candidate]]
    measures: Required[list[Measure]]
    metrics: list[Metric]
    trainings: Required[list[Training]]
    results: Required[list[Result]]
    cheap: list[Cheap]
    leaderboards: list[Leaderboard]
    scaling: list[Scaling]
    predictions: list[Prediction]
    composition: list[CompositionOf]
    overlap: list[Overlap]
    weightings: list[Weighting]
    findings: list[str]
    warnings: list[str]
    gave_up: list[str]
