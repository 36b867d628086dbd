"""D4: the distance from the centroid, after a deduplication that the clustering does not see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import dataworth
from dataworth.methods.d4 import D4
from dataworth.methods.semdedup import SemDeDup
from methods.fitting import fit, utility
from methods.worded import groups, worded


def test_the_utility_is_the_distance_from_the_nearest_centroid(tmp_path: Path) -> None:
    vectors, _ = groups([60, 50], [0.4, 0.6])
    options, texts = worded(tmp_path, vectors)
    fitted = fit(D4(clusters=2, **options), texts, {})
    expected = 1 - (vectors @ fitted.state["centroids"].T).max(1)
    np.testing.assert_allclose(utility(fitted, texts), expected, atol=1e-5)


def test_the_deduplication_has_the_same_embedding(tmp_path: Path) -> None:
    options, _ = worded(tmp_path, np.eye(3))
    (before,) = D4(epsilon=0.2, clusters=7, **options).filters
    assert before == SemDeDup(epsilon=0.2, clusters=7, **options)
    assert D4(epsilon=0, **options).filters == ()


def test_what_is_left_is_clustered_again(tmp_path: Path) -> None:
    """Forty copies of a document would have a cluster of their own: they are gone before."""
    vectors, _ = groups([40, 36], [0.3, 0.3])
    rows = np.concatenate([vectors, np.repeat(np.eye(8)[7:], 40, axis=0)])
    options, texts = worded(tmp_path / "words", rows)
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    step = {"d4": {"clusters": 100, "epsilon": 1e-4, **options}}
    scores = dataworth.score(pool, steps=[step])
    table = scores.to_arrow().sort_by("offset")
    drop = table["drop"].to_pylist()
    assert drop[:76] == [None] * 76 and drop[76:].count("semantic duplicate") == 39
    fitted = scores.steps["d4"]
    # 77 documents are left, so there are two centroids, none of them at the copies.
    assert fitted.state["centroids"].shape == (2, 8)
    assert fitted.state["centroids"][:, 7].max() < 0.5
