"""The command, the Python function and the recipe have the same options."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from typer.main import get_command

import dataworth
from dataworth.cli.app import app
from dataworth.corpus.fields import Fields
from dataworth.errors import ConfigError

# Options of the command, by their name in Python where it is another.
FLAGS = {"step": "steps", "proportion": "proportions", "quota": "quotas"}
FLAGS |= {"storage_option": "storage_options", "workers": "engine"}
SHOWN = {"json", "quiet"}  # what only a command has
CALLS = {"progress"}  # what only a call has
# What a command says in another way, or leaves to Python.
MORE = {
    "select": ({"dry_run", "recipe"}, set()),
    "score": ({"dry_run", "recipe"}, set()),
    "judge": (set(), set()),
    "compare": ({"dry_run"}, set()),
    "attribute": ({"ask"}, set()),
    "inspect": ({"path"}, {"source", "join"}),
    "proxy": (set(), set()),
}


@pytest.mark.parametrize("name", MORE)
def test_a_command_has_the_options_of_its_function(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    flags = {FLAGS.get(option.name, option.name) for option in command.params} - {"help"}
    parameters = inspect.signature(getattr(dataworth, name)).parameters
    only_command, only_call = MORE[name]
    assert not [p for p in parameters.values() if p.kind is p.VAR_KEYWORD]
    assert flags - SHOWN - only_command == set(parameters) - CALLS - only_call


def test_what_calls_share_has_one_default() -> None:
    select = inspect.signature(dataworth.select).parameters
    for name in ("score", "plan", "proxy", "attribute", "inspect"):
        own = inspect.signature(getattr(dataworth, name)).parameters
        other = {"text_field"} if name == "inspect" else {"steps"} if name == "attribute" else set()
        shared = set(own) & set(select) - other
        assert {key: own[key].default for key in shared} == {
            key: select[key].default for key in shared
        }
    assert set(select) == set(inspect.signature(dataworth.plan).parameters)
    for key in ("join", "template", "split_words", "txt", "max_line_bytes"):
        assert select[key].default == getattr(Fields(), key)


def test_a_recipe_takes_every_option_of_select(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    options = set(inspect.signature(dataworth.select).parameters) - CALLS - {"engine"}
    values = {"pool": "pool.jsonl", "target": "t.jsonl", "sample_bytes": "1MB", "steps": "length"}
    values |= {"shard_bytes": "1MB", "max_line_bytes": "1MB", "holdout": "10%", "max_bad": "1%"}
    lines = [f"{option}: {values.get(option, 'x')}\n" for option in sorted(options)]
    recipe.write_text("".join(lines))
    assert set(dataworth.read_recipe(recipe).options) == options


@pytest.mark.parametrize(
    ("name", "wrong", "near"),
    [
        ("select", "max_repeats", "max_repeat"),
        ("score", "text_fields", "text_field"),
        ("plan", "hold_out", "holdout"),
        ("judge", "tmplate", "template"),
        ("compare", "minute", "minutes"),
        ("attribute", "solvr", "solver"),
        ("proxy", "seed_s", "seeds"),
        ("inspect", "samples", "sample"),
    ],
)
def test_a_misspelt_keyword_is_told_with_the_nearest(name: str, wrong: str, near: str) -> None:
    said = f"{name} has no option '{wrong}' \\(did you mean '{near}'\\?\\)"
    with pytest.raises(ConfigError, match=said):
        getattr(dataworth, name)("nowhere", **{wrong: 2})


def test_a_misspelt_keyword_of_a_recipe_run_from_python(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("pool: pool.jsonl\nbudget: 5-docs\n")
    with pytest.raises(ConfigError, match="did you mean 'budget'"):
        dataworth.run_recipe(recipe, budgets=2)
