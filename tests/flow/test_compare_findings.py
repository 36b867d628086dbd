"""What a comparison says in words, against losses that were made up to say it."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest

from dataworth.comparing.findings import between, findings
from dataworth.comparing.reading import read_plan
from dataworth.comparing.results import Values, leaderboards, scaling
from dataworth.measures.statistics import paired
from dataworth.results.comparison import Comparison
from dataworth.results.reading import read

TARGETS = ("code", "math")
SEEDS = range(4)
# Loss less the baseline's; the oracle takes 1.0 off, and `near` is `best` but for noise.
GAINS = {"oracle": 1.0, "best": 0.8, "near": 0.79, "good": 0.4, "same": 0.0, "bad": -0.3}
WIDTH = {"oracle": 0.01, "best": 0.02, "near": 0.05, "good": 0.01, "same": 0.05, "bad": 0.01}


def noise(name: str, seed: int) -> float:
    """Sums to zero over the seeds, and is another for each selection."""
    turn = list(GAINS).index(name) if name in GAINS else 0
    turns = ((1, -1, 0.5, -0.5), (0.5, 1, -0.5, -1), (-1, 0.5, 1, -0.5))
    return WIDTH.get(name, 0.0) * turns[turn % len(turns)][seed]


def comparison(*, bound: bool = True, tokens: tuple[int, ...] = (1000,)) -> tuple[Any, Values]:
    """A comparison of its own, to change; its laws are fitted once."""
    return copy.deepcopy(_comparison(bound, tokens))


@functools.cache
def _comparison(bound: bool, tokens: tuple[int, ...]) -> tuple[Any, Values]:
    plan = read_plan(
        {
            "pool": "p",
            "targets": dict.fromkeys(TARGETS, "t"),
            "selections": {
                name: {"from": name, **({"bound": True} if bound and name == "oracle" else {})}
                for name in GAINS
            },
            "seeds": len(SEEDS),
            "tokens": list(tokens),
        }
    )
    values: Values = {}
    for name in ("random", *GAINS):
        for target in TARGETS:
            for seed in SEEDS:
                for amount in tokens:
                    place = (name, target, seed, "tiny", amount)
                    gain = GAINS.get(name, 0.0)
                    loss = 2 + 40 * amount**-0.5 + 0.1 * seed - gain + noise(name, seed)
                    # One that is better on one target alone.
                    loss += (0.6 if target == "code" else -0.6) * (name == "good")
                    values[*place, "loss"] = loss
                    values[*place, "pool_loss"] = 3.0 + gain + noise(name, seed)
    measures = [
        {"name": "loss", "label": "Loss", "unit": "nats per token", "lower_is_better": True},
        {"name": "pool_loss", "label": "Pool", "unit": "nats per token", "lower_is_better": True},
    ]
    candidates = [
        {
            "name": item.name,
            "kind": "baseline" if item.name == "random" else "finished",
            "bound": item.bound,
        }
        for item in plan.candidates
    ]
    facts: Comparison = {
        "comparison_version": 1,
        "title": "",
        "targets": list(TARGETS),
        "selections": candidates,  # type: ignore[typeddict-item]
        "measures": measures,  # type: ignore[typeddict-item]
        "trainings": [],
        "results": [],
        "leaderboards": leaderboards(plan, values),
        "scaling": scaling(plan, values, {"tiny": 10}),
        "predictions": [
            {"metric": "kl_reduction", "measure": "loss", "r": -0.9, "low": -0.97, "high": -0.8}
            | {"n": 12},  # type: ignore[typeddict-item]
            {"metric": "duplicates", "measure": "loss", "r": 0.2, "low": -0.3, "high": 0.6}
            | {"n": 12},
        ],
    }
    return facts, values


def test_the_best_its_gain_and_its_share_of_the_bounds() -> None:
    facts, values = comparison()
    said = findings(facts, values)
    assert said[0].startswith(
        "best has the lowest loss on the mean over 2 targets (tiny, 1,000 tokens): 0.800 nats "
        "per token below random (95 % interval 0.7"
    )
    assert said[0].endswith("80% of the gain of oracle, which knows the answer.")
    assert said[1] == (
        "3 of 5 selections are better than random (nats per token and the share of oracle's "
        "\N{MINUS SIGN}1.000): best \N{MINUS SIGN}0.800, 80%; near \N{MINUS SIGN}0.790, 79%; good "
        "\N{MINUS SIGN}0.400, 40%."
    )


def test_without_a_bound_it_is_one_of_them() -> None:
    said = findings(*comparison(bound=False))
    assert said[0].startswith("oracle has the lowest loss") and "gain of" not in said[0]
    assert said[1].startswith("4 of 6 selections are better than random (nats per token): oracle")


def test_the_best_are_paired_with_each_other() -> None:
    facts, values = comparison()
    said = findings(facts, values)
    assert said[2] == (
        "Against best itself, paired over seeds, no difference is shown for near +0.010; worse are "
        "good +0.400."
    )
    series = {
        name: {
            seed: float(np.mean([values[name, t, seed, "tiny", 1000, "loss"] for t in TARGETS]))
            for seed in SEEDS
        }
        for name in GAINS
    }
    found = between(series["near"], series["best"], read(facts))
    exact = paired(list(series["near"].values()), list(series["best"].values()))
    assert found == exact and exact.verdict == "no difference shown"
    assert between({0: 1.0, 1: 2.0}, {1: 1.0}, read(facts)) is None


def test_the_rest() -> None:
    said = findings(*comparison())
    assert said[3].startswith("Worse than random: bad +0.300; no difference shown: same 0.000 (")
    assert said[4] == (
        "Best by target: code: best \N{MINUS SIGN}0.800; math: good \N{MINUS SIGN}1.000. Better on "
        "some of the 2 only: good (1)."
    )
    assert said[5].startswith(
        "On random documents of the pool: best is 0.800 nats per token above random (95 % interval"
    )
    assert said[5].endswith("the others that are better from good +0.400 to near +0.790.")
    assert said[6] == (
        "Correlation of cheap numbers with the loss within targets: KL reduction \N{MINUS SIGN}0.90"
        " (95 % interval \N{MINUS SIGN}0.97 to \N{MINUS SIGN}0.80, 12 points); no relation shown: "
        "Repeated documents +0.20."
    )
    assert len(said) == 7


def test_several_settings_are_one_list_led_by_the_largest() -> None:
    said = findings(*comparison(tokens=(1000, 2000, 4000)))
    assert len(said) == 8
    assert "(tiny, 4,000 tokens)" in said[0]
    assert said[0].endswith(
        "In other settings: so it has at tiny, 2,000 tokens (\N{MINUS SIGN}0.800), tiny, 1,000 "
        "tokens (\N{MINUS SIGN}0.800)."
    )
    (laws,) = [text for text in said if text.startswith("Times as many tokens")]
    assert "best" in laws and "bad" in laws
    assert all(len(text) <= 400 for text in said)


@pytest.mark.parametrize("value", [1e15, 250.0])
def test_wild_multipliers_have_no_digits(value: float) -> None:
    facts, values = comparison(tokens=(1000, 2000, 4000))
    for item in facts["scaling"]:
        if item["multiplier"] is not None:
            wild = {
                "value": value,
                "low": 2.5,
                "high": 1e300,
                "outside": item["selection"] != "bad",
            }
            item["multiplier"] |= wild
    (laws,) = [text for text in findings(facts, values) if text.startswith("Times as many")]
    assert "best over \N{MULTIPLICATION SIGN}100 (2.50 to over 100) *" in laws
    assert laws.endswith("; * read outside the measured range.") and "100) *;" in laws
    assert "e+" not in laws
    facts["scaling"] = [item for item in facts["scaling"] if item["selection"] != "bad"]
    (laws,) = [text for text in findings(facts, values) if text.startswith("Times as many")]
    assert laws.endswith("; all read outside the measured range.") and "*" not in laws


def test_nothing_better_is_said() -> None:
    facts, values = comparison()
    for board in facts["leaderboards"]:
        for row in board["rows"]:
            if row["selection"] != "oracle" and row.get("verdict") == "better":
                row["verdict"] = "no difference shown"
    said = findings(facts, values)
    assert said[1] == (
        "No selection is shown to be better than random; oracle, which knows the answer, is "
        "(\N{MINUS SIGN}1.000)."
    )
    assert not any(text.startswith(("Against", "On random documents")) for text in said)
    facts["leaderboards"] = []
    assert findings(facts, values) == []
