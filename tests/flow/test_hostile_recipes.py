"""Recipes and plans that someone else wrote: one quick line for what is not to be carried out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dataworth.api import select
from dataworth.cli.app import app
from dataworth.comparing.reading import read_plan
from dataworth.errors import ConfigError
from dataworth.flow.recipe import read_recipe

LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGES = "m0: &m0 {k: v}\n" + "".join(
    f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 30)
)
HOSTILE = {
    "laughs": f"{LAUGHS}pool: *a29\n",
    "merges": f"{MERGES}pool: x\n",
    "recursive": "pool: &a [*a]\n",
    "recursive mapping": "pool: x\ntarget: &a {math: *a}\n",
    "deep list": f"pool: {'[' * 5000}{']' * 5000}\n",
    "deep mapping": "".join(f"{' ' * n}a:\n" for n in range(3000)),
    "deep json": '{"pool": ' + "[" * 100_000,
    "digits": f"pool: x\nbudget: {'9' * 5000}\n",
    "hexadecimal": f"pool: x\nbudget: 0x{'f' * 5000}\n",
    "sexagesimal": f"pool: x\nbudget: 1{':59' * 100_000}\n",
    "json digits": '{"pool": "x", "seed": ' + "9" * 100 + "}",
    "no date": "pool: 2024-99-99\n",
    "python": "pool: !!python/object/apply:os.system ['true']\n",
    "two documents": "pool: x\n---\npool: y\n",
    "large": f"# {'x' * 17_000_000}\npool: x\n",
    "zero": "pool: x\0\n",
    "text": "pool",
    "nothing": "",
    "key": "? [a, b]\n: c\n",
}


@pytest.mark.parametrize("read", [read_recipe, read_plan])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_quick_line(read: Any, name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(HOSTILE[name])
    start = time.process_time()
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert time.process_time() - start < 10
    message = str(caught.value)
    assert "recipe.yaml" in message and "\n" not in message and len(message) < 500


def test_anchors_that_are_meant_are_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: &s [{dsir: {ngrams: 3}}]\npool: a\ntarget: {x: &t b, y: *t}\n")
    options = read_recipe(path).options
    assert options["target"] == {"x": tmp_path / "b", "y": tmp_path / "b"}
    assert options["steps"] == [{"dsir": {"ngrams": 3}}]


@pytest.mark.parametrize(
    "line",
    [
        "shard_bytes: ²",
        "shard_bytes: " + "9" * 40,
        "holdout: {a: 1}",
        "proportions: {a: [1]}",
        "budget: {}",
        "budget: 1e99",
        "steps: 7",
        "steps: [[[]]]",
        "steps: [{dsir: {buckets: 1e30}}]",
        "steps: [{dsir: 7}]",
        "seed: x",
        "target: {'..': a}",
    ],
)
def test_values_of_another_kind_are_one_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a b c"}\n')
    path = tmp_path / "recipe.yaml"
    path.write_text(f"pool: a.jsonl\nout: out\n{line}\n")
    found = CliRunner().invoke(app, ["run", str(path)])
    assert found.exit_code in (1, 2)
    assert "unexpected" not in found.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": 10**12},
        {"seeds": -1},
        {"seeds": {}},
        {"tokens": {}},
        {"sizes": 5},
        {"sizes": [{"name": "a", "training": 3}]},
        {"targets": {"a": {"examples": 7}}},
        {"targets": [1]},
        {"selections": {"a": 7}},
        {"selections": {"a": {"steps": ["dsir"], "max_repeat": "x"}}},
        {"selections": {"a": {"steps": 7}}},
        {"selections": {"a": {"steps": ["dsir"], "utility": 7}}},
        {"budget": []},
        {"right": 5},
        {"max_line_bytes": "x"},
        {"holdout": []},
        {"minutes": "x"},
        {"text_field": 7},
    ],
)
def test_plans_with_values_of_another_kind(change: dict[str, Any]) -> None:
    plan = {"pool": "a", "targets": {"t": "b"}, "selections": {"s": {"steps": ["dsir"]}}}
    with pytest.raises(ConfigError) as caught:
        read_plan({**plan, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("budget", [10**400, "9" * 5000, "1e30", float("inf"), float("nan"), True])
def test_budgets_that_are_none(budget: Any) -> None:
    with pytest.raises(ConfigError):
        select(["a", "b"], budget=budget)
