"""Rates of passing: each rule by itself over the whole pool, whatever the steps before removed."""

from __future__ import annotations

import json

import pytest

import dataworth
from cli.conftest import Invoke, _compiled, _log_as_it_was, dw  # noqa: F401

SHORT, HASHES = 40, 25


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dataworth.Scores:
    """100 documents: 40 are short, and 25 of these and 5 others have too many hash signs."""
    words = "the story of a ship and of the sea that it sailed with a good wind " * 4
    rows = []
    for number in range(100):
        text = f"{number} few words" if number < SHORT else f"{number} {words}"
        hashes = number < HASHES or number >= 95
        rows.append({"text": text + (" #" * 30 if hashes else "")})
    steps = ["exact_duplicates", "length(minimum=20)", "gopher_quality"]
    out = tmp_path_factory.mktemp("passing") / "out"
    return dataworth.score(rows, steps=steps, out=out, engine=1)


def test_by_itself_and_in_its_turn(run: dataworth.Scores) -> None:
    rules = {(one.step, one.rule): one for one in run.pass_rates()}
    copies = rules["exact_duplicates", "exact duplicate"]
    assert (copies.alone, copies.removed, copies.entered) == (1.0, 0, 100)
    short = rules["length", "shorter than 20 words"]
    hashes = rules["gopher_quality", "too many hash signs"]
    few = rules["gopher_quality", "too few words"]
    assert short.entered == 100 and hashes.entered == 100 - short.removed
    assert short.alone == pytest.approx(1 - short.removed / 100)
    assert few.alone == pytest.approx(0.6) and few.removed < SHORT
    assert hashes.alone == pytest.approx(0.7) and hashes.removed == 5 + SHORT - short.removed - (
        few.removed
    )
    total = sum(one.removed for one in rules.values())
    assert total == 100 - run.facts()["eligible"]


def test_shown(run: dataworth.Scores, dw: Invoke) -> None:  # noqa: F811
    shown = dw("table", run.folder, "--rates")
    assert shown.exit_code == 0 and "passes alone" in shown.output, shown.output
    (rule,) = [
        one
        for one in json.loads(dw("table", run.folder, "--rates", "--json").output)
        if one["rule"] == "too many hash signs"
    ]
    assert rule["alone"] == pytest.approx(0.7)
