"""The temperature from the data: near 0 for one narrow domain, larger for two, and never fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataworth.corpus.documents import Documents
from dataworth.measures.gain import Ruler
from dataworth.measures.temperature import GRID, SLACK, Found, _cut, find_temperature
from dataworth.mechanism.gumbel_top_k import GumbelTopK
from dataworth.methods.dsir import DSIR
from mechanism.tables import make_table
from methods.fitting import docs, fit, utility
from testdata import read_rows


class Pool:
    """The small pool, and documents of its domains that are not in it, to be targets."""

    def __init__(self, small_pool: Path, files: list[Path]) -> None:
        rows = list(read_rows(small_pool))
        self.texts = [row["text"] for row in rows]
        self.documents = docs(self.texts)
        self.domains = np.array([row["domain"] for row in rows])
        self._ids = {row["id"] for row in rows}
        self._files = files
        self._others: dict[str, list[str]] = {}

    def others(self, domain: str) -> list[str]:
        if domain not in self._others:
            (path,) = [path for path in self._files if path.name.startswith(domain + ".")]
            rows = (row["text"] for row in read_rows(path) if row["id"] not in self._ids)
            self._others[domain] = [text for text, _ in zip(rows, range(200), strict=False)]
        return self._others[domain]

    def find(self, domains: list[str], part: float) -> tuple[Found, float]:
        """(what is found, its temperature in spreads) for `part` of what the domains hold."""
        target = [text for domain in domains for text in self.others(domain)]
        values = np.array(utility(fit(DSIR(), self.texts, {"t": target}), self.texts))
        sizes = self.documents.text_bytes
        share = part * sizes[np.isin(self.domains, domains)].sum() / sizes.sum()
        found = find_temperature(self.documents, values, sizes, docs(target), share=share, seed=0)
        low, high = np.quantile(values, [0.16, 0.84])
        return found, found.temperature / ((high - low) / 2)


@pytest.fixture(scope="module")
def pool(small_pool: Path, pool_files: list[Path]) -> Pool:
    return Pool(small_pool, pool_files)


@pytest.mark.parametrize("domain", ["books", "biomed"])
def test_a_narrow_target_wants_the_best_alone(domain: str, pool: Pool) -> None:
    found, spreads = pool.find([domain], 0.9)
    assert spreads <= 0.25
    values = [value for _, value in found.tried]
    # A wide temperature brings in other domains.
    assert values[-1] < max(values) - 0.1
    assert found.documents == len(pool.texts)


@pytest.mark.parametrize("domains", [["religious", "code"], ["reviews", "code"]])
def test_a_target_of_two_kinds_wants_both(domains: list[str], pool: Pool) -> None:
    _, spreads = pool.find(domains, 0.5)
    assert 0.3 <= spreads <= 2


def test_the_grid_and_its_best(pool: Pool) -> None:
    found, _ = pool.find(["books"], 0.5)
    assert len(found.tried) == len(GRID)
    temperatures = np.array([temperature for temperature, _ in found.tried])
    np.testing.assert_allclose(temperatures / temperatures[-1], np.array(GRID) / GRID[-1])
    enough = max(value for _, value in found.tried) - SLACK
    best = max(temperature for temperature, value in found.tried if value >= enough)
    assert found.temperature == pytest.approx(best, rel=6e-3, abs=1e-12)


def test_it_plays_the_real_choice_through(pool: Pool) -> None:
    """The same noise as `gumbel_top_k`: what was measured is what the mechanism would choose."""
    few = pool.documents.take(np.arange(400))
    rng = np.random.default_rng(0)
    values, target = rng.normal(size=400), pool.documents.take(np.arange(400, 500))
    found = find_temperature(few, values, few.text_bytes, target, share=0.3, seed=5)
    table = make_table(values, uid=few.uid)
    ruler, draws = Ruler(target, few), 4  # 120 documents of the 400 wanted at a time
    for temperature, measured in found.tried:
        values_of = []
        for seed in range(5, 5 + draws) if temperature else (5,):
            order = np.concatenate(list(GumbelTopK(temperature=temperature).order(table, seed)))
            sizes = np.cumsum(few.text_bytes[order])
            chosen = few.take(order[: int(np.searchsorted(sizes, 0.3 * sizes[-1])) + 1])
            values_of.append(ruler.likelihood(ruler.look(chosen).shares(np.arange(len(chosen)))))
        assert np.mean(values_of) == pytest.approx(measured, rel=1e-9)


def test_rows_in_another_order_find_the_same(pool: Pool) -> None:
    few = pool.documents.take(np.arange(500))
    values = np.random.default_rng(1).normal(size=500)
    target = pool.documents.take(np.arange(500, 600))
    order = np.random.default_rng(2).permutation(500)
    found, turned = (
        find_temperature(
            few.take(rows), values[rows], few.text_bytes[rows], target, share=0.2, seed=1
        )
        for rows in (np.arange(500), order)
    )
    assert turned.temperature == found.temperature


@pytest.mark.parametrize("size", [0, 1, 2, 3, 99])
@pytest.mark.parametrize("share", [0.0, 1e-9, 0.5, 1.0, 7.0])
def test_tiny_samples(size: int, share: float, pool: Pool) -> None:
    few = pool.documents.take(np.arange(size))
    target = pool.documents.take(np.arange(10))
    for values in (np.arange(size, dtype=float), np.zeros(size), np.full(size, np.nan)):
        for sizes in (few.text_bytes, np.zeros(size, np.int64), np.ones(size, np.int64)):
            found = find_temperature(few, values, sizes, target, share=share, seed=0)
            assert np.isfinite(found.temperature) and found.temperature >= 0
            if np.isnan(values).any() or len(set(values.tolist())) < 2:
                assert found.temperature == 0
    nothing = Documents.from_texts([])
    found = find_temperature(
        few, np.arange(size, dtype=float), few.text_bytes, nothing, share=share, seed=0
    )
    assert np.isfinite(found.temperature)


def test_equal_utilities_and_missing_ones(pool: Pool) -> None:
    few, target = pool.documents.take(np.arange(300)), pool.documents.take(np.arange(20))
    flat = find_temperature(few, np.full(300, 2.5), few.text_bytes, target, share=0.1, seed=0)
    assert flat.temperature == 0 and len(flat.tried) == 1
    values = np.random.default_rng(0).normal(size=300)
    holes = np.where(np.arange(300) % 3 == 0, np.nan, values)
    holes[1] = -np.inf
    some = find_temperature(few, holes, few.text_bytes, target, share=0.1, seed=0)
    kept = np.flatnonzero(np.isfinite(holes))
    alone = find_temperature(
        few.take(kept), values[kept], few.text_bytes[kept], target, share=0.1, seed=0
    )
    assert some == alone and some.documents == len(kept)


@given(
    n=st.integers(1, 600),
    values=st.sampled_from([2, 30, 10**6]),
    share=st.floats(0.001, 1),
    seed=st.integers(0, 99),
)
def test_a_cut_is_that_of_the_whole_order(n: int, values: int, share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    keys = random.integers(values, size=n).astype(np.float64)
    sizes = random.integers(1, 50, n)
    budget = share * float(sizes.sum())
    order = np.argsort(-keys, kind="stable")
    count = int(np.searchsorted(np.cumsum(sizes[order]), budget)) + 1
    assert np.array_equal(_cut(keys, sizes, budget), np.sort(order[:count]))
