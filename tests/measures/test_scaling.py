"""Scaling laws: known ones are recovered, errors cover, multipliers have their closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from dataworth.errors import ConfigError
from dataworth.measures.fitting import huber
from dataworth.measures.scaling import compute_multiplier, fit_law, fit_nd

COMPUTE = np.geomspace(1e19, 1e22, 8)


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Five sizes of five budgets each."""
    n, d = np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5))
    return n.ravel(), d.ravel()


@pytest.mark.parametrize("floor", [0.0, 1.7])
@pytest.mark.parametrize("exponent", [0.08, 0.3, 0.9])
@pytest.mark.parametrize("x", [COMPUTE, np.array([2e5, 4e5, 8e5]), np.linspace(1, 9, 5)])
def test_a_noiseless_law_is_recovered(x: np.ndarray, exponent: float, floor: float) -> None:
    scale = 3 * float(x.min()) ** exponent
    found = fit_law(x, floor + scale * x**-exponent, draws=0)
    if exponent == 0.08 and x.max() < 1e6:  # nearly a straight line: the curve is, its parts not
        np.testing.assert_allclose(found.predict(x), floor + scale * x**-exponent, rtol=1e-4)
        return
    assert found.floor == pytest.approx(floor, rel=0.01, abs=0.01)
    assert found.scale == pytest.approx(scale, rel=0.01)
    assert found.exponent == pytest.approx(exponent, rel=0.01)
    assert found.error < 1e-4 and found.points == len(x)
    assert (found.low_x, found.high_x) == (x.min(), x.max())
    assert math.isnan(found.floor_error)


def test_two_budgets_have_a_law_without_a_floor() -> None:
    x = np.array([1e5, 1e5, 4e5, 4e5])
    found = fit_law(x, 50 * x**-0.2)
    assert found.floor == 0 and found.exponent == pytest.approx(0.2, rel=1e-6)
    assert found.scale == pytest.approx(50, rel=1e-5)
    # Asked for, three budgets have none either.
    assert fit_law([1.0, 2, 4], [4.0, 2, 1], floor=False).floor == 0


def test_two_axes_are_recovered() -> None:
    n, d = grid()
    truth = {"floor": 1.69, "scale_n": 406.4, "exponent_n": 0.34}
    truth |= {"scale_d": 410.7, "exponent_d": 0.28}
    found = fit_nd(n, d, 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28, draws=0)
    for name, value in truth.items():
        assert getattr(found, name) == pytest.approx(value, rel=0.01), name
    np.testing.assert_allclose(
        found.predict(1e6, 1e8), 1.69 + 406.4e0 * 1e6**-0.34 + 410.7 * 1e8**-0.28, rtol=1e-6
    )
    assert found.error < 1e-6 and all(math.isnan(error) for error in found.errors)


def test_noise_is_covered_by_the_bootstrap() -> None:
    """With 1 % noise the truth lies within two standard errors about as often as it should."""
    random = np.random.default_rng(0)
    x = np.repeat(np.geomspace(1e5, 1e7, 5), 5)
    seeds = list(range(5)) * 5
    inside = []
    for trial in range(25):
        noise = np.exp(random.normal(0, 0.01, len(x)))
        found = fit_law(x, (1.7 + 400 * x**-0.35) * noise, seeds=seeds, random=trial)
        assert found.exponent == pytest.approx(0.35, abs=0.1)
        inside.append(abs(found.exponent - 0.35) < 2 * found.exponent_error)
        spread = float(np.sqrt(np.mean((0.01 * (1.7 + 400 * x**-0.35)) ** 2)))
        assert found.error == pytest.approx(spread, rel=0.5)
    assert 0.75 < np.mean(inside) <= 1


def test_noise_on_two_axes() -> None:
    random = np.random.default_rng(1)
    n, d = grid()
    truth = (1.69, 406.4, 0.34, 410.7, 0.28)
    loss = (1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28) * np.exp(random.normal(0, 0.01, len(n)))
    found = fit_nd(n, d, loss)
    values = (found.floor, found.scale_n, found.exponent_n, found.scale_d, found.exponent_d)
    for value, error, true in zip(values, found.errors, truth, strict=True):
        assert abs(value - true) < 3 * error
        assert error < abs(true)


def test_the_minimum_is_the_one_of_another_optimiser() -> None:
    """L-BFGS of scipy, from the answer and from elsewhere, finds nothing lower."""
    random = np.random.default_rng(2)
    x = np.repeat(np.geomspace(1, 100, 6), 3)
    loss = (2 + 5 * x**-0.5) * np.exp(random.normal(0, 0.02, len(x)))
    found = fit_law(x, loss, draws=0)

    def objective(p: np.ndarray) -> float:
        predicted = np.logaddexp(p[0] - p[1] * np.log(x), p[2])
        return float(huber(predicted - np.log(loss)).sum())

    own = np.array([np.log(found.scale), found.exponent, np.log(found.floor)])
    best = objective(own)
    for start in (own, [1.0, 0.5, 0.0], [2.0, 1.0, 0.7], [0.0, 0.2, -1.0]):
        other = minimize(objective, start, method="Nelder-Mead", options={"maxiter": 4000})
        assert best <= other.fun * (1 + 1e-4)


def test_one_bad_run_moves_little() -> None:
    x = np.geomspace(1e5, 1e7, 9)
    loss = 1.7 + 400 * x**-0.35
    loss[4] *= 1.5
    found = fit_law(x, loss)
    assert found.exponent == pytest.approx(0.35, rel=0.02)


def test_the_compute_multiplier_has_its_closed_form() -> None:
    """Equal floor and exponent: (A_baseline / A)^(1 / exponent) = 1.3^(1 / 0.3) = 2.398."""
    new, base = 1.7 + 1e5 * COMPUTE**-0.3, 1.7 + 1.3e5 * COMPUTE**-0.3
    found = compute_multiplier(COMPUTE, new, COMPUTE, base)
    assert found.value == pytest.approx(1.3 ** (1 / 0.3), rel=1e-6)
    assert found.value == pytest.approx(2.398, abs=5e-4)
    assert found.at == COMPUTE.max() and not found.outside
    # The other way round: the baseline's loss is reached later, so it is read at a smaller C.
    back = compute_multiplier(COMPUTE, base, COMPUTE, new)
    assert back.value == pytest.approx(1 / 2.398, rel=1e-3)
    assert back.at < COMPUTE.max() and not back.outside
    same = compute_multiplier(COMPUTE, base, COMPUTE, base)
    assert same.value == pytest.approx(1) and same.at == COMPUTE.max() and not same.outside


def test_the_multiplier_under_noise() -> None:
    random = np.random.default_rng(3)
    x, seeds = np.repeat(COMPUTE, 4), [0, 1, 2, 3] * len(COMPUTE)
    noise = [np.exp(random.normal(0, 0.01, len(x))) for _ in range(2)]
    new, base = (1.7 + 1e5 * x**-0.3) * noise[0], (1.7 + 1.3e5 * x**-0.3) * noise[1]
    found = compute_multiplier(
        x, new, x, base, seeds=seeds, baseline_seeds=seeds, at=float(COMPUTE[4])
    )
    assert found.low < 2.398 < found.high and found.low < found.value < found.high
    assert found.value == pytest.approx(2.398, rel=0.25)
    assert found == compute_multiplier(
        x, new, x, base, seeds=seeds, baseline_seeds=seeds, at=float(COMPUTE[4])
    )


def test_noise_that_both_share_cancels() -> None:
    """The same seed moves both curves alike: drawn together, the multiplier hardly moves."""
    random = np.random.default_rng(4)
    x = np.repeat(COMPUTE, 6)
    seeds = list(range(6)) * len(COMPUTE)
    shared = np.exp(random.normal(0, 0.02, 6))[seeds]
    new, base = (1.7 + 1e5 * x**-0.3) * shared, (1.7 + 1.3e5 * x**-0.3) * shared
    together = compute_multiplier(x, new, x, base, seeds=seeds, baseline_seeds=seeds)
    # Renamed seeds cannot be paired.
    apart = compute_multiplier(
        x, new, x, base, seeds=seeds, baseline_seeds=[f"other {seed}" for seed in seeds]
    )
    assert together.high - together.low < 0.5 * (apart.high - apart.low)
    # The order of the rows does not matter.
    shuffled = np.random.default_rng(0).permutation(len(x))
    again = compute_multiplier(
        x[shuffled],
        new[shuffled],
        x,
        base,
        seeds=[seeds[i] for i in shuffled],
        baseline_seeds=seeds,
    )
    assert (again.low, again.high) == pytest.approx((together.low, together.high), rel=1e-3)


def test_a_loss_that_is_never_reached() -> None:
    found = compute_multiplier(
        COMPUTE, 3.0 + 1e5 * COMPUTE**-0.3, COMPUTE, 1.0 + 1e5 * COMPUTE**-0.3, at=1e22
    )
    assert found.value == 0 and found.outside
    # What is far better reaches it before its first measurement.
    ahead = compute_multiplier(
        COMPUTE[4:], 1.7 + 1e4 * COMPUTE[4:] ** -0.3, COMPUTE, 1.7 + 1e5 * COMPUTE**-0.3
    )
    assert ahead.outside and ahead.value > 10


def test_reach_is_the_inverse_of_predict() -> None:
    law = fit_law(COMPUTE, 1.7 + 1e5 * COMPUTE**-0.3, draws=0)
    assert law.reach(float(law.predict(1e20))) == pytest.approx(1e20, rel=1e-6)
    assert law.reach(1.0) == math.inf


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    st.floats(0.1, 5),
    st.floats(0.2, 1.0),
    st.floats(0.5, 5),
    st.floats(1e-3, 1e6),
)
def test_units_do_not_matter(floor: float, exponent: float, drop: float, unit: float) -> None:
    x = np.array([1.0, 2, 4, 8, 16])
    loss = floor + drop * x**-exponent
    found, other = fit_law(x, loss, draws=0), fit_law(x * unit, loss, draws=0)
    assert other.exponent == pytest.approx(found.exponent, rel=1e-3)
    np.testing.assert_allclose(other.predict(x * unit), loss, rtol=1e-3)


@pytest.mark.parametrize(
    ("x", "loss", "said"),
    [
        ([1.0], [2.0], "needs 2 different budgets or sizes at least, not 1"),
        ([1.0, 1.0], [2.0, 2.0], "not 1"),
        ([1.0, 2.0], [2.0, 0.0], "positive numbers: see the loss"),
        ([-1.0, 2.0], [2.0, 1.0], "positive numbers: see the x"),
        ([], [], "positive numbers"),
        ([1.0, 2.0], [2.0], "2 x, 1 losses"),
    ],
)
def test_what_has_no_law(x: list[float], loss: list[float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        fit_law(x, loss)


def test_further_refusals() -> None:
    with pytest.raises(ConfigError, match="needs 3 different"):
        fit_law([1.0, 2.0], [2.0, 1.0], floor=True)
    with pytest.raises(ConfigError, match="seeds of 1"):
        fit_law([1.0, 2.0], [2.0, 1.0], seeds=[0])
    with pytest.raises(ConfigError, match=r"5 numbers to find, more than .* \(4\)"):
        fit_nd([1.0, 1, 2, 2], [1.0, 2, 1, 2], [4.0, 3, 2, 1])
