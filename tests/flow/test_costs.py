"""What steps took, by clocks of which each look takes a second: real ones may be too coarse."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest

import dataworth
from dataworth import Engine
from dataworth.flow import annotating, scoring
from dataworth.flow.scoring import costs_of, read_record
from flow.pools import write


def test_fitting_and_scoring_are_told_by_step(
    lines: list[bytes], math: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = write(tmp_path / "pool.jsonl", lines)
    clock = {"thread_time": itertools.count().__next__, "monotonic": lambda: 0.0}
    monkeypatch.setattr(annotating, "time", SimpleNamespace(**clock))
    monkeypatch.setattr(scoring, "time", SimpleNamespace(process_time=itertools.count().__next__))
    steps = ("dsir", "dsir(ngrams=1)")
    here = Engine(1, "threads")
    found = dataworth.score(pool, math, steps=steps, out=tmp_path / "out", engine=here)
    record = read_record(found.folder)
    # To fit each, and to score the one block.
    fitted = found.scored.fitted
    assert costs_of(record, fitted, len(lines)) == {"dsir": (1.0, 1.0), "dsir_2": (1.0, 1.0)}
    assert costs_of(record, fitted, 2 * len(lines))["dsir"] == (1.0, 2.0)
