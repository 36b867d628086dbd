"""k-centre against the definition, and its bound against every choice of centres."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dataworth.mechanism.k_centre import KCentre
from mechanism.tables import rows_of
from mechanism.vectors import cloud, table_with


def distances(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float64)
    return np.linalg.norm(unit[:, None] - unit[None], axis=2)


@pytest.mark.parametrize("seed", range(4))
def test_the_farthest_comes_next_and_no_radius_is_twice_the_least(seed):
    vectors = cloud(10, 3, seed)
    apart = distances(vectors)
    order = rows_of(KCentre(), table_with(vectors), seed)
    for step in range(1, 10):
        near = apart[:, order[:step]].min(1)
        assert near[order[step]] == pytest.approx(near.max(), abs=1e-5)
    for k in (1, 2, 3, 4):
        least = min(
            apart[:, list(some)].min(1).max() for some in itertools.combinations(range(10), k)
        )
        assert apart[:, order[:k]].min(1).max() <= 2 * least + 1e-5


def test_copies_come_after_all_that_differ():
    vectors = np.concatenate([cloud(6), cloud(6)])
    order = np.array(rows_of(KCentre(), table_with(vectors)))
    assert len(set((order[:6] % 6).tolist())) == 6
