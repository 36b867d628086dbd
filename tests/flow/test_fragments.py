"""A selection of fragments is told for budgets of every unit, and only where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dataworth

WORDS = [f"word{i}" for i in range(300)]


def texts(short: int, long: int) -> list[str]:
    draw = np.random.default_rng(0)
    fragments = [f"Answer: {i}" for i in range(short)]
    return fragments + [" ".join(draw.choice(WORDS, 120)) for _ in range(long)]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dataworth.Scores:
    folder = tmp_path_factory.mktemp("fragments")
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts(300, 700))
    (folder / "pool.jsonl").write_text(rows)
    target = [f"Answer: {i} because of {WORDS[i % 300]}" for i in range(60)]
    (folder / "t.jsonl").write_text("".join(json.dumps({"text": x}) + "\n" for x in target))
    out: Path = folder / "out"
    return dataworth.score(folder / "pool.jsonl", folder / "t.jsonl", out=out)


@pytest.mark.parametrize("budget", ["100-docs", "400", "3KB", "0.4%"])
def test_fragments_are_told_in_every_unit(scores: dataworth.Scores, budget: str) -> None:
    selection = scores.choose(budget, mechanism="top_k")
    chosen = selection.choice.counts > 0
    lengths = selection.choice.candidates.column("text_bytes")
    kept = int((lengths[chosen] < 40).sum())
    said = [note for note in selection.metrics["warnings"] if "shorter than" in note]
    assert len(said) == 1
    assert said[0].startswith(f"{kept:,} of the chosen documents ({kept / chosen.sum():.0%})")


def test_long_texts_are_no_fragments(scores: dataworth.Scores) -> None:
    selection = scores.choose("20%", mechanism="random")
    assert not [note for note in selection.metrics["warnings"] if "shorter than" in note]
