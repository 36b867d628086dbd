"""Pareto: the acceptance rates of the published rule, over passes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError
from dataworth.mechanism.cut import cut
from dataworth.mechanism.pareto import Pareto
from dataworth.mechanism.threshold import Threshold
from mechanism.tables import make_table, rows_of

RATES = {0.0: 0.00195, 0.5: 0.0260, 0.9: 0.424, 1.0: 1.0}


def test_published_acceptance_rates():
    rates = Pareto(scale="probability").acceptance(np.array(list(RATES)))
    np.testing.assert_allclose(rates, list(RATES.values()), rtol=0.003)
    logits = np.array([-math.inf, 0.0, math.log(9), math.inf])
    np.testing.assert_allclose(Pareto().acceptance(logits), rates, rtol=1e-12)


def test_rates_agree_with_lomax_draws():
    draws = np.random.default_rng(0).pareto(9, size=400_000)
    for quality, rate in RATES.items():
        assert abs((draws > 1 - quality).mean() - rate) < 0.003


@pytest.mark.parametrize("passes", [1, 3])
def test_share_accepted_after_some_passes(passes):
    """Documents of each quality before the first of quality 0.9 that failed `passes` passes."""
    n = 40_000
    qualities = np.repeat(list(RATES), n)
    order = np.array(rows_of(Pareto(scale="probability"), make_table(qualities), 5))
    expected = {q: 1 - (1 - (2 - q) ** -9) ** passes for q in RATES}
    total = round(sum(expected.values()) * n)
    accepted = np.bincount(order[:total] // n, minlength=4) / n
    np.testing.assert_allclose(accepted, list(expected.values()), atol=0.01)


def test_within_a_pass_the_choice_is_uniform():
    """Half of the first pass has half of each quality: its order knows nothing of the draw."""
    n = 40_000
    qualities = np.repeat([0.5, 0.9, 1.0], n)
    order = np.array(rows_of(Pareto(scale="probability"), make_table(qualities), 2))
    rates = np.array([0.0260, 0.4241, 1.0])
    half = np.bincount(order[: round(rates.sum() * n / 2)] // n, minlength=3) / n
    np.testing.assert_allclose(half, rates / 2, atol=0.01)


def test_a_larger_budget_holds_the_smaller_ones_documents():
    table = make_table(np.random.default_rng(0).normal(size=2_000))
    small = cut(Pareto().order(table, 3), table.lengths, "200-docs").counts
    large = cut(Pareto().order(table, 3), table.lengths, "900-docs").counts
    assert np.all(large >= small) and small.sum() == 200


def test_vanishing_probabilities_do_not_break_it():
    assert sorted(rows_of(Pareto(alpha=5000.0), make_table([-50.0, 0.0, 50.0]))) == [0, 1, 2]


def test_probabilities_must_lie_within_0_and_1():
    with pytest.raises(DataworthError, match=r'runs from -1 to 0.5.*scale="logit"'):
        Pareto(scale="probability").order(make_table([0.5, -1.0]), 0)
    with pytest.raises(DataworthError, match=r"0 to 1\.5"):
        Pareto(scale="probability").order(make_table([0.0, 1.5]), 0)


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf])
def test_senseless_alpha(alpha):
    with pytest.raises(ConfigError, match="alpha must be"):
        Pareto(alpha)


def test_senseless_settings():
    with pytest.raises(ConfigError, match="scale must be"):
        Pareto(scale="odds")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="by must be"):
        Threshold(1.0, by="luck")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at must be a number"):
        Threshold(math.nan)


def test_threshold_keeps_what_reaches_it_best_first():
    table = make_table([0.1, 0.5, 0.9, 0.4999, 0.7])
    assert rows_of(Threshold(0.5), table) == [2, 4, 1]
    assert sorted(rows_of(Threshold(0.5, by="hash"), table)) == [1, 2, 4]
    orders = {tuple(rows_of(Threshold(0.5, by="hash"), table, seed)) for seed in range(50)}
    assert len(orders) == 6
    assert rows_of(Threshold(math.inf), table) == []
