"""The built-in classifier: scikit-learn's optimum, calibrated, whatever the order of documents."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import DataworthError
from dataworth.features.ngrams import HashedNgrams
from dataworth.mechanism.registry import parse
from dataworth.methods.base import Pool, Targets
from dataworth.methods.classes import held_out, two_classes
from dataworth.methods.classifier import Classifier
from dataworth.table.survey import Survey
from methods.fitting import NO_FILES, docs, fit, pool_of, utility

RNG = np.random.default_rng(0)


def speak(words: str, n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words.split(), rng.integers(3, 20))) for _ in range(n)]


SUMS, SEAS = "one two three plus minus is the of", "wave ship salt wind deep is the of"
TARGET, POOL = speak(SUMS, 80, 0), speak(SUMS, 30, 1) + speak(SEAS, 120, 2)


def test_it_finds_what_was_planted() -> None:
    values = np.array(utility(fit(Classifier(buckets=500), POOL, {"t": TARGET}), POOL))
    assert set(np.argsort(-values)[:30]) == set(range(30))
    assert (values[:30] > 0).mean() > 0.9 and (values[30:] < 0).mean() > 0.9


def test_it_is_scikit_learns_regression_on_the_same_counts() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    step = Classifier(buckets=200, calibrate=0.0, strength=3.0)
    values = np.array(utility(fit(step, POOL, {"t": TARGET}), POOL))
    feature = HashedNgrams(buckets=200)
    shares = np.array([feature.count(docs([text])).counts for text in [*TARGET, *POOL]], float)
    shares /= shares.sum(1, keepdims=True)
    labels = np.arange(len(shares)) < len(TARGET)
    mean = (shares[labels].mean(0) + shares[~labels].mean(0)) / 2
    scaled = shares / np.sqrt((mean + 1 / 200) / 3.0)
    model = linear_model.LogisticRegression(
        C=1.0, class_weight="balanced", tol=1e-10, max_iter=10_000, solver="newton-cg"
    ).fit(scaled, labels)
    theirs = model.decision_function(scaled[len(TARGET) :])
    np.testing.assert_allclose(values, theirs, atol=0.01 * np.ptp(theirs))


def test_the_probability_is_calibrated() -> None:
    """Documents of which a share is of the target's kind have odds of about that."""
    mixed = [f"{a} {b}" for a, b in zip(speak(SUMS, 400, 3), speak(SEAS, 400, 4), strict=True)]
    target = [*speak(SUMS, 200, 5), *mixed[:200]]
    pool = [*speak(SEAS, 200, 6), *mixed[200:]]
    fitted = fit(Classifier(buckets=500, calibrate=0.5), pool, {"t": target})
    doubtful = np.array(utility(fitted, speak(SUMS + " " + SEAS, 300, 7)))
    assert abs(np.mean(1 / (1 + np.exp(-doubtful))) - 0.5) < 0.1


def test_twice_the_negatives_change_nothing() -> None:
    step = Classifier(buckets=200, calibrate=0.0)
    once, twice = (
        np.array(utility(fit(step, POOL * times, {"t": TARGET}), POOL)) for times in (1, 2)
    )
    # The classes are balanced; the data alone weigh more against the penalty.
    assert np.corrcoef(once, twice)[0, 1] > 0.999
    assert abs(once.mean() - twice.mean()) < 0.3


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_no_order_of_documents_counts(random: object) -> None:
    step = Classifier(buckets=50, seeds=2, negatives=60)
    target, pool = TARGET[:20], POOL[:60]
    expected = fit(step, pool, {"t": target}).weights
    random.shuffle(target)  # type: ignore[attr-defined]
    random.shuffle(pool)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(fit(step, pool, {"t": target}).weights, expected)


def test_several_samples_are_averaged() -> None:
    step = Classifier(buckets=200, negatives=40, seeds=3, calibrate=0.0)
    pool, targets = pool_of(POOL), Targets({"t": docs(TARGET)})
    parts = [step._train(pool, targets, "t", number) for number in range(3)]
    assert not np.array_equal(parts[0], parts[1])
    np.testing.assert_allclose(step.fit(pool, targets)["weights"][:, 0], np.mean(parts, 0)[:-1])


def test_contributions_add_up() -> None:
    fitted = fit(Classifier(buckets=200), POOL, {"t": TARGET})
    shares = fitted.explain(POOL[0], "utility:classifier:t")
    assert sum(share for _, share in shares) == pytest.approx(utility(fitted, POOL[:1])[0])


def test_heuristic_classification_is_a_noisy_threshold() -> None:
    mechanism = parse(Classifier.heuristic().mechanism)
    # The specification: (2 - s)^-9 is 0.0260 at a probability of 0.5, log odds of 0.
    assert mechanism.acceptance(np.zeros(1))[0] == pytest.approx(1.5**-9)  # type: ignore[attr-defined]


def test_few_documents_and_documents_of_the_pool_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "dataworth"):
        fit(Classifier(buckets=50), POOL, {"t": POOL[:10]})
    few, inside = caplog.messages
    assert "10 documents to learn from, fewer than 50" in few
    assert "10 of 150 sampled documents of the pool" in inside
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dataworth"):
        fit(Classifier(buckets=50), POOL[30:], {"t": TARGET})
    assert not caplog.messages


def test_one_class_alone_is_refused() -> None:
    for pool in ([], TARGET):
        with pytest.raises(
            DataworthError, match="one class only: the sample of the pool"
        ) as raised:
            fit(Classifier(), pool, {"t": TARGET})
        assert "\n" not in str(raised.value)
    empty = Targets({"t": docs([])})
    with pytest.raises(DataworthError, match="'t' has no document to learn from"):
        two_classes("classifier", pool_of(POOL), empty, "t", 10)


def test_negatives_depend_on_the_seed() -> None:
    def negatives(seed: int) -> set[str]:
        pool = Pool(NO_FILES, Survey(documents=len(POOL), sample=docs(POOL)), pool_of([]).engine)
        pool.seed = seed
        documents, labels = two_classes("c", pool, Targets({"t": docs(TARGET)}), "t", 20)
        assert labels.sum() == len(TARGET) and len(labels) == len(TARGET) + 20
        return set(documents.take(~labels).texts())

    assert negatives(0) == negatives(0) != negatives(1)


def test_held_out_is_by_the_text_and_never_a_whole_class() -> None:
    documents, labels = docs([*TARGET[:4], *TARGET[:4]]), np.arange(8) < 4
    assert not held_out(documents, np.ones(8, np.bool_), 0.5, 0).any()
    for seed in range(5):
        held = held_out(documents, labels, 0.5, seed)
        assert (held[:4] == held[4:]).all()
