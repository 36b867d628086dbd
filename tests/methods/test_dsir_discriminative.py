"""The discriminative weight: it tells domains apart, adds up, and comes back from disk."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError
from dataworth.features.ngrams import HashedNgrams
from dataworth.methods.dsir_discriminative import DiscriminativeDSIR
from dataworth.methods.fitted import Fitted
from methods.fitting import docs, fit, utility
from testdata import read_rows


@pytest.fixture(scope="module")
def rows(small_pool: Path) -> list[dict]:
    return list(read_rows(small_pool))[:1_000]


@pytest.fixture(scope="module")
def targets(target_file: Callable[..., Path]) -> dict[str, list[str]]:
    names = ("math", "legal", "code")
    return {name: [row["text"] for row in read_rows(target_file(name))][:150] for name in names}


def separation(values: np.ndarray, right: np.ndarray) -> float:
    """The chance that a document of the right domain scores above another one (AUC)."""
    ranks = np.argsort(np.argsort(values))
    n, m = int(right.sum()), int((~right).sum())
    return float((ranks[right].sum() - n * (n - 1) / 2) / (n * m))


def test_it_finds_the_right_domain(rows: list[dict], targets: dict[str, list[str]]) -> None:
    texts = [row["text"] for row in rows]
    fitted = fit(DiscriminativeDSIR(), texts, targets)
    assert [c.unit for c in fitted.columns[:3]] == ["nats"] * 3
    for column, name in enumerate(sorted(targets)):
        right = np.array([row["domain"] == name for row in rows])
        values = np.array(utility(fitted, texts, column))
        assert separation(values, right) > 0.9
        assert right[np.argsort(-values)[: right.sum()]].mean() > 0.7
        # The target's own documents look like the target: a logit above 0.
        assert np.mean(np.array(utility(fitted, targets[name], column)) > 0) > 0.8
        assert np.mean(values[~right] < 0) > 0.8


def test_a_stronger_penalty_gives_smaller_logits(
    rows: list[dict], targets: dict[str, list[str]]
) -> None:
    texts, one = [row["text"] for row in rows[:500]], {"math": targets["math"]}
    spans = [
        np.ptp(utility(fit(DiscriminativeDSIR(strength=strength), texts, one), texts))
        for strength in (1e-3, 1e-1, 10)
    ]
    assert spans == sorted(spans) and spans[0] < spans[2] / 2


def test_contributions_add_up_and_it_comes_back(
    rows: list[dict], targets: dict[str, list[str]], tmp_path: Path
) -> None:
    texts = [row["text"] for row in rows[:200]]
    step = DiscriminativeDSIR(documents=100)
    fitted = fit(step, texts, targets)
    for text in texts[:5]:
        for column, name in enumerate(sorted(targets)):
            shares = fitted.explain(text, f"utility:dsir_discriminative:{name}")
            assert "(bias)" in dict(shares)
            value = utility(fitted, [text], column)[0]
            assert sum(share for _, share in shares) == pytest.approx(value, rel=1e-9)
    fitted.save(tmp_path / "step")
    again = Fitted.load(step, tmp_path / "step")
    assert again.annotate(docs(texts)).equals(fitted.annotate(docs(texts)))
    assert again.columns == fitted.columns


def test_fitting_again_gives_the_same(rows: list[dict], targets: dict[str, list[str]]) -> None:
    texts, one = [row["text"] for row in rows[:200]], {"math": targets["math"]}
    first, second = (fit(DiscriminativeDSIR(), texts, one) for _ in range(2))
    assert np.array_equal(first.weights, second.weights)


def test_it_is_the_regression_of_scikit_learn(
    rows: list[dict], targets: dict[str, list[str]]
) -> None:
    """On shares of n-grams scaled by the square root of the number of buckets."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    texts, buckets = [row["text"] for row in rows[:150]], 300
    fitted = fit(DiscriminativeDSIR(buckets=buckets), texts, {"math": targets["math"][:60]})
    feature = HashedNgrams(buckets=buckets)
    shares = np.array(
        [feature.count(docs([text])).counts for text in [*targets["math"][:60], *texts]], float
    )
    shares /= np.maximum(shares.sum(1, keepdims=True), 1)
    model = linear_model.LogisticRegression(
        C=1.0, class_weight="balanced", tol=1e-10, max_iter=10_000, solver="newton-cg"
    ).fit(shares * math.sqrt(buckets), np.arange(len(shares)) < 60)
    theirs = model.decision_function(shares[60:] * math.sqrt(buckets))
    np.testing.assert_allclose(utility(fitted, texts), theirs, atol=0.01 * np.ptp(theirs))


def test_documents_without_a_word_are_dropped() -> None:
    fitted = fit(DiscriminativeDSIR(), ["a b", " ", "c d"], {"t": ["a b c", ""]})
    assert utility(fitted, [" ", "a"])[0] is None


@pytest.mark.parametrize(
    "options",
    [{"strength": 0}, {"strength": math.nan}, {"documents": 0}, {"minimum": -1}, {"tokens": "?"}],
)
def test_wrong_settings(options: dict) -> None:
    with pytest.raises(ConfigError):
        DiscriminativeDSIR(**options)


def test_nothing_to_fit() -> None:
    with pytest.raises(DataworthError, match="has no document that is not of the target"):
        fit(DiscriminativeDSIR(), [], {"t": ["a"]})
    with pytest.raises(ConfigError, match="needs a target"):
        fit(DiscriminativeDSIR(), ["a"], {})
