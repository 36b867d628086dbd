"""DiSF against the norm of the second moment itself."""

from __future__ import annotations

import numpy as np
import pytest

from dataworth.mechanism.disf import DiSF
from mechanism.tables import rows_of
from mechanism.vectors import cloud, table_with


def norm(vectors, rows):
    some = vectors[rows].astype(np.float64)
    return np.linalg.norm(some.T @ some / len(rows))


def test_each_step_takes_the_least_norm():
    vectors = cloud(20, 4)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = rows_of(DiSF(), table_with(vectors))
    for step in range(1, 20):
        left = [row for row in range(20) if row not in order[:step]]
        best = min(norm(vectors, [*order[:step], row]) for row in left)
        assert norm(vectors, order[: step + 1]) == pytest.approx(best, abs=1e-6)


def test_axes_come_one_after_another():
    vectors = np.repeat(np.eye(4), 3, axis=0)
    order = np.array(rows_of(DiSF(), table_with(vectors)))
    for turn in range(3):
        assert sorted((order[4 * turn : 4 * turn + 4] // 3).tolist()) == [0, 1, 2, 3]


def test_a_document_without_a_direction_comes_last():
    vectors = cloud(7)
    vectors[2] = 0
    assert rows_of(DiSF(), table_with(vectors))[-1] == 2
