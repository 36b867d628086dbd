"""Gumbel top-k: the Plackett-Luce probabilities, its limits, and the temperature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.mechanism.gumbel_top_k import GumbelTopK
from dataworth.mechanism.top_k import TopK
from mechanism.tables import make_table, rows_of

DRAWS = 20_000


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_inclusion_probabilities_of_two_out_of_three(temperature):
    """Weights (.5, .3, .2): first with those probabilities, among two with .8393, .6750, .4857."""
    weights = np.array([0.5, 0.3, 0.2])
    table = make_table(temperature * np.log(weights))
    first, included = np.zeros(3), np.zeros(3)
    for seed in range(DRAWS):
        order = rows_of(GumbelTopK(temperature), table, seed)
        first[order[0]] += 1
        included[order[:2]] += 1
    np.testing.assert_allclose(first / DRAWS, weights, atol=0.013)
    np.testing.assert_allclose(included / DRAWS, [0.8393, 0.6750, 0.4857], atol=0.013)


def test_noise_is_independent_between_documents_of_one_seed():
    """One draw over many documents: the share of winners follows the weights too."""
    n = 60_000
    utilities = np.tile(np.log([0.5, 0.3, 0.2]), n // 3)
    order = rows_of(GumbelTopK(1.0), make_table(utilities), 7)
    # To the k-th place, a document is included with probability 1 - exp(-weight * time).
    kinds = np.array(order[: n // 100]) % 3
    np.testing.assert_allclose(np.bincount(kinds) / len(kinds), [0.5, 0.3, 0.2], atol=0.07)


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), max_size=40),
    st.sampled_from([1e-300, 5e-324, 0.0]),
    st.integers(0, 9),
)
def test_top_k_is_the_limit_of_a_small_temperature(utilities, temperature, seed):
    distinct = [float(u) for u in sorted({round(u, 3) for u in utilities} - {0.0})]
    table = make_table(distinct)
    assert rows_of(GumbelTopK(temperature), table, seed) == rows_of(TopK(), table, seed)


def test_a_large_temperature_is_near_to_random():
    table = make_table(np.arange(1_000.0))
    assert abs(np.mean(rows_of(GumbelTopK(1e9), table)[:200]) - 500) < 100
    assert np.mean(rows_of(GumbelTopK(100.0), table)[:200]) > 700


def test_the_unit_of_the_temperature_is_that_of_the_utility():
    utilities = np.random.default_rng(0).normal(size=500)
    assert rows_of(GumbelTopK(1.0), make_table(utilities)) == rows_of(
        GumbelTopK(1024.0), make_table(utilities * 1024)
    )


def test_copies_of_a_text_have_the_same_noise():
    order = rows_of(GumbelTopK(5.0), make_table([0.0] * 50 + [0.0], uid=[*range(50), 17]))
    assert order.index(50) == order.index(17) + 1


@pytest.mark.parametrize(
    "temperature", [-1.0, math.nan, math.inf, "hot", True, {"t": -1.0}, {"t": "auto"}]
)
def test_senseless_temperatures(temperature):
    with pytest.raises(ConfigError, match="option temperature must be a number or"):
        GumbelTopK(temperature)


def test_auto_must_have_been_resolved():
    assert GumbelTopK().temperature == "auto"
    with pytest.raises(ConfigError, match=r"no temperature has been found for utility:step:t"):
        GumbelTopK().order(make_table([1.0]), 0)


def test_temperature_by_target():
    table = make_table(np.random.default_rng(1).normal(size=300))
    mechanism = GumbelTopK({"t": 0.3, "other": 9.0})
    assert rows_of(mechanism, table) == rows_of(GumbelTopK(0.3), table)
    with pytest.raises(ConfigError, match="no temperature is given for the target 't', only for o"):
        GumbelTopK({"o": 1.0}).order(table, 0)
    hash(mechanism)
