"""k-means and the balanced order that its clusters give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.features.embeddings import kmeans, round_robin


def blobs(groups: int, each: int, spread: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(groups, 8)) * 5
    labels = np.repeat(np.arange(groups), each)
    found = centres[labels] + spread * rng.normal(size=(len(labels), 8))
    return found.astype(np.float32), labels


def test_the_fixed_point() -> None:
    """Labels are the nearest centroids, centroids the means, and the inertia never rises."""
    vectors, _ = blobs(6, 50, spread=3)
    found = kmeans(vectors, 10, seed=1, rounds=200)
    exact = np.square(vectors[:, None] - found.centroids[None]).sum(-1)
    np.testing.assert_array_equal(found.labels, exact.argmin(1))
    np.testing.assert_allclose(found.distance, exact.min(1), rtol=1e-3, atol=1e-4)
    for cluster in range(10):
        mean = vectors[found.labels == cluster].mean(0)
        np.testing.assert_allclose(found.centroids[cluster], mean, atol=1e-4)
    assert all(b <= a * (1 + 1e-5) for a, b in zip(found.inertia, found.inertia[1:], strict=False))
    assert found.sizes.sum() == 300 and found.sizes.min() > 0


def test_groups_far_apart_are_found() -> None:
    vectors, truth = blobs(4, 40)
    best = min((kmeans(vectors, 4, seed=seed) for seed in range(8)), key=lambda c: c.inertia[-1])
    assert all(len(set(best.labels[truth == group])) == 1 for group in range(4))
    assert len(set(best.labels)) == 4


def test_sklearn_agrees() -> None:
    """From the same centroids, scikit-learn comes to the same end."""
    from sklearn.cluster import KMeans

    vectors, _ = blobs(5, 60, spread=2)
    first = kmeans(vectors, 7, seed=3, rounds=0)
    ours = kmeans(vectors, 7, seed=3, rounds=100)
    theirs = KMeans(7, init=first.centroids, n_init=1, max_iter=100, tol=0).fit(vectors)
    np.testing.assert_array_equal(ours.labels, theirs.labels_)


def test_as_many_clusters_as_documents() -> None:
    vectors, _ = blobs(3, 4)
    found = kmeans(vectors, 12)
    assert sorted(found.labels) == list(range(12)) and found.inertia[-1] < 1e-8
    for k in (0, 13):
        with pytest.raises(ConfigError, match="between 1 and 12"):
            kmeans(vectors, k)


def test_copies_do_not_take_the_centroids() -> None:
    """90 copies of one vector and 10 others, 11 clusters: every other one has its own."""
    rng = np.random.default_rng(0)
    vectors = np.concatenate([np.zeros((90, 4)), rng.normal(size=(10, 4))]).astype(np.float32)
    found = kmeans(vectors, 11)
    assert len(set(found.labels[:90])) == 1 and len(set(found.labels)) == 11


def test_the_seed_decides() -> None:
    vectors, _ = blobs(6, 50, spread=4)
    one, again, other = (kmeans(vectors, 8, seed=seed, rounds=3) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.labels, again.labels)
    assert not np.array_equal(one.labels, other.labels)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 6), max_size=40), st.integers(0, 3))
def test_round_robin_is_balanced(labels: list[int], seed: int) -> None:
    """In every beginning, a cluster with documents left has at most one fewer than any other."""
    given_, keys = np.array(labels, np.int64), np.arange(len(labels), dtype=np.uint64) * 977
    order = round_robin(given_, keys, seed=seed)
    assert sorted(order) == list(range(len(labels)))
    total = np.bincount(given_, minlength=7)
    for stop in range(len(labels) + 1):
        taken = np.bincount(given_[order[:stop]], minlength=7)
        left = taken < total
        assert not left.any() or taken[left].min() >= taken.max() - 1


def test_round_robin_does_not_hang_on_the_order() -> None:
    rng = np.random.default_rng(0)
    labels, keys = rng.integers(0, 5, 60), rng.integers(0, 2**63, 60).astype(np.uint64)
    shuffle = rng.permutation(60)
    whole = keys[round_robin(labels, keys, seed=2)]
    np.testing.assert_array_equal(
        keys[shuffle][round_robin(labels[shuffle], keys[shuffle], seed=2)], whole
    )
    assert not np.array_equal(keys[round_robin(labels, keys, seed=3)], whole)
