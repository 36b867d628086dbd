"""Semantic duplicates: chains, copies, epsilon, and clusters that are too large for one piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataworth.engine.grouping import Groups
from dataworth.errors import ConfigError
from dataworth.features.embeddings import nearest_before, unit_rows
from dataworth.methods.semdedup import SemDeDup
from methods.crossing import decide, edited, kept
from testdata import read_rows


@pytest.fixture(scope="module")
def texts(small_pool: Path) -> list[str]:
    found = (row["text"] for row in read_rows(small_pool))
    return [text for text in found if 100 < len(text.split()) < 500][:150]


def ngrams(**options: Any) -> SemDeDup:
    return SemDeDup(embedder="ngrams", **options)


def resolved(step: SemDeDup, vectors: Any) -> list[int]:
    """Which rows of one cluster go, in the order given."""
    rows = np.asarray(vectors, np.float32)
    n = len(rows)
    carried = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    uid = np.arange(n, dtype=np.uint64)
    groups = Groups(
        np.array([3], np.uint64),
        np.array([0, n]),
        np.arange(n, dtype=np.uint32),
        uid,
        np.zeros(n),
        {step.feature.name: carried},
    )
    found = step.resolve(groups, {"mean": np.zeros(rows.shape[1], np.float32)})
    assert found["cluster:semdedup"].to_pylist() == [2] * n
    return np.flatnonzero(found["drop"].to_numpy()).tolist()


def test_chains_collapse_to_their_first() -> None:
    """a is like b, b like c, a not like c: c is dropped for b, which was dropped itself."""
    angles = [0.0, 0.4, 0.8]
    vectors = [[np.cos(angle), np.sin(angle)] for angle in angles]
    assert resolved(ngrams(epsilon=0.1), vectors) == [1, 2]
    assert resolved(ngrams(epsilon=0.05), vectors) == []


def test_blocks_are_compared_as_all_at_once() -> None:
    vectors = unit_rows(np.random.default_rng(0).normal(size=(200, 8)))
    starts = np.array([0, 90, 91, 200])
    plain = np.zeros(200)
    for low, high in ((0, 90), (90, 91), (91, 200)):
        cosine = vectors[low:high] @ vectors[low:high].T
        for row in range(1, high - low):
            plain[low + row] = max(cosine[row, :row].max(), 0)
    assert nearest_before(vectors, starts, block=16) == pytest.approx(plain, abs=1e-6)


def test_copies_and_epsilon(texts: list[str], tmp_path: Path) -> None:
    """Copies go for every epsilon; more goes the larger it is; little that is different goes."""
    draw = np.random.default_rng(0)
    pool = [*texts, *texts[:50], *(edited(text, 0.02, draw) for text in texts[50:100])]
    stay = {}
    for epsilon in (1e-4, 0.025, 0.1):
        rows = decide(ngrams(epsilon=epsilon, clusters=3), pool, tmp_path / str(epsilon))
        stay[epsilon] = set(kept(rows))
        assert {row["drop"] for row in rows} == {None, "semantic duplicate"}
    assert len(stay[1e-4]) == 200 and stay[0.1] < stay[0.025] < stay[1e-4]
    assert 145 <= len(stay[0.1]) <= 160


@pytest.mark.parametrize("keep", ["hard", "easy", "random"])
def test_the_order_of_documents_changes_nothing(
    texts: list[str], tmp_path: Path, keep: Any
) -> None:
    draw = np.random.default_rng(1)
    pool = texts[:60] + [edited(text, 0.05, draw) for text in texts[:60]]
    order = draw.permutation(len(pool))
    step = ngrams(keep=keep, epsilon=0.2, clusters=1)
    some = [
        {row["uid"] for row in decide(step, given, tmp_path / str(number)) if row["drop"] is None}
        for number, given in enumerate([pool, [pool[i] for i in order]])
    ]
    assert some[0] == some[1] and len(some[0]) < 100


@pytest.mark.parametrize("options", [{"epsilon": 0.0}, {"clusters": 0}, {"embedder": "states"}])
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SemDeDup(**{"embedder": "ngrams", **options})
