"""What steps over embeddings share: centring, another model, wrong numbers, few documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError, RunError
from dataworth.methods.base import Batch
from dataworth.methods.cluster_balanced import ClusterBalanced
from dataworth.methods.d4 import D4
from dataworth.methods.density import Density
from dataworth.methods.embed import Embed
from methods.fitting import docs, fit, utility
from methods.worded import groups, worded

CLUSTERED = [Density, ClusterBalanced, D4]


def test_vectors_are_centred_and_of_length_one(tmp_path: Path) -> None:
    options, texts = worded(tmp_path, [[3.0, 1.0], [1.0, 1.0], [1.0, 2.0], [3.0, 4.0]])
    fitted = fit(Embed(**{**options, "centre": True}), texts, {})
    found = fitted.step.unit_vectors(Batch(docs(texts)), fitted.state)
    plain = np.array([[1.0, -1], [-1, -1], [-1, 0], [1, 2]])
    expected = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("step", CLUSTERED)
def test_rotation_changes_nothing(step: type, tmp_path: Path) -> None:
    vectors, _ = groups([70, 60, 50], [0.5, 0.7, 0.9])
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))
    found = []
    for name, some in (("plain", vectors), ("turned", vectors @ turn)):
        options, texts = worded(tmp_path / name, some)
        found.append(utility(fit(step(clusters=3, **options), texts, {}), texts))
    np.testing.assert_allclose(*found, atol=1e-3)


@pytest.mark.parametrize("step", CLUSTERED)
@pytest.mark.parametrize("rows", [np.ones((40, 3)), np.zeros((40, 3))], ids=["equal", "zero"])
def test_equal_vectors_and_none_have_one_utility(step: type, rows: object, tmp_path: Path) -> None:
    options, texts = worded(tmp_path, rows)
    found = utility(fit(step(**options), texts, {}), texts)
    assert None not in found and np.ptp(np.array(found, float)) < 1e-6


@pytest.mark.parametrize("step", CLUSTERED)
def test_more_clusters_than_documents(step: type, tmp_path: Path) -> None:
    options, texts = worded(tmp_path, np.eye(3))
    assert None not in utility(fit(step(clusters=50, **options), texts, {}), texts)


@pytest.mark.parametrize("step", CLUSTERED)
def test_an_empty_sample_is_one_line(step: type, tmp_path: Path) -> None:
    options, _ = worded(tmp_path, np.eye(3))
    with pytest.raises(DataworthError, match="has no document to cluster; see the drop reasons"):
        fit(step(**options), [], {})


def test_another_model_and_numbers_that_are_none(tmp_path: Path) -> None:
    options, texts = worded(tmp_path / "one", np.eye(3))
    other, _ = worded(tmp_path / "two", np.eye(3)[::-1])
    fitted = fit(Embed(**options), texts, {})
    # Its state with another model: the same step where only the files differ.
    again = type(fitted)(Embed(**other), fitted.state)
    with pytest.raises(RunError, match="was fitted with another embedding model"):
        again.annotate(docs(texts))
    options, texts = worded(tmp_path / "three", [[1.0, np.nan], [1.0, 0.0]])
    with pytest.raises(RunError, match=r"gives 1 of 2 documents numbers that are not finite"):
        fit(Embed(**options), texts, {})


def test_a_model_that_is_missing() -> None:
    with pytest.raises(ConfigError, match="embedder=states needs model=FOLDER"):
        Embed(embedder="states")
    with pytest.raises(ConfigError, match="is no folder of a model"):
        Embed(model="./nowhere").check()
