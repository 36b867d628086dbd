"""The column of vectors and the nearest text of a target, in a run and to a mechanism."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dataworth
from dataworth.errors import ConfigError
from dataworth.methods.embed import Embed
from methods.fitting import docs, fit
from methods.worded import groups, worded


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_the_column_is_the_unit_vectors(tmp_path: Path) -> None:
    vectors, _ = groups([20, 10], [0.5, 0.5])
    options, texts = worded(tmp_path, 3 * vectors)
    batch = fit(Embed(**options), texts, {}).annotate(docs(texts))
    assert batch.schema.names == ["embedding:embed"]
    found = np.array(batch.column(0).to_pylist())
    np.testing.assert_allclose(found, vectors, atol=1e-6)


def test_a_run_keeps_the_vectors_and_chooses_by_them(tmp_path: Path) -> None:
    vectors, group = groups([60, 30, 10], [0.2, 0.2, 0.2])
    options, texts = worded(tmp_path / "words", vectors)
    pool = write(tmp_path / "pool.jsonl", [*texts, "unknown"])
    step = {"embed": options}
    drop = {"length": {"maximum": 1}}
    out = tmp_path / "out"
    chosen = dataworth.select(
        pool, None, "3-docs", steps=[drop, step], mechanism="facility_location", out=out
    )
    table = chosen.scores.table
    assert table.embeddings == ("embedding:embed",)
    kept = table.vectors("embedding:embed", np.array([5, 0, 100]))
    np.testing.assert_allclose(kept[:2], vectors[[5, 0]], atol=1e-6)
    np.testing.assert_array_equal(kept[2], 0)  # no known word
    counts = chosen.table["uid"].to_pylist()
    uids = table.column("uid").tolist()
    rows = [uids.index(uid) for uid in counts]
    assert sorted(group[rows]) == [0, 1, 2]
    again = dataworth.load(out)
    np.testing.assert_array_equal(
        again.table.vectors("embedding:embed", np.array([5, 0, 100])), kept
    )


def test_without_vectors_it_is_one_line(tmp_path: Path) -> None:
    pool = write(tmp_path / "pool.jsonl", ["a b", "c d"])
    with pytest.raises(ConfigError, match="no step made any"):
        dataworth.select(pool, None, "1-docs", steps=["length"], mechanism="k_centre")


def test_a_target_by_the_nearest_text(tmp_path: Path) -> None:
    """What is like the target comes first, and of that one that stands for the rest."""
    vectors, group = groups([40, 20], [0.3, 0.3])
    options, texts = worded(tmp_path / "words", vectors)
    pool = write(tmp_path / "pool.jsonl", texts)
    target = write(tmp_path / "target.jsonl", texts[40:48])
    similarity = {"embedding_similarity": {"nearest": 1, **options}}
    chosen = dataworth.select(
        pool,
        target,
        "4-docs",
        steps=[{"embed": options}, similarity],
        mechanism="facility_location(objective=target)",
    )
    uids = chosen.scores.table.column("uid").tolist()
    rows = [uids.index(uid) for uid in chosen.table["uid"].to_pylist()]
    assert group[rows].tolist().count(1) >= 3
