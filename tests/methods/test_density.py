"""Density-based pruning against its formulas, and what a budget gets of each cluster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataworth.features.embeddings.quotas import bounded_quotas
from dataworth.methods.density import Density, complexity, kept_shares
from methods.fitting import fit, utility
from methods.worded import groups, worded


def test_complexity_is_spread_times_distance_to_the_nearest() -> None:
    centroids = np.array([[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0]], np.float32)
    labels = np.array([0, 0, 1, 1, 1, 2])
    distance = np.array([0.1, 0.3, 0.2, 0.2, 0.5, 0.4])
    cosines = centroids.astype(float) @ centroids.T
    within = [0.2, 0.3, 0.4]
    for neighbours in (1, 2, 20):
        expected = []
        for cluster in range(3):
            others = sorted(1 - cosines[cluster, o] for o in range(3) if o != cluster)
            expected.append(within[cluster] * np.mean(others[:neighbours]))
        found = complexity(distance, labels, centroids, neighbours)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_an_empty_cluster_has_the_mean_and_a_single_one_is_one() -> None:
    centroids = np.eye(3, dtype=np.float32)
    found = complexity(np.array([0.2, 0.4]), np.array([0, 2]), centroids, 20)
    np.testing.assert_allclose(found, [0.2, 0.3, 0.4])
    alone = complexity(np.array([0.2]), np.array([0]), np.ones((1, 1), np.float32), 20)
    assert alone.tolist() == [1.0]


def test_equal_complexities_give_equal_numbers_up_to_sizes() -> None:
    sizes = np.array([10.0, 100, 100])
    kept = kept_shares(np.full(3, 1 / 3), sizes, 0.5)
    np.testing.assert_allclose(kept[:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(kept[:, -1], 1, atol=1e-6)
    half = kept[:, 64] * sizes  # 105 documents: ten, and the rest in halves
    np.testing.assert_allclose(half, [10, 47.5, 47.5], atol=1e-4)
    assert (np.diff(kept, axis=1) >= 0).all()


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_budget_gets_the_quotas_and_the_farthest(share: float, tmp_path: Path) -> None:
    vectors, group = groups([400, 300, 200], [0.3, 0.8, 1.2])
    options, texts = worded(tmp_path, vectors)
    fitted = fit(Density(clusters=3, **options), texts, {})
    utilities = np.array(utility(fitted, texts))
    kept = np.argsort(-utilities, kind="stable")[: round(share * 900)]
    counts = np.bincount(group[kept], minlength=3)
    centroids = fitted.state["centroids"]
    of = (np.eye(8)[:3] @ centroids.T).argmax(1)  # the cluster of each group
    shares = np.exp(fitted.state["complexity"] / 0.1)
    shares = (shares / shares.sum())[of]
    sizes = np.bincount(group).astype(float)
    least = np.minimum(np.floor(0.5 * share * 900 / 3), sizes - 1)
    expected = bounded_quotas(shares * share * 900, least, sizes)
    np.testing.assert_allclose(counts, expected, atol=12)  # k-means moves some between groups
    far = 1 - (vectors @ centroids.T).max(1)
    nearest = (vectors @ centroids.T).argmax(1)
    for cluster in range(3):
        inside = nearest == cluster
        chosen = np.isin(np.flatnonzero(inside), kept)
        if chosen.any() and not chosen.all():
            assert far[inside][chosen].min() >= far[inside][~chosen].max() - 0.02
