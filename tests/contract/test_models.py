"""A model is what lies in its folder, wherever a run is begun and whatever lay there before."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

import dataworth
from contract.cases import MODELS, Case, core
from contract.conftest import World
from contract.ways import annotate, assert_equal, dropped, utilities
from dataworth.errors import DataworthError

APART = "moore_lewis_models"  # wants two models that differ
ASKING = [
    case
    for case in core()
    if (case.options.get("model") or "models" in case.options) and case.step != APART
]
FEW = [next(case for case in ASKING if name in case.options) for name in ("model", "models")]
EACH = pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=str(c), marks=() if c in FEW else pytest.mark.full) for c in ASKING],
)


def with_model(case: Case, model: Path | str) -> Case:
    """The case with one model, which lies there."""
    models = {"model": str(model)} if "model" in case.options else {"models": [str(model)]}
    return Case(case.step, {**case.options, **models}, case.tolerance)


@EACH
def test_a_model_that_was_trained_on_in_place(case: Case, world: World, tmp_path: Path) -> None:
    """Not the one that the process has in memory."""
    model = tmp_path / "model"
    shutil.copytree(world.folder / MODELS[0], model)
    first = world.score(with_model(case, model), tmp_path / "first")
    shutil.rmtree(model)
    shutil.copytree(world.folder / MODELS[1], model)
    second = world.score(with_model(case, model), tmp_path / "second")
    other = world.score(with_model(case, world.folder / MODELS[1]), tmp_path / "other")
    assert_equal(utilities(second), utilities(other), 0)
    assert utilities(first) != utilities(second)


@EACH
def test_relative_paths(
    case: Case, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of the folder in which they were written, later and elsewhere, too."""
    case = with_model(case, MODELS[0])
    expected = world.expected(case)
    shutil.copytree(world.folder / MODELS[1], tmp_path / MODELS[0])  # another of the same name
    monkeypatch.chdir(tmp_path)
    loaded = dataworth.load(world.folder / expected.folder)
    assert annotate(loaded, world.texts[:3]) == annotate(expected, world.texts[:3])
    pool, target = world.folder / world.pool, world.folder / world.target
    here = dataworth.score(pool, {"sums": target}, steps=case.steps, out="here", engine=1)
    assert utilities(here) != utilities(expected)


@pytest.mark.parametrize("as_text", [False, True])
def test_paths_of_a_recipe(
    as_text: bool, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a step's models start at the recipe's folder, as all paths do."""
    case = ASKING[0]
    step = with_model(case, MODELS[0]).steps[0]
    ((name, options),) = step.items()
    text = f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
    recipe = {"pool": "pool", "target": {"sums": "target.jsonl"}, "out": str(tmp_path / "out")}
    recipe["steps"] = [text.replace("'", '"') if as_text else step]
    (world.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(tmp_path)
    scores = dataworth.run_recipe(world.folder / "recipe.yaml").scores
    expected = world.score(
        with_model(case, world.folder / MODELS[0]),
        tmp_path / "expected",
        pool=world.folder / world.pool,
        target=world.folder / world.target,
    )
    assert_equal(utilities(scores), utilities(expected), 0)


def test_a_model_that_is_not_there_is_told_before_any_work(world: World, tmp_path: Path) -> None:
    for case in ASKING:
        with pytest.raises(DataworthError, match="nowhere"):
            world.score(with_model(case, "./nowhere"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_changed_in_place(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the one that the process has in memory, nor one of the same name elsewhere."""
    monkeypatch.chdir(tmp_path)
    tokenizer, found = Path("tokenizer.json"), []
    step, pool = [{"length": {"minimum": 30, "tokens": "tokenizer.json"}}], world.folder / "pool"
    few = json.loads((world.folder / MODELS[0] / "tokenizer.json").read_text())
    for number, merges in enumerate((few["model"]["merges"], [])):
        made = {**few, "model": {**few["model"], "merges": merges}}
        tokenizer.write_text(json.dumps(made))
        recipe = {"pool": str(pool), "out": f"out-{number}", "budget": "100%", "steps": step}
        Path("recipe.yaml").write_text(yaml.safe_dump({**recipe, "mechanism": "random"}))
        with contextlib.chdir(world.folder):
            scores = dataworth.run_recipe(tmp_path / "recipe.yaml").scores
        found.append(sum(reason is not None for reason in dropped(scores).values()))
    assert found[0] > found[1]
