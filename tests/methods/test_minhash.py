"""Near-duplicates: planted ones of real documents, estimates against exact Jaccard, survivors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.corpus.documents import Documents
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError
from dataworth.features.sketches import Sketch, estimated_jaccard
from dataworth.methods.minhash import MinHash
from methods.crossing import decide, edited, jaccard, kept
from testdata import read_rows


@pytest.fixture(scope="module")
def texts(small_pool: Path) -> list[str]:
    found = (row["text"] for row in read_rows(small_pool))
    return [text for text in found if 150 < len(text.split()) < 800][:120]


def meeting(similarity: float) -> float:
    """The share of pairs that meet in a band, by theory."""
    return 1 - (1 - similarity**8) ** 14


@pytest.mark.parametrize("verify_by", ["estimated", "exact"])
def test_planted_near_duplicates(texts: list[str], tmp_path: Path, verify_by: Any) -> None:
    """Recall by edit rate follows the theory; what is joined is alike."""
    draw = np.random.default_rng(0)
    step = MinHash(verify_by=verify_by)
    rates = (0.0, 0.01, 0.05, 0.2)
    planted = [edited(text, rate, draw) for rate in rates for text in texts]
    rows = decide(step, texts + planted, tmp_path)
    recall = []
    for number, rate in enumerate(rates):
        copies = rows[len(texts) * (number + 1) :][: len(texts)]
        met = [
            a["cluster:minhash"] == b["cluster:minhash"] for a, b in zip(rows, copies, strict=False)
        ]
        recall.append(float(np.mean(met)))
        true = [
            jaccard(step, a, b) for a, b in zip(texts, planted[len(texts) * number :], strict=False)
        ]
        if rate in (0.0, 0.01):
            assert recall[-1] > np.mean([meeting(s) for s in true]) - 0.05
        if rate == 0.2:
            assert max(true) < 0.4
    assert recall[0] == 1 and recall[1] > 0.95 and recall[3] == 0
    assert recall[1] >= recall[2] >= recall[3]
    # Every document of a cluster is like another one of it.
    clusters: dict[int, list[str]] = {}
    for text, row in zip(texts + planted, rows, strict=True):
        clusters.setdefault(row["cluster:minhash"], []).append(text)
    least = 0.7 if verify_by == "exact" else 0.5
    for members in clusters.values():
        for text in members:
            others = [jaccard(step, text, other) for other in members if other is not text]
            assert not others or max(others) >= least


def test_one_of_each_cluster_stays(texts: list[str], tmp_path: Path) -> None:
    """The longest, the shortest, or the one of least uid; ties go to the least uid."""
    some = [text + " and some more" for text in texts[:20]]
    pool = texts[:20] + some
    uid = Documents.from_texts(pool).uid
    for survives in ("longest", "shortest", "first"):
        rows = decide(MinHash(survives=survives), pool, tmp_path / survives)
        stay = kept(rows)
        assert len(stay) == 20
        for row in stay:
            other = (row + 20) % 40
            assert rows[other]["drop"] == "near-duplicate"
            assert rows[other]["cluster:minhash"] == uid[row]
            if survives == "first":
                assert uid[row] < uid[other]
            else:
                assert (row >= 20) == (survives == "longest")


def test_estimates_have_no_bias(texts: list[str]) -> None:
    """Over many pairs the mean error is small beside what chance makes of one."""
    draw = np.random.default_rng(1)
    for rate in (0.02, 0.1, 0.3):
        others = [edited(text, rate, draw) for text in texts]
        sketch = Sketch()
        estimate = estimated_jaccard(
            sketch.values(Documents.from_texts(texts)), sketch.values(Documents.from_texts(others))
        )
        true = np.array([jaccard(MinHash(), a, b) for a, b in zip(texts, others, strict=True)])
        one = np.sqrt(np.mean(true * (1 - true)) / sketch.bins)
        assert abs(np.mean(estimate - true)) < 3 * one / np.sqrt(len(true))
        assert np.std(estimate - true) < 1.5 * one


def test_short_texts(tmp_path: Path) -> None:
    """Of fewer words than a shingle all count together; without a word nothing is compared."""
    rows = decide(
        MinHash(), ["Click here", "click HERE!", "here click", "!!", "!!!", "..."], tmp_path
    )
    assert [row["cluster:minhash"] for row in rows][:2] == [rows[0]["cluster:minhash"]] * 2
    assert len({row["cluster:minhash"] for row in rows}) == 5


def test_workers_and_memory_change_nothing(texts: list[str], tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    pool = texts[:40] + [edited(text, 0.01, draw) for text in texts[:40]]
    runs = [
        decide(MinHash(), pool, tmp_path / str(number), engine=engine, memory=memory)
        for number, (engine, memory) in enumerate(
            [(Engine(1), 1 << 28), (Engine(3), 1 << 28), (Engine(2), 20_000)]
        )
    ]
    assert runs[0] == runs[1] == runs[2]
    order = np.random.default_rng(3).permutation(len(pool))
    shuffled = decide(MinHash(), [pool[i] for i in order], tmp_path / "shuffled")
    plain = {row["uid"]: (row["drop"], row["cluster:minhash"]) for row in runs[0]}
    assert {row["uid"]: (row["drop"], row["cluster:minhash"]) for row in shuffled} == plain


@pytest.mark.parametrize(
    "options",
    [{"bands": 0}, {"threshold": 0.0}, {"threshold": 1.5}, {"verify_by": "no"}, {"survives": "b"}],
)
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="minhash"):
        MinHash(**options)
