"""`dataworth dedup`, and the recipes that come with the package."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dataworth
from dataworth.errors import ConfigError
from dataworth.flow.presets import preset_names, with_options
from dataworth.methods.registry import check_steps, parse_step

WORDS = " ".join(f"word{n}" for n in range(60))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    texts = [WORDS, WORDS, WORDS + " more", WORDS.upper(), "Another text altogether."]
    path = tmp_path / "pool.jsonl"
    path.write_text(
        "".join(json.dumps({"text": text, "n": k}) + "\n" for k, text in enumerate(texts))
    )
    return path


def written(folder: Path) -> list[int]:
    rows = [
        json.loads(line)
        for path in sorted((folder / "data").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return sorted(row["n"] for row in rows)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["-k", "exact"], [0, 2, 3, 4]),
        (["-k", "exact", "--normalise"], [0, 2, 4]),
        ([], [2, 4]),
        (["--survives", "shortest"], [0, 4]),
        (["-k", "exact", "-k", "substring"], [2, 3, 4]),
    ],
)
def test_dedup(
    dw: Callable[..., Any], pool: Path, tmp_path: Path, words: list[str], wanted: list[int]
) -> None:
    out = tmp_path / "out"
    shown = dw("dedup", pool, *words, "--out", out, "--quiet", "--format", "jsonl")
    assert shown.exit_code == 0, shown.output
    left = written(out)
    assert left == wanted or (len(left) == len(wanted) and 3 in left)
    table = dataworth.load(out).to_arrow()
    assert any(name.startswith(("cluster:", "share:")) for name in table.column_names)


@pytest.mark.parametrize("name", preset_names())
def test_recipes_of_the_package(name: str) -> None:
    options = dataworth.preset(name)
    steps = [parse_step(step) for step in options.pop("steps")]
    assert steps and options == {"budget": "100%"}
    if "semantic" not in name:
        check_steps(steps)


def test_select_by_a_recipe(dw: Callable[..., Any], pool: Path, tmp_path: Path) -> None:
    """What is given beside the recipe wins."""
    recipe = tmp_path / "own.yaml"
    recipe.write_text("budget: 100%\nsteps: [length: {minimum: 10}]\n")
    words = ["select", pool, "--recipe", recipe, "--duplicates", "keep", "--quiet"]
    words += ["--format", "jsonl"]
    assert dw(*words, "-o", tmp_path / "a").exit_code == 0
    assert written(tmp_path / "a") == [0, 1, 2, 3]
    assert dw(*words, "-b", "1-docs", "-o", tmp_path / "b").exit_code == 0
    assert len(written(tmp_path / "b")) == 1
    shown = dw("select", pool, "--recipe", "finewed")
    assert shown.exit_code == 2 and "fineweb" in shown.output
    with pytest.raises(ConfigError, match="no option"):
        recipe.write_text("budgets: 100%\n")
        dataworth.preset(recipe)


def test_options_go_to_the_steps_that_have_them() -> None:
    (first, second) = with_options(["exact_duplicates", "minhash"], {"survives": "first"})
    assert second.survives == "first" and not hasattr(first, "survives")
