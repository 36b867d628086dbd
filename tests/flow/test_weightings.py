"""The search for weights of several utilities, and the preset that tells several figures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataworth
from dataworth import Comparison, Engine
from dataworth.comparing.cheap import coverage
from dataworth.comparing.choices import Chosen
from dataworth.comparing.reading import read_plan
from dataworth.comparing.results import results_of
from dataworth.comparing.weightings import draw_weightings, sentences, weightings, written
from dataworth.errors import ConfigError
from dataworth.mechanism.expression import parse_expression
from flow.comparing import lines_of, plan_of, world
from flow.pools import write

SEARCH: dict[str, Any] = {"steps": ["dsir", "dsir(ngrams=1)", "bm25"], "weightings": 24}


def small(count: Any = 24, **more: Any) -> dict[str, Any]:
    selections = {"search": {**SEARCH, "weightings": count, "mechanism": "top_k", **more}}
    return plan_of(Path("/data"), selections=selections)


def values_of(plan: Any, law: Any) -> dict[Any, float]:
    """Losses of all selections by a law of their weights [3], the same on all targets and seeds."""
    values = {}
    for candidate in plan.candidates:
        weights = np.zeros(3)
        if candidate.utility is not None:
            for weight, name in parse_expression(candidate.utility).weighted:
                weights[candidate.labels.index(name)] = weight
        for target in plan.targets:
            for seed in plan.seeds:
                values[candidate.name, target, seed, "micro", 1500, "loss"] = float(law(weights))
    return values


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(8, 40))
def test_weightings_lie_on_the_simplex(utilities: int, count: int) -> None:
    drawn = draw_weightings(count, utilities)
    assert drawn.shape == (count, utilities) and len(np.unique(drawn, axis=0)) == count
    assert drawn.sum(1) == pytest.approx(1) and drawn.min() >= 0
    assert np.array_equal(drawn[:utilities], np.eye(utilities))
    assert np.array_equal(draw_weightings(count - 4, utilities), drawn[:-4])


def test_an_entry_stands_for_many_selections() -> None:
    plan = read_plan(small(12))
    names = [item.name for item in plan.candidates]
    assert names == ["random", *(f"search {n}" for n in range(1, 13))]
    assert plan.candidate("search 2").utility == "dsir_2"
    assert all(item.scale == "z" for item in plan.candidates[1:])
    assert read_plan(plan.as_dict()) == plan
    assert written(["a", "b"], np.array([0.25, 0.75])) == "0.25*a + 0.75*b"


def test_the_best_weights_have_their_closed_form() -> None:
    """b = (0.6, 0.8, -0.2): w is b^2 over its sum, over those that help."""
    plan = read_plan(small())
    (found,) = weightings(plan, values_of(plan, lambda w: 5 - np.sqrt(w) @ [0.6, 0.8, -0.2]))
    assert found["utility"] == "0.36*dsir + 0.64*dsir_2"
    assert found["weights"] == pytest.approx({"dsir": 0.36, "dsir_2": 0.64, "bm25": 0.0})
    assert found["models"] == 24 and found["correlation"] == pytest.approx(1)
    assert "search: the best weights by a law of 24 weightings" in sentences([found])[0]
    assert weightings(plan, values_of(plan, lambda w: 3.0)) == []  # ties


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": 3}, "weightings: a whole number of 5 or more for 3 utilities, not 3"),
        ({"count": "many"}, "not 'many'"),
        ({"steps": ["dsir"]}, "weightings take two steps or more that give a utility"),
        ({"utility": "dsir"}, "leave out 'utility'"),
    ],
)
def test_what_is_wrong_with_weightings(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_plan(small(**changes))
    with pytest.raises(ConfigError, match="'search 1' is there twice"):
        plan = small()
        plan["selections"]["search 1"] = {"steps": ["dsir"]}
        read_plan(plan)


# Several figures.


def test_the_preset_is_read_and_checked() -> None:
    plan = read_plan(plan_of(Path("/data"), preset="datacomp", shift={"news": "news.jsonl"}))
    assert plan.transfer and plan.decontaminate and list(plan.shift) == ["news"]
    assert read_plan(plan.as_dict()) == plan
    kept = read_plan(plan_of(Path("/data"), preset="datacomp", decontaminate=False))
    assert kept.transfer and not kept.decontaminate
    for changes, said in (
        ({"preset": "dclm"}, "preset: there is no 'dclm'; there are datacomp"),
        ({"shift": {"news": "news.jsonl"}}, "measured with 'preset: datacomp'"),
        ({"preset": "datacomp", "targets": {"red": "r.jsonl"}, "right": {}}, "second target"),
    ):
        with pytest.raises(ConfigError, match=said):
            read_plan(plan_of(Path("/data"), **changes))


def test_losses_on_other_targets_and_on_text_from_elsewhere() -> None:
    keys = {"": ["text::p", "shift::n", "shift::m"], "red": ["text:red:r"], "blue": ["text:blue:b"]}
    losses = {"text::p": 4.0, "shift::n": 5.0, "shift::m": 6.0, "text:red:r": 1.0, "text:blue:b": 2}
    outcome = {"evaluations": {key: {"loss": float(loss)} for key, loss in losses.items()}}
    grid = {("one", "red", 0, "micro", 1500): "t"}
    found = results_of(grid, {"t": outcome}, keys, transfer=True)  # type: ignore[arg-type]
    assert {item["measure"]: item["value"] for item in found} == {
        "loss": 1.0,
        "pool_loss": 4.0,
        "transfer_loss": 2.0,
        "shift_loss": 5.5,
    }


def test_groups_and_their_tail_are_counted() -> None:
    values = ["web", "books", "code", "law"]
    tokens = np.array([50, 30, 5, 10])
    table: Any = SimpleNamespace(
        corpus=SimpleNamespace(fields=SimpleNamespace(groups=("domain", "source"))),
        table=SimpleNamespace(codes=lambda _: (np.arange(4), values), column=lambda _: tokens),
    )
    plan = read_plan(plan_of(Path("/data")))
    item = Chosen("one", "red", 0, "c", 3, 9, composition={"domain": {"web": 5, "code": 4}})
    found = {one["metric"]: one["value"] for one in coverage(plan, [item], table)}
    assert found == {"groups_covered": 0.5, "tail_covered": 0.5}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    place = world(tmp_path_factory.mktemp("world"))
    write(place / "green.jsonl", lines_of("green", 10, 5))
    plan = plan_of(
        place,
        preset="datacomp",
        decontaminate=False,
        shift={"green": str(place / "green.jsonl")},
        selections={
            "search": {
                "steps": ["dsir", "dsir(ngrams=1)"],
                "weightings": 4,
                "mechanism": "top_k",
            }
        },
        seeds=1,
        tokens=[600],
    )
    return dataworth.compare(plan, out=place / "out", engine=Engine(1, "threads"))


def test_a_whole_search_with_several_figures(compared: Comparison) -> None:
    rows = compared.table().to_pylist()
    measures = {row["measure"] for row in rows}
    assert {"loss", "pool_loss", "transfer_loss", "shift_loss"} <= measures
    (found,) = compared.weightings
    assert found["models"] == 4 and sum(found["weights"].values()) == pytest.approx(1)
    assert any(found["utility"] in sentence for sentence in compared.findings)
    metrics = {item["metric"] for item in compared.facts["cheap"]}
    assert {"groups_covered", "tail_covered"} <= metrics
