"""`DSIR.reference()` is the published package: buckets, weights, eligible documents, top-k.

The package is `data-selection` of PyPI by the paper's authors, fitted on everything.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import dataworth
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import uid_of
from features.twins import comparable
from testdata import read_rows

EACH = 60
WORKERS = 2


@dataclass
class Both:
    """The package and our run on the same files."""

    texts: list[str]
    package: Any
    weights: np.ndarray
    lengths: np.ndarray
    scores: dataworth.Scores

    @property
    def ours(self) -> np.ndarray:
        return self.scores.to_arrow()["utility:dsir:target"].to_numpy()

    @property
    def eligible(self) -> np.ndarray:
        return np.array([reason is None for reason in self.scores.to_arrow()["drop"].to_pylist()])


@pytest.fixture(scope="module")
def both(
    pool_files: list[Path],
    target_file: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Both:
    """60 documents of each domain and 100 shortened ones; target: math and many languages."""
    folder = tmp_path_factory.mktemp("reference")
    os.environ.setdefault("TQDM_DISABLE", "1")
    from data_selection import HashedNgramDSIR

    pool: list[str] = []
    target = [row["text"] for row in read_rows(target_file("math"))][:150]
    for path in pool_files:
        rows = [row["text"] for row in read_rows(path)]
        step = len(rows) // EACH
        pool += [text for text in rows[::step][:EACH] if all(map(comparable, set(text)))]
        if path.name.startswith("multilingual"):
            target += [text for text in rows[1::step][:EACH] if all(map(comparable, set(text)))]
    # Around the least length of 100 tokens, and down to none.
    pool += [" ".join(pool[10 * i].split()[:size]) for i, size in enumerate(range(3, 103))]
    pool += ["\u3000 \n", "!"]
    files = []
    for name, texts in (("pool", pool), ("target", target)):
        files.append(folder / f"{name}.jsonl")
        files[-1].write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts))
    package = HashedNgramDSIR(
        [str(files[0])],
        [str(files[1])],
        str(folder / "cache"),
        num_proc=WORKERS,
        tokenizer="wordpunct",
        min_example_length=100,
    )
    package.fit_importance_estimator(num_tokens_to_fit="all")
    package.compute_importance_weights()

    def joined(kind: str) -> np.ndarray:
        # Worker i has every document whose number modulo the workers is i.
        out = np.empty(len(pool))
        for i in range(WORKERS):
            out[i::WORKERS] = np.load(folder / "cache" / kind / f"{i}.npy")
        return out

    scores = dataworth.score(str(files[0]), str(files[1]), steps=("dsir:reference",), holdout=0)
    return Both(
        pool, package, joined("log_importance_weights"), joined("perexample_metadata"), scores
    )


def test_the_pool_is_large_and_mixed(both: Both) -> None:
    assert len(both.texts) > 1_200
    assert both.scores.to_arrow()["uid"].to_pylist() == [uid_of(text) for text in both.texts]


def test_buckets(both: Both) -> None:
    feature = both.scores.steps["dsir"].step.feature
    for text in both.texts[::12]:
        counts = feature.count(Documents.from_texts([text])).counts
        assert np.array_equal(counts, both.package.featurizer(text))


def test_models(both: Both) -> None:
    fitted = both.scores.steps["dsir"]
    np.testing.assert_allclose(fitted.weights[:, 0], both.package.log_diff, rtol=1e-14, atol=1e-14)


def test_eligible_documents(both: Both) -> None:
    assert np.array_equal(both.eligible, both.lengths >= 100)
    assert 1_000 < both.eligible.sum() < len(both.texts) - 80
    reasons = set(both.scores.to_arrow()["drop"].to_pylist())
    assert reasons == {None, "shorter than 100 words"}


def test_log_weights(both: Both) -> None:
    bound = 1e-11 * np.abs(both.package.log_diff).sum()
    eligible = both.eligible
    np.testing.assert_allclose(both.ours[eligible], both.weights[eligible], rtol=1e-9, atol=bound)
    # Of the short ones too, where the filter lets them pass.
    fitted = both.scores.steps["dsir"]
    short = [i for i in np.flatnonzero(~eligible) if both.lengths[i]]
    found = fitted.annotate(Documents.from_texts([both.texts[i] for i in short])).column(0)
    np.testing.assert_allclose(found.to_numpy(), both.weights[short], rtol=1e-9, atol=bound)


@pytest.mark.parametrize("count", [1, 37, 300, 800])
def test_top_k(both: Both, count: int, tmp_path: Path) -> None:
    both.package.resample(str(tmp_path / "out"), count, str(tmp_path / "cache"), top_k=True)
    theirs = {
        orjson.loads(line)["text"]
        for path in tmp_path.rglob("*.jsonl")
        for line in path.read_bytes().splitlines()
    }
    selection = both.scores.choose(f"{count}-docs", mechanism="top_k", duplicates="keep")
    ours = [both.texts[row] for row in np.flatnonzero(selection.choice.counts)]
    assert len(ours) == count
    assert set(ours) == theirs
