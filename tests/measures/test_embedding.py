"""Measures of embeddings: closed forms, chance, and exact twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dataworth.measures.embedding import (
    knn_predictability,
    neighbours,
    nmi,
    pair_curve,
    purity,
    random_pairs,
    residualise,
    shuffled,
    source_accuracy,
    variance_reduction,
)

N, K = 5000, 50


@pytest.fixture(scope="module")
def mixture() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Well-separated components: vectors, the component, loss = component's mean + noise."""
    rng = np.random.default_rng(0)
    component = rng.integers(0, K, N)
    vectors = rng.normal(size=(K, 16))[component] * 10 + rng.normal(size=(N, 16)) * 0.1
    loss = rng.normal(size=K)[component] * 2 + rng.normal(size=N)
    return vectors.astype(np.float32), component, loss


labels_ = st.lists(st.integers(0, 5), min_size=2, max_size=60)


class TestVarianceReduction:
    def test_between_component_share(self, mixture: tuple[np.ndarray, ...]) -> None:
        _, component, loss = mixture
        found = variance_reduction(loss, component)
        between = np.var([loss[component == c].mean() for c in component]) / np.var(loss)
        assert found.value == pytest.approx(between, abs=1e-12) and found.clusters == K
        assert 0.7 < found.adjusted < found.value

    def test_chance(self, mixture: tuple[np.ndarray, ...]) -> None:
        """Shuffled labels explain (K-1)/(N-1), and nothing once adjusted."""
        _, component, loss = mixture
        drawn = [variance_reduction(loss, shuffled(component, seed)) for seed in range(40)]
        values = np.array([one.value for one in drawn])
        chance = (K - 1) / (N - 1)
        assert drawn[0].chance == pytest.approx(chance) and chance == pytest.approx(
            0.0098, abs=1e-4
        )
        assert abs(values.mean() - chance) < 4 * values.std() / np.sqrt(40) < 0.002
        assert abs(np.mean([one.adjusted for one in drawn])) < 0.0015

    def test_is_the_r2_of_indicators(self) -> None:
        rng = np.random.default_rng(1)
        labels = rng.integers(0, 7, 200)
        loss = rng.normal(size=200)
        design = (labels[:, None] == np.arange(7)).astype(float)
        fitted = design @ np.linalg.lstsq(design, loss, rcond=None)[0]
        r2 = 1 - np.square(loss - fitted).sum() / np.square(loss - loss.mean()).sum()
        assert variance_reduction(loss, labels).value == pytest.approx(r2, abs=1e-10)

    def test_trajectories(self, mixture: tuple[np.ndarray, ...]) -> None:
        """Of several checkpoints, squared distances add up."""
        _, component, loss = mixture
        other = np.random.default_rng(2).normal(size=N) * 3
        both = variance_reduction(np.stack([loss, other], 1), component)
        parts = [variance_reduction(one, component) for one in (loss, other)]
        spread = [np.var(loss), np.var(other)]
        exact = sum(p.value * s for p, s in zip(parts, spread, strict=True)) / sum(spread)
        assert both.value == pytest.approx(exact, abs=1e-12)

    @settings(deadline=None, derandomize=True)
    @given(labels_, st.integers(0, 9))
    def test_bounds(self, labels: list[int], seed: int) -> None:
        loss = np.random.default_rng(seed).normal(size=len(labels))
        found = variance_reduction(loss, np.array(labels) * 10 - 7)
        assert -1e-12 <= found.value <= 1 + 1e-12
        assert np.isnan(found.adjusted) or found.adjusted <= found.value + 1e-12
        moved = variance_reduction(loss * 3 + 100, np.array(labels))
        assert moved.value == pytest.approx(found.value, abs=1e-9)

    def test_edges(self) -> None:
        assert np.isnan(variance_reduction(np.ones(4), np.arange(4)).value)
        alone = variance_reduction(np.arange(4.0), np.arange(4))
        assert alone.value == 1 and np.isnan(alone.adjusted)
        assert variance_reduction(np.arange(4.0), np.zeros(4, int)).value == 0


class TestNeighbours:
    @settings(deadline=None, derandomize=True, max_examples=30)
    @given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 99), st.booleans())
    def test_brute_force(self, n: int, k: int, seed: int, grouped: bool) -> None:
        rng = np.random.default_rng(seed)
        vectors = rng.integers(-2, 3, (n, 3)).astype(np.float32)  # ties, zeros, copies
        groups = rng.integers(-1, 4, n) if grouped else None
        found = neighbours(vectors, k, groups=groups)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = vectors / np.where(length > 0, length, 1)
        cosine = (unit @ unit.T).astype(np.float32)
        for row in range(n):
            own = groups[row] if grouped else -1
            allowed = [
                o for o in range(n) if o != row and (not grouped or own < 0 or groups[o] != own)
            ]
            best = sorted(-cosine[row, o] for o in allowed)[:k]
            got = found[row][found[row] >= 0]
            assert set(got) <= set(allowed) and len(got) == len(best) == len(set(got))
            np.testing.assert_allclose(-cosine[row, got], best, atol=1e-6)

    def test_some_rows_and_small_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        vectors = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
        whole = neighbours(vectors, 4)
        rows = np.array([3, 60, 3])
        np.testing.assert_array_equal(neighbours(vectors, 4, rows=rows), whole[rows])
        monkeypatch.setattr("dataworth.measures.embedding._BLOCK", 150)
        np.testing.assert_array_equal(neighbours(vectors, 4), whole)


class TestPredictability:
    def test_closed_form(self) -> None:
        """Pairs of copies: the neighbour's loss is the prediction."""
        vectors = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
        loss = np.array([0.0, 1, 2, 3, 4, 5, 6, 7])
        found = knn_predictability(neighbours(vectors, 1), loss)
        assert found.r2 == pytest.approx(1 - 8 / 42) and found.documents == 8
        swapped = loss.reshape(4, 2)[:, ::-1].ravel()
        assert found.spearman == pytest.approx(stats.spearmanr(loss, swapped).statistic)

    def test_a_mixture(self, mixture: tuple[np.ndarray, ...]) -> None:
        """Within a component the mean of k others: R² = 1 - noise (1 + 1/k) / variance."""
        vectors, component, loss = mixture
        near = neighbours(vectors, 10)
        assert (component[near] == component[:, None]).mean() > 0.999
        noise = np.mean([loss[component == c].var(ddof=1) for c in component])
        expected = 1 - noise * 1.1 / loss.var()
        assert knn_predictability(near, loss).r2 == pytest.approx(expected, abs=0.01)
        blind = knn_predictability(neighbours(vectors, 10), shuffled(np.arange(N), 0).astype(float))
        assert blind.r2 < 0 and abs(blind.spearman) < 0.05

    def test_own_group_excluded(self, mixture: tuple[np.ndarray, ...]) -> None:
        """Without its own component a document is predicted by unrelated ones."""
        vectors, component, loss = mixture
        rows = np.arange(0, N, 10)
        near = neighbours(vectors, 10, rows=rows, groups=component)
        assert (component[near] != component[rows][:, None]).all()
        assert knn_predictability(near, loss, rows=rows).r2 < 0.05

    def test_too_few(self) -> None:
        near = neighbours(np.eye(3, dtype=np.float32), 5)
        assert knn_predictability(near, np.arange(3.0)).documents == 0
        assert np.isnan(knn_predictability(near, np.arange(3.0)).r2)


class TestPairCurve:
    def test_twin(self) -> None:
        rng = np.random.default_rng(0)
        vectors, loss = rng.normal(size=(60, 4)).astype(np.float32), rng.normal(size=60)
        found = pair_curve(vectors, loss, pairs=400, bins=4, top=0.1, seed=3)
        left, right = random_pairs(60, 400, 3)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = (unit[left] * unit[right]).sum(1).astype(float)
        apart = np.abs(loss[left] - loss[right])
        assert found.random == pytest.approx(stats.spearmanr(cosine, -apart).statistic, abs=1e-3)
        close = np.argsort(-cosine)[:40]
        exact = stats.spearmanr(cosine[close], -apart[close]).statistic
        assert found.near == pytest.approx(exact, abs=1e-2)
        assert found.ratio == pytest.approx(apart[close].mean() / apart.mean(), rel=1e-3)
        assert found.pairs.sum() == 400 and found.pairs.max() <= 102
        total = np.nansum(found.difference * found.pairs)
        assert total == pytest.approx(apart.sum(), rel=1e-9)

    def test_near_pairs_of_neighbours(self, mixture: tuple[np.ndarray, ...]) -> None:
        """Of one component: E|Δ| = 2/√π for standard normal noise."""
        vectors, _, loss = mixture
        near = neighbours(vectors, 10)
        found = pair_curve(vectors, loss, near=near, pairs=50_000)
        apart = np.abs(loss[:, None] - loss[near]).mean()
        assert apart == pytest.approx(2 / np.sqrt(np.pi), rel=0.03)
        left, right = random_pairs(N, 50_000, 0)
        assert found.ratio == pytest.approx(apart / np.abs(loss[left] - loss[right]).mean())
        assert found.ratio < 0.6 and found.difference[-1] < found.difference[0]

    def test_no_signal(self) -> None:
        rng = np.random.default_rng(0)
        found = pair_curve(rng.normal(size=(3000, 8)), rng.normal(size=3000))
        assert abs(found.random) < 0.01 and 0.95 < found.ratio < 1.05

    @settings(deadline=None, derandomize=True)
    @given(st.integers(2, 50), st.integers(0, 5))
    def test_random_pairs(self, n: int, seed: int) -> None:
        left, right = random_pairs(n, 300, seed)
        assert (left != right).all() and min(left.min(), right.min()) >= 0
        assert max(left.max(), right.max()) < n

    def test_nothing(self) -> None:
        found = pair_curve(np.ones((1, 2)), np.ones(1))
        assert np.isnan(found.random) and found.pairs.sum() == 0


class TestSources:
    def test_pure_clusters_and_one_cluster(self) -> None:
        sources = np.array([0, 0, 0, 1, 1, 2])
        pure = np.array([5, 5, 9, 1, 1, 3])
        assert purity(pure, sources) == 1 and purity(np.zeros(6, int), sources) == 0.5
        assert nmi(sources * 7 - 3, sources) == pytest.approx(1)
        assert nmi(np.zeros(6, int), sources) == 0

    @settings(deadline=None, derandomize=True)
    @given(labels_, st.integers(0, 9))
    def test_sklearn_agrees(self, labels: list[int], seed: int) -> None:
        from sklearn.metrics import normalized_mutual_info_score

        clusters = np.array(labels)
        sources = np.random.default_rng(seed).integers(0, 4, len(labels))
        if len(set(labels)) > 1 and len(set(sources)) > 1:
            exact = normalized_mutual_info_score(sources, clusters)
            assert nmi(clusters, sources) == pytest.approx(exact, abs=1e-9)
        largest = np.bincount(sources).max() / len(sources)
        assert largest - 1e-12 <= purity(clusters, sources) <= 1

    def test_votes(self) -> None:
        sources = np.array([0, 0, 1, 1, 1])
        near = np.array([[1, 2], [2, 3], [3, 4], [0, 1], [-1, -1]])
        # Row 0: one vote each, the nearest's is right. Row 1 wrong, 2 right, 3 wrong, 4 none.
        assert source_accuracy(near, sources) == 0.5
        assert source_accuracy(near[[2]], sources, rows=np.array([2])) == 1
        assert np.isnan(source_accuracy(near[4:], sources, rows=np.array([4])))


class TestResidual:
    def test_orthogonal_to_what_was_taken_out(self) -> None:
        rng = np.random.default_rng(0)
        length, place = rng.lognormal(5, 1, 400), rng.integers(0, 9, 400)
        language = rng.choice(["en", "de", "ja"], 400)
        step = np.array([{"en": 0, "de": 2, "ja": -1}[one] for one in language])
        noise = rng.normal(size=400)
        log = np.log(length)
        loss = 4 + 0.5 * log - 0.1 * log**2 + 0.2 * place + step + noise
        found = residualise(loss, {"log length": log, "place": place}, {"language": language})
        for column in (log, log**2, place, *(language == one for one in ("en", "de", "ja"))):
            assert abs(np.corrcoef(found.values, column)[0, 1]) < 1e-9
        assert found.values.mean() == pytest.approx(loss.mean())
        assert found.values.var() == pytest.approx(noise.var(), rel=0.05)
        assert found.r2 == pytest.approx(1 - found.values.var() / loss.var())

    def test_nothing_to_take_out(self) -> None:
        loss = np.random.default_rng(0).normal(size=50)
        found = residualise(loss, {"same": np.ones(50)})
        np.testing.assert_allclose(found.values, loss, atol=1e-12)
        assert abs(found.r2) < 1e-12
        both = residualise(np.stack([loss, -loss], 1), {"x": np.arange(50)})
        np.testing.assert_allclose(both.values[:, 0] + both.values[:, 1], 0, atol=1e-9)
