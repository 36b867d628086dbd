"""Budgets that were meant otherwise or go too far, and targets that lie in the pool."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import pytest

import dataworth
from flow.comparing import MICRO
from flow.pools import document, write

WORDS = {"a": "alpha beta gamma delta", "b": "iron copper zinc tin"}


def documents(kind: str, count: int, seed: int) -> list[bytes]:
    draw = random.Random(seed)
    return [document(" ".join(draw.choices(WORDS[kind].split(), k=30))) for _ in range(count)]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """A tenth of the pool is like the target."""
    pool = [*documents("a", 40, 1), *documents("b", 360, 2)]
    return {
        "pool": write(tmp_path / "pool.jsonl", pool),
        "target": write(tmp_path / "target.jsonl", documents("a", 20, 3)),
        "engine": 1,
    }


def told(made: dataworth.Selection, words: str) -> list[str]:
    return [text for text in made.metrics["warnings"] if words in text]


@pytest.mark.parametrize("budget", [10, "10", "10-tokens", "20-bytes"])
def test_a_budget_of_less_than_a_document(budget: Any, files: dict[str, Any]) -> None:
    made = dataworth.select(**files, budget=budget)
    (line,) = told(made, "The budget is")
    number = str(budget).partition("-")[0]
    assert f"{number}-docs or {number}% or {number}M" in line


@pytest.mark.parametrize("budget", ["10-docs", "10%", "10M", "4-docs", "2k", "5kB"])
def test_a_budget_that_is_meant(budget: str, files: dict[str, Any]) -> None:
    assert not told(dataworth.select(**files, budget=budget), "The budget is")


def test_a_handful_of_a_large_pool(files: dict[str, Any], tmp_path: Path) -> None:
    pool = write(tmp_path / "large.jsonl", documents("b", 1200, 4))
    assert told(dataworth.select(pool, files["target"], "200", engine=1), "200-docs or 200M")
    assert not told(dataworth.select(pool, files["target"], "5k", engine=1), "The budget is")


BELOW = "of the chosen tokens have a utility below 0"


def test_a_budget_beyond_what_is_like_the_target(files: dict[str, Any], tmp_path: Path) -> None:
    scores = dataworth.score(**files)
    assert told(scores.choose("50%"), BELOW)
    assert told(scores.choose("50%", utility="2*dsir"), BELOW)
    others: list[dict[str, Any]] = [
        {"budget": "8%"},
        {"budget": "50%", "scale": "rank"},
        {"budget": "50%", "utility": "-1*dsir"},
        {"budget": "50%", "mechanism": "random"},
    ]
    for options in others:
        assert not told(scores.choose(**options), BELOW)
    # So little is learned from a document that the target's own are below 0: it parts nothing.
    one = write(tmp_path / "one.jsonl", documents("b", 1, 5))
    assert not told(dataworth.select(files["pool"], one, "50%", engine=1), BELOW)
    many = {"a": files["target"], "b": write(tmp_path / "b.jsonl", documents("b", 400, 5))}
    assert not told(dataworth.select(files["pool"], many, "50%", engine=1), BELOW)
    # A length has no such value, and a run that is loaded knows what its steps declare.
    found = dataworth.select(files["pool"], files["target"], "50%", steps="bm25", engine=1)
    assert not told(found, BELOW)
    dataworth.select(**files, budget="50%", out=tmp_path / "out")
    assert told(dataworth.load(tmp_path / "out").choose("60%"), BELOW)


def test_a_target_that_lies_in_the_pool(files: dict[str, Any], tmp_path: Path) -> None:
    target = files["target"]
    assert not told(dataworth.select(**files, budget="30-docs"), "lie in the pool")
    rows = target.read_bytes().splitlines()
    pool = write(tmp_path / "with.jsonl", [*rows, *files["pool"].read_bytes().splitlines()])
    made = dataworth.select(pool, {"t": target}, "60-docs", mechanism="top_k", engine=1)
    (line,) = told(made, "lie in the pool")
    assert line.startswith("20 of the 20 documents of the target t lie in the pool, and 20 of")
    without = dataworth.select(pool, {"t": target}, "60-docs", exclude=target, engine=1)
    assert "and 0 of them were chosen" in told(without, "lie in the pool")[0]


def test_a_selection_of_another_pool(
    files: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Told by `judge`, and by `compare` before anything is trained and in its report."""
    other = write(tmp_path / "other.jsonl", documents("a", 30, 9))
    judged = dataworth.judge(other, files["target"], pool=files["pool"], engine=1)
    assert judged.metrics["warnings"][0].startswith("None of the 30 different documents")
    plan = {
        "pool": str(files["pool"]),
        "targets": {"t": str(files["target"])},
        "budget": "20-docs",
        "selections": {"mine": {"from": str(other)}},
        "seeds": 1,
        "sizes": [MICRO],
        "tokens": [1500],
        "vocabulary": 300,
    }
    with caplog.at_level(logging.WARNING):
        made = dataworth.compare(plan, out=tmp_path / "compared", so_far=True, engine=1)
    assert "30 of its 30 documents are not in the pool; was it chosen from another" in caplog.text
    assert any("chosen from another one" in text for text in made.facts["warnings"])
