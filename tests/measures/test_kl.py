"""KL reduction: closed forms, chance, and the right domain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents
from dataworth.measures.kl import (
    DRAWS,
    FEATURE,
    Reduction,
    divergence,
    kl_reduction,
    random_counts,
    smoothed,
)
from dataworth.methods.dsir import DSIR
from features.twins import counts_of, fast_buckets, tokens_of
from methods.fitting import docs, fit, utility
from testdata import read_rows


def shares(*values: float) -> np.ndarray:
    return np.array(values)


def test_divergence() -> None:
    target, pool = shares(0.8, 0.1, 0.1), shares(0.1, 0.1, 0.8)
    assert divergence(target, pool) == pytest.approx(0.7 * np.log(8), rel=1e-12)
    assert divergence(target, pool) == pytest.approx(1.4556, abs=5e-5)
    assert divergence(target, target) == 0


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50))
def test_smoothed(counts: list[int]) -> None:
    total = max(sum(counts), 1)
    plain = [count / total + 1e-8 for count in counts]
    plain = [share / sum(plain) for share in plain]
    found = smoothed(np.array(counts))
    np.testing.assert_allclose(found, plain, rtol=1e-12)
    assert found.sum() == pytest.approx(1) and (found > 0).all()
    uniform = np.full(len(counts), 1 / len(counts))
    assert divergence(found, uniform) > -1e-12


@pytest.fixture(scope="module")
def rows(small_pool: Path) -> list[dict]:
    return list(read_rows(small_pool))


@pytest.fixture(scope="module")
def pool(rows: list[dict]) -> Documents:
    return docs([row["text"] for row in rows])


def test_the_definition(pool: Documents) -> None:
    """KL(target ‖ pool) - KL(target ‖ selection), where there is one draw: all of the sample."""
    target, chosen = pool.take(np.arange(50)), pool.take(np.arange(50, 90))
    few = pool.take(np.arange(90, 100))  # fewer n-grams than were chosen
    p, raw, q = (
        smoothed(counts_of([bucket for t in part.texts() for bucket in fast_buckets(tokens_of(t))]))
        for part in (target, few, chosen)
    )
    found = kl_reduction(target, few, chosen)
    assert found.draws == 1 and found.documents == 40 and found.random_spread == 0
    assert found.bound == pytest.approx(float(np.sum(p * np.log(p / raw))), rel=1e-9)
    assert found.bound - found.value == pytest.approx(float(np.sum(p * np.log(p / q))), rel=1e-9)


def test_random_selections_gain_nothing(pool: Documents, target_file: Callable[..., Path]) -> None:
    target = docs([row["text"] for row in read_rows(target_file("wiki_books"))][:200])
    rng = np.random.default_rng(0)
    found = [
        kl_reduction(target, pool, pool.take(rng.permutation(len(pool))[:size]), seed=size + i)
        for size in (60, 150, 500)
        for i in range(6)
    ]
    assert {made.draws for made in found} == {DRAWS}
    for made in found:
        # One selection against the mean of five: both are chance.
        assert abs(made.value) < 5 * max(made.random_spread, 0.02)
    errors = np.array([made.value for made in found])
    assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(len(errors)) + 0.01
    # Small selections are far from everything: the bound says so, the value does not.
    assert found[0].bound > found[-1].bound


def test_the_right_domain_gains(
    rows: list[dict], pool: Documents, target_file: Callable[..., Path]
) -> None:
    domains = np.array([row["domain"] for row in rows])
    for name in ("code", "dialogue", "biomed"):
        target = docs([row["text"] for row in read_rows(target_file(name))])
        right = kl_reduction(target, pool, pool.take(domains == name))
        wrong = kl_reduction(target, pool, pool.take(domains == "legal"))
        assert right.value > 0.2 > wrong.value
        assert right.value > 3 * right.random_spread
        assert right.value < right.bound


def test_the_target_itself_reaches_the_bound(pool: Documents) -> None:
    target = pool.take(np.arange(100))
    found = kl_reduction(target, pool, target)
    assert found.value == pytest.approx(found.bound, rel=1e-12)


def test_random_draws_are_of_equal_size_and_share_no_document(rows: list[dict]) -> None:
    # Each document has buckets of its own, so that counts tell which ones were drawn.
    texts = [" ".join([f"word{i}"] * 200) for i in range(300)]
    pool = docs(texts)
    grams = 8 * 399
    draws = random_counts(pool, grams, seed=1)
    assert len(draws) == DRAWS
    assert all(abs(int(draw.sum()) - grams) <= 399 for draw in draws)
    taken = [set(np.flatnonzero(draw)) for draw in draws]
    assert sum(map(len, taken)) - len(set().union(*taken)) <= 3  # but for chance collisions
    other = random_counts(pool, grams, seed=2)
    assert not np.array_equal(other[0], draws[0])
    again = random_counts(pool.take(np.arange(299, -1, -1)), grams, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(again, draws, strict=True))


@pytest.mark.parametrize("size", [0, 1, 5])
def test_small_and_empty(size: int, pool: Documents) -> None:
    few = pool.take(np.arange(size))
    nothing = pool.take(np.arange(0))
    target = pool.take(np.arange(50))
    for selection in (nothing, few, pool.take(np.arange(3))):
        found = kl_reduction(target, few, selection)
        assert isinstance(found, Reduction) and found.documents == len(selection)
        assert np.isnan(found.value) == (size == 0)
    blank = docs([" "] * 5)
    assert np.isfinite(kl_reduction(target, blank, blank).value)
    assert np.isfinite(kl_reduction(blank, pool.take(np.arange(20)), few).value) == (size >= 0)


def test_a_simulation_with_known_answer() -> None:
    """Two domains over 500 words (Dirichlet 0.1); 5 % of 4,000 documents are of the right one."""
    rng = np.random.default_rng(0)
    domains = rng.dirichlet(np.full(500, 0.1), 2)
    words = np.array([f"w{i}" for i in range(500)])

    def texts(domain: int, count: int) -> list[str]:
        return [" ".join(row) for row in rng.choice(words, (count, 100), p=domains[domain])]

    pool = texts(0, 200) + texts(1, 3_800)
    target = texts(0, 200)
    fitted = fit(DSIR(smoothing=0.0, per="document", raw="all"), pool, {"t": target})
    top = np.argsort(-np.array(utility(fitted, pool)))[:200]
    assert np.mean(top < 200) > 0.99
    held, documents = docs(texts(0, 200)), docs(pool)
    best = kl_reduction(held, documents, documents.take(top))
    half = documents.take(np.r_[0:100, 200:300])
    chance = documents.take(rng.permutation(4_000)[:200])
    middle, nothing = kl_reduction(held, documents, half), kl_reduction(held, documents, chance)
    assert best.value > 0.8 * best.bound
    assert best.value > middle.value > nothing.value
    assert abs(nothing.value) < 5 * nothing.random_spread
    assert DSIR().feature == FEATURE
