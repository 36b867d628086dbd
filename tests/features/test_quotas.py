"""Bounded quotas against a quadratic program, and at their bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.features.embeddings.quotas import bounded_quotas


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_sum_and_bounds_hold_and_the_rest_moves_alike(seed, k):
    draw = np.random.default_rng(seed)
    most = draw.integers(1, 50, k).astype(float)
    least = np.floor(most * draw.random(k) * 0.5)
    total = least.sum() + draw.random() * (most.sum() - least.sum())
    wanted = draw.dirichlet(np.ones(k)) * total
    quotas = bounded_quotas(wanted, least, most)
    assert quotas.sum() == pytest.approx(total)
    assert (quotas >= least).all() and (quotas <= most).all()
    inside = (quotas > least + 1e-9) & (quotas < most - 1e-9)
    assert np.ptp((quotas - wanted)[inside]) < 1e-6 if inside.any() else True


def test_it_solves_the_quadratic_program():
    optimize = pytest.importorskip("scipy.optimize")
    draw = np.random.default_rng(3)
    most = np.array([5.0, 20, 8, 30, 2])
    least = np.array([1.0, 2, 0, 4, 1])
    wanted = draw.dirichlet(np.ones(5)) * 32
    best = optimize.minimize(
        lambda x: 0.5 * ((x - wanted) ** 2).sum(),
        np.clip(wanted, least, most),
        bounds=list(zip(least, most, strict=True)),
        constraints={"type": "eq", "fun": lambda x: x.sum() - 32},
        method="SLSQP",
    )
    np.testing.assert_allclose(bounded_quotas(wanted, least, most), best.x, atol=1e-4)


def test_bounds_that_cannot_be_met():
    with pytest.raises(ConfigError, match="do not lie between the bounds' sums, 0 and 3"):
        bounded_quotas(np.array([2.0, 2]), np.zeros(2), np.array([1.0, 2]))
