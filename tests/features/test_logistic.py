"""The regression on hashed n-grams: scikit-learn's optimum, Platt's, and the same bits again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents
from dataworth.features.ngrams import HashedNgrams
from dataworth.features.ngrams.logistic import Shares, balanced, calibrate, train_logistic

FEATURE = HashedNgrams(buckets=97)
WORDS = [f"w{i}" for i in range(40)]


def texts(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(n)]


def rows_of(documents: list[str]) -> Shares:
    return Shares.of(FEATURE, Documents.from_texts(documents))


def dense(rows: Shares) -> np.ndarray:
    out = np.zeros((len(rows), rows.buckets))
    for row in range(len(rows)):
        at = slice(rows.spans[row], rows.spans[row + 1])
        np.add.at(out[row], rows.ids[at], rows.counts[at] * rows.row_scale[row])
    return out


def test_shares_are_counts_over_their_sum() -> None:
    documents = ["a a a b", "", "c"]
    rows = rows_of(documents)
    for row, text in zip(dense(rows), documents, strict=True):
        counted = FEATURE.count(Documents.from_texts([text]))
        np.testing.assert_allclose(row, counted.counts / max(counted.grams[0], 1))
    assert all(len(set(rows.ids[a:b])) == b - a for a, b in itertools.pairwise(rows.spans))


@settings(max_examples=15)
@given(st.lists(st.integers(0, 9), max_size=12))
def test_rows_taken_and_joined(picked: list[int]) -> None:
    rows = rows_of(texts(10, 0))
    index = np.array(picked, np.int64)
    np.testing.assert_array_equal(dense(rows.take(index)), dense(rows)[index])
    joined = rows.take(index).above(rows)
    np.testing.assert_array_equal(dense(joined), np.concatenate([dense(rows)[index], dense(rows)]))
    vector = np.random.default_rng(1).normal(size=rows.buckets + 1)
    np.testing.assert_allclose(rows.times(vector), dense(rows) @ vector[:-1] + vector[-1])


@pytest.mark.parametrize("strength", [1e-2, 1.0, 100.0])
def test_it_is_the_optimum_of_scikit_learn(strength: float) -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    rows, rng = rows_of(texts(200, 1)), np.random.default_rng(2)
    labels = rng.random(200) < 0.2 + 0.6 * (dense(rows)[:, 3] > 0)
    scale = rng.uniform(1, 20, rows.buckets)
    mine = train_logistic(rows, labels, balanced(labels), 1 / strength / scale**2, tolerance=1e-10)
    model = sklearn.LogisticRegression(
        C=strength, class_weight="balanced", solver="newton-cholesky", tol=1e-12, max_iter=1000
    ).fit(dense(rows) * scale, labels)
    np.testing.assert_allclose(mine[:-1] / scale, model.coef_[0], rtol=1e-6, atol=1e-9)
    assert mine[-1] == pytest.approx(float(model.intercept_[0]), abs=1e-8)


def test_the_same_again_and_a_looser_tolerance_is_near() -> None:
    rows = rows_of(texts(300, 3))
    labels = np.arange(300) < 100
    first, second = (train_logistic(rows, labels, balanced(labels), 0.1) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    exact = train_logistic(rows, labels, balanced(labels), 0.1, tolerance=1e-10)
    assert np.abs(first - exact).max() < 0.01 * np.abs(exact).max()


def test_one_class_alone_ends() -> None:
    rows = rows_of(texts(5, 4))
    labels = np.ones(5, np.bool_)
    assert np.isfinite(train_logistic(rows, labels, balanced(labels), 1.0)).all()


def test_balanced_classes_count_alike() -> None:
    labels = np.arange(10) < 3
    weights = balanced(labels)
    assert weights[labels].sum() == pytest.approx(weights[~labels].sum())
    assert weights.mean() == pytest.approx(1)


def test_calibration_is_the_logistic_regression_on_platts_targets() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(5)
    labels = rng.random(400) < 0.3
    logits = rng.normal(size=400) * 50 + 40 * labels
    slope, intercept = calibrate(logits, labels, np.ones(400))
    n, m = labels.sum(), (~labels).sum()
    target = np.where(labels, (n + 1) / (n + 2), 1 / (m + 2))
    twice = np.concatenate([logits, logits])[:, None]
    model = linear_model.LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky").fit(
        twice / 50, np.arange(800) < 400, sample_weight=np.concatenate([target, 1 - target])
    )
    assert slope == pytest.approx(float(model.coef_[0, 0]) / 50, rel=1e-5)
    assert intercept == pytest.approx(float(model.intercept_[0]), rel=1e-5)


def test_calibration_of_classes_told_apart_without_an_error_is_finite() -> None:
    labels = np.arange(20) < 10
    slope, intercept = calibrate(np.where(labels, 5.0, -5.0), labels, np.ones(20))
    probability = 1 / (1 + np.exp(-(slope * 5 + intercept)))
    assert probability == pytest.approx(11 / 12, abs=1e-6)
