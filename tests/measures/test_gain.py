"""The gain: its definition, chance, size, and the right domain."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents
from dataworth.measures.gain import DRAWS, Gain, Ruler, gain
from methods.fitting import docs
from testdata import read_rows

TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=8).map(" ".join), max_size=6
)


@pytest.fixture(scope="module")
def rows(small_pool: Path) -> list[dict]:
    return list(read_rows(small_pool))


@pytest.fixture(scope="module")
def pool(rows: list[dict]) -> Documents:
    return docs([row["text"] for row in rows])


def likelihood(target: list[str], pool: list[str], selection: list[str]) -> float:
    """The definition at the top of measures/gain.py, word by word."""
    words = [word for text in target for word in text.split()]
    of_pool = Counter(word for text in pool for word in text.split())
    chosen = Counter(word for text in selection for word in text.split())
    whole = of_pool.total() + 0.5 * len(set(words))
    logs = [
        math.log(0.9 * chosen[word] / max(chosen.total(), 1) + 0.1 * (of_pool[word] + 0.5) / whole)
        for word in words
    ]
    return sum(logs) / max(len(logs), 1)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_the_definition(target: list[str], pool: list[str], selection: list[str]) -> None:
    ruler = Ruler(docs(target), docs(pool))
    shares = ruler.look(docs(selection)).shares(np.arange(len(selection)))
    assert ruler.likelihood(shares) == pytest.approx(likelihood(target, pool, selection), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, st.permutations(range(6)))
def test_any_part_is_counted_alone(target: list[str], texts: list[str], turn: list[int]) -> None:
    ruler = Ruler(docs(target), docs(texts))
    rows = np.array([row for row in turn if row < len(texts)][:3], np.int64)
    alone = ruler.look(docs([texts[row] for row in rows])).shares(np.arange(len(rows)))
    assert np.array_equal(ruler.look(docs(texts)).shares(rows), alone)


def test_the_bound_and_copies(pool: Documents) -> None:
    target, chosen = pool.take(np.arange(50)), pool.take(np.arange(20, 80))
    found = gain(target, pool, chosen)
    assert 0 < found.value < found.bound
    # Copies are no new text, which random documents of that size would be.
    assert gain(target, pool, docs(chosen.texts() * 3)).value < found.value


def test_random_selections_gain_nothing(pool: Documents, target_file: Callable[..., Path]) -> None:
    target = docs([row["text"] for row in read_rows(target_file("wiki_books"))][:200])
    rng = np.random.default_rng(0)
    found = [
        gain(target, pool, pool.take(rng.permutation(len(pool))[:size]), seed=size + i)
        for size in (40, 80, 150)
        for i in range(6)
    ]
    assert {made.draws for made in found} == {DRAWS}
    for made in found:
        assert abs(made.value) < 5 * max(made.random_spread, 0.02)
    errors = np.array([made.value for made in found])
    assert abs(errors.mean()) < 3 * errors.std() / np.sqrt(len(errors)) + 0.005


def test_the_right_domain_gains(
    rows: list[dict], pool: Documents, target_file: Callable[..., Path]
) -> None:
    domains = np.array([row["domain"] for row in rows])
    for name in ("code", "dialogue", "biomed"):
        target = docs([row["text"] for row in read_rows(target_file(name))])
        right = gain(target, pool, pool.take(np.flatnonzero(domains == name)))
        wrong = gain(target, pool, pool.take(np.flatnonzero(domains == "legal")))
        assert right.value > 0.2 > 0 > wrong.value
        assert right.value > 3 * right.random_spread
        assert right.value < right.bound


def test_the_target_itself_reaches_the_bound(pool: Documents) -> None:
    target = pool.take(np.arange(100))
    found = gain(target, pool, target)
    assert found.value == pytest.approx(found.bound, rel=1e-9)


@pytest.mark.parametrize("size", [0, 1, 5])
def test_small_and_empty(size: int, pool: Documents) -> None:
    few, target = pool.take(np.arange(size)), pool.take(np.arange(50))
    for selection in (pool.take(np.arange(0)), few, pool.take(np.arange(3)), docs(["", " "])):
        for towards in (target, docs(["", " "]), docs([])):
            found = gain(towards, few, selection)
            assert isinstance(found, Gain)
            assert np.isnan(found.value) == (size == 0)
