"""The walk with a threshold against the plain loop, at its ends, and in blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.mechanism import diverse
from dataworth.mechanism.diverse import Diverse
from dataworth.mechanism.top_k import TopK
from mechanism.tables import rows_of
from mechanism.vectors import cloud, table_with


def walked(vectors, utilities, threshold):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept: list[int] = []
    for row in np.argsort(-np.asarray(utilities)).tolist():
        if all(float(unit[row] @ unit[other]) <= threshold for other in kept):
            kept.append(row)
    return kept


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([-0.2, 0.3, 0.7, 0.95]))
def test_it_is_the_plain_loop(seed, threshold):
    vectors = cloud(50, 4, seed)
    utilities = np.random.default_rng(seed).permutation(50)
    found = rows_of(Diverse(threshold=threshold), table_with(vectors, utilities))
    assert found == walked(vectors, utilities, threshold)


def test_blocks_do_not_matter_and_the_threshold_is_monotone(monkeypatch):
    vectors, utilities = cloud(90, 4), np.arange(90)
    table = table_with(vectors, utilities)
    counts = []
    for threshold in (0.2, 0.6, 0.9, 1.0):
        whole = rows_of(Diverse(threshold=threshold), table)
        monkeypatch.setattr(diverse, "_BLOCK", 7)
        monkeypatch.setattr(diverse, "_READ", 20)
        assert rows_of(Diverse(threshold=threshold), table) == whole
        monkeypatch.undo()
        counts.append(len(whole))
    assert counts == sorted(counts)
    assert whole == rows_of(TopK(), table)


def test_nothing_that_is_kept_is_near_to_another():
    vectors = cloud(80, 4)
    kept = rows_of(Diverse(threshold=0.5), table_with(vectors))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert len(kept) > 3
    assert all(unit[a] @ unit[b] <= 0.5 + 1e-5 for a, b in itertools.combinations(kept, 2))


def test_a_wrong_threshold():
    with pytest.raises(ConfigError, match="threshold"):
        Diverse(threshold=1.5)
