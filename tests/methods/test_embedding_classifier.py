"""Heads on embeddings: the ridge in closed form, gradients by differences, ratings from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError, InputError
from dataworth.features.embeddings.readout import _slopes, hidden_layer, read_out, ridge
from dataworth.methods.embedding_classifier import EmbeddingClassifier
from methods.fitting import fit, utility

NGRAMS: dict[str, Any] = {"embedder": "ngrams"}


def speak(words: str, n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words.split(), rng.integers(5, 15))) for _ in range(n)]


SUMS, SEAS = "one two three plus minus is the of", "wave ship salt wind deep is the of"
TARGET, POOL = speak(SUMS, 60, 0), speak(SUMS, 20, 1) + speak(SEAS, 80, 2)


def test_ridge_is_its_closed_form() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x, y, weights = rng.normal(size=(40, 6)), rng.normal(size=40), rng.uniform(0.1, 3, 40)
    net = ridge(x, y, weights, 2.5)
    ones = np.column_stack([x, np.ones(40)])
    free = np.diag([2.5] * 6 + [0.0])
    direct = np.linalg.solve((ones.T * weights) @ ones + free, ones.T @ (weights * y))
    np.testing.assert_allclose(np.append(net["w"], net["b"]), direct, rtol=1e-9)
    model = linear_model.Ridge(alpha=2.5).fit(x, y, weights)
    np.testing.assert_allclose(read_out(net, x), model.predict(x), rtol=1e-9)


@pytest.mark.parametrize("logistic", [True, False])
def test_gradients_of_the_network_are_differences(logistic: bool) -> None:
    rng = np.random.default_rng(1)
    x, y, weights = rng.normal(size=(9, 4)), rng.integers(0, 2, 9) * 1.0, rng.uniform(1, 2, 9)
    net = {"w1": rng.normal(size=(4, 5)), "b1": rng.normal(size=5), "w": rng.normal(size=5)}
    net["b"] = rng.normal(size=1)

    def loss() -> float:
        z = read_out(net, x)
        each = np.logaddexp(0, z) - y * z if logistic else 0.5 * (z - y) ** 2
        return float(np.mean(weights * each))

    for name, slope in _slopes(net, x, y, weights, logistic).items():
        for at in np.ndindex(net[name].shape):
            net[name][at] += 1e-6
            above = loss()
            net[name][at] -= 2e-6
            difference = (above - loss()) / 2e-6
            net[name][at] += 1e-6
            assert slope[at] == pytest.approx(difference, abs=1e-6)


def test_a_network_learns_what_no_line_can() -> None:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 20, float)
    y = np.array([0, 1, 1, 0] * 20, float)
    options: dict[str, Any] = {"hidden": 16, "epochs": 400, "learning_rate": 0.01, "seed": 0}
    net = hidden_layer(x, y, np.ones(80), logistic=True, **options)
    assert ((read_out(net, x) > 0) == (y == 1)).all()


@pytest.mark.parametrize(("head", "unit"), [("mlp", "nats"), ("ridge", "between -1 and 1")])
def test_it_finds_what_was_planted(head: str, unit: str) -> None:
    step = EmbeddingClassifier(**NGRAMS, head=head, hidden=16)
    fitted = fit(step, POOL, {"t": TARGET})
    (column,) = fitted.columns
    assert (column.name, column.unit) == ("utility:embedding_classifier:t", unit)
    values = utility(fitted, POOL)
    assert len(set(np.argsort(values)[-20:]) & set(range(20))) >= 14
    assert utility(fit(step, POOL, {"t": TARGET}), POOL) == values


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    path = tmp_path / "rated.jsonl"
    rows = [{"text": t, "score": 5} for t in TARGET] + [{"text": t, "score": 1} for t in POOL[20:]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("head", ["mlp", "ridge"])
def test_ratings_of_a_file_are_learned(rated: Path, head: str) -> None:
    step = EmbeddingClassifier(**NGRAMS, head=head, rated=str(rated), hidden=16, epochs=60)
    step.check()
    assert not step.needs_target
    fitted = fit(step, POOL, {})
    (column,) = fitted.columns
    assert (column.name, column.unit) == ("utility:embedding_classifier:", "rating")
    values = np.array(utility(fitted, POOL))
    assert abs(values[:20].mean() - 5) < 1 and abs(values[20:].mean() - 1) < 0.5


def test_bad_ratings_are_named(tmp_path: Path, rated: Path) -> None:
    with pytest.raises(InputError, match=r"has no number as 'grade' but None; name the field"):
        fit(EmbeddingClassifier(**NGRAMS, rated=str(rated), rating="grade"), POOL, {})
    same = tmp_path / "same.jsonl"
    same.write_text('{"text": "a", "score": 1}\n{"text": "b", "score": 1}\n')
    with pytest.raises(InputError, match="all ratings are alike"):
        fit(EmbeddingClassifier(**NGRAMS, rated=str(same)), POOL, {})
    with pytest.raises(ConfigError, match="there is no file"):
        EmbeddingClassifier(**NGRAMS, rated=str(tmp_path / "gone")).check()
    with pytest.raises(DataworthError, match="one class only"):
        fit(EmbeddingClassifier(**NGRAMS), [], {"t": TARGET})
