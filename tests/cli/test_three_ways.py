"""The command, the Python function and the recipe have the same options."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from typer.main import get_command

import dataworth
from dataworth import api
from dataworth.cli.app import app
from dataworth.corpus.fields import Fields
from dataworth.errors import ConfigError
from dataworth.options.calls import help_of

SHOWN = {"json", "quiet"}  # what only a command has
CALLS = {"progress"}  # what only a call has
# What a command says in another way, or leaves to Python.
MORE = {
    "select": ({"dry_run", "recipe", "workers"}, set()),
    "score": ({"dry_run", "recipe", "workers"}, set()),
    "loop": ({"round", "workers"}, set()),
    "judge": ({"workers"}, {"engine"}),
    "compare": ({"dry_run", "workers"}, {"engine"}),
    "attribute": ({"ask", "workers", "normalise"}, {"engine"}),
    "inspect": ({"workers"}, {"engine"}),
    "proxy": ({"workers"}, {"engine"}),
    "swarm": ({"workers"}, {"engine"}),
    "explain": (set(), set()),
}
FUNCTIONS = {name: function for name, function in vars(api).items() if hasattr(function, "work")}
FUNCTIONS |= {"choose": dataworth.Scores.choose, "write": dataworth.Selection.write}
OBJECTS = {"engine", "progress", "self"}  # whose classes stand above the options


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_signature_repeats_the_options(name: str) -> None:
    function: Any = FUNCTIONS[name]
    signature = inspect.signature(function)
    fields = {field.name: field for field in dataclasses.fields(function.options)}
    assert set(signature.parameters) - {"self"} == set(fields)
    hints = get_type_hints(function.options)
    for key in set(fields) - OBJECTS:
        default, own = fields[key].default, signature.parameters[key].default
        assert own == default or (own is inspect.Parameter.empty and default is dataclasses.MISSING)
        written = signature.parameters[key].annotation
        assert eval(written, function.__wrapped__.__globals__) == hints[key], key
    module, _, work = function.work.partition(":")
    done = inspect.signature(getattr(importlib.import_module(module), work))
    assert list(done.parameters.values())[-1].annotation == function.options.__name__
    assert done.return_annotation == signature.return_annotation


@pytest.mark.parametrize("name", MORE)
def test_a_command_has_the_options_of_its_function(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    flags = {option.name: option for option in command.params if option.name != "help"}
    parameters = inspect.signature(getattr(dataworth, name)).parameters
    only_command, only_call = MORE[name]
    assert set(flags) - SHOWN - only_command == set(parameters) - CALLS - only_call
    options = getattr(dataworth, name).options
    for key in set(flags) & {field.name for field in dataclasses.fields(options)} - {"engine"}:
        told = getattr(flags[key], "help", "").replace("\\[", "[")
        assert told.startswith(help_of(options, key)) and help_of(options, key), key


def test_fields_read_as_the_options_say() -> None:
    select = inspect.signature(dataworth.select).parameters
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
        ("load", "engin", "engine"),
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
