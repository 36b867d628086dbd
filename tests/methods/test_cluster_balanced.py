"""Cluster-balanced sampling: the quotas of any budget, capped, and which documents they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataworth.mechanism.registry import parse
from dataworth.methods.cluster_balanced import ClusterBalanced
from mechanism.tables import make_table, rows_of
from methods.fitting import fit, utility
from methods.worded import groups, worded

SIZES = np.array([600, 300, 100])


def water_filled(exponent: float, total: float) -> np.ndarray:
    """min(n, λ n^exponent), by hand."""
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        if np.minimum(SIZES, middle * SIZES**exponent).sum() < total:
            low = middle
        else:
            high = middle
    return np.minimum(SIZES, high * SIZES**exponent)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("inside", ["random", "nearest", "farthest"])
def test_quotas(exponent: float, inside: str, tmp_path: Path) -> None:
    vectors, group = groups(SIZES.tolist(), [0.3, 0.3, 0.3])
    options, texts = worded(tmp_path, vectors)
    step = ClusterBalanced(clusters=3, exponent=exponent, inside=inside, **options)
    utilities = np.array(utility(fit(step, texts, {}), texts))
    order = np.array(rows_of(parse(step.mechanism), make_table(utilities)))
    # Sampling by weights empties a small cluster sooner than the quotas do.
    for total in (90, 240, 600) if inside != "random" else (90,):
        counts = np.bincount(group[order[:total]], minlength=3)
        expected = water_filled(exponent, total)
        wide = 4 * np.sqrt(expected) + 1 if inside == "random" else 0.02 * expected + 4
        assert (np.abs(counts - expected) <= wide).all(), (counts, expected)


def test_the_nearest_or_the_farthest_first(tmp_path: Path) -> None:
    vectors, group = groups([90, 70], [0.3, 0.3])
    options, texts = worded(tmp_path, vectors)
    for inside, sign in (("nearest", 1), ("farthest", -1)):
        step = ClusterBalanced(clusters=2, inside=inside, **options)
        fitted = fit(step, texts, {})
        utilities = np.array(utility(fitted, texts))
        distance = 1 - (vectors @ fitted.state["centroids"].T).max(1)
        for one in (0, 1):
            order = np.argsort(-utilities[group == one])
            far = distance[group == one][order]
            assert (sign * np.diff(far) >= -0.01).all()


def test_a_cluster_that_the_sample_has_not_counts_as_one_document(tmp_path: Path) -> None:
    options, texts = worded(tmp_path, np.repeat(np.eye(2), 40, axis=0))
    fitted = fit(ClusterBalanced(clusters=2, exponent=0, **options), texts, {})
    assert fitted.state["sizes"].min() >= 1
    np.testing.assert_allclose(utility(fitted, texts), -np.log(40), atol=1e-6)
