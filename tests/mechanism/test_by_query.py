"""Choosing by utilities for single queries, against the plain form of each rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import dataworth
from dataworth.errors import ConfigError, DataworthError
from dataworth.mechanism import by_query
from dataworth.mechanism.base import hashes
from dataworth.mechanism.by_query import ByQuery
from mechanism.tables import MemoryTable, make_table
from methods.modelled import POOL, TARGET, model_folder


def table_of(matrix: NDArray[Any], eligible: Any = None, name: str = "s:t") -> MemoryTable:
    table = make_table(np.zeros(len(matrix)), eligible=eligible)
    table.vector_columns = {f"matrix:{name}": matrix.astype(np.float32)}
    return table


def rows(table: MemoryTable, seed: int = 0, **options: Any) -> list[int]:
    blocks = list(ByQuery(**options).order(table, seed))
    return np.concatenate([np.empty(0, np.int64), *blocks]).tolist()


def plain(table: MemoryTable, seed: int, rule: str, share: float = 0.8) -> list[int]:
    matrix = np.hstack([v.astype(np.float64) for _, v in sorted(table.vector_columns.items())])
    eligible = np.flatnonzero(table.eligible)
    drawn = hashes(table, seed, None)

    def best(values: NDArray[Any]) -> list[int]:
        return sorted(eligible.tolist(), key=lambda row: (-values[row], -int(drawn[row])))

    if not len(eligible):
        return []
    if rule != "round_robin":
        if rule == "vote":
            votes = [c > np.quantile(c[eligible].astype(np.float32), share) for c in matrix.T]
            return best(np.sum(votes, 0))
        return best({"max": np.max, "mean": np.mean, "min": np.min}[rule](matrix, axis=1))
    taken: list[int] = []
    lists = [best(column) for column in matrix.T]
    for turn in range(len(eligible)):
        for own in lists:
            if own[turn] not in taken:
                taken.append(own[turn])
    return taken


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 9), st.integers(0, 3), st.booleans())
@pytest.mark.parametrize("rule", ["round_robin", "max", "mean", "min", "vote"])
def test_the_plain_form(rule: str, n: int, q: int, seed: int, grid: int, some: bool) -> None:
    draw = np.random.default_rng(seed)
    matrix = draw.normal(size=(n, q)).round(grid)
    eligible = draw.random(n) < 0.7 if some else None
    table = table_of(matrix, eligible)
    assert rows(table, seed, rule=rule) == plain(table, seed, rule)


@pytest.mark.parametrize("rule", ["round_robin", "vote", "max"])
def test_several_passes_and_blocks(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    table = table_of(draw.normal(size=(1500, 6)).round(1), draw.random(1500) < 0.9)
    table.vector_columns["matrix:s:u"] = draw.normal(size=(1500, 3)).astype(np.float32)
    monkeypatch.setattr(by_query, "_BLOCK_BYTES", 4000)
    monkeypatch.setattr(by_query, "_HELD_BYTES", 1)
    monkeypatch.setattr(by_query, "_VOTE_BYTES", 12_000)
    assert rows(table, 3, rule=rule) == plain(table, 3, rule)


def test_queries_of_other_scales_and_rows_in_another_order() -> None:
    draw = np.random.default_rng(2)
    matrix = draw.normal(size=(60, 4)).astype(np.float32)
    once = rows(table_of(matrix), 5)
    scaled = np.exp(matrix.astype(np.float64)) * [1, 10, 1e3, 1e-3]
    assert rows(table_of(scaled), 5) == once
    order = draw.permutation(60)
    moved = table_of(matrix).permuted(order)
    assert order[rows(moved, 5)].tolist() == once
    one = table_of(matrix[:, :1])
    assert rows(one, 5) == rows(one, 5, rule="max")


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="per_query=true"):
        rows(make_table(np.zeros(3)))
    two = table_of(np.zeros((3, 1)))
    two.vector_columns["matrix:r:t"] = np.zeros((3, 1), np.float32)
    with pytest.raises(ConfigError, match=r"several steps kept matrices \(r, s\)"):
        rows(two)
    with pytest.raises(ConfigError, match="'x' kept no matrix, only r, s"):
        rows(two, step="x")
    assert sorted(rows(two, step="r")) == [0, 1, 2]
    with pytest.raises(DataworthError, match="2 documents have no finite number"):
        rows(table_of(np.array([[np.nan], [1], [np.inf]])))


@pytest.mark.parametrize("rule", ["round_robin", "max", "vote"])
def test_in_a_run(rule: str, tmp_path: Any) -> None:
    """The matrices that two steps keep give the selection of their plain form."""
    pool = [{"text": text} for text in [*POOL, "x"]]
    target = {"sums": TARGET, "more": POOL[:3]}
    steps = [
        "embedding_similarity(embedder=ngrams, per_query=true)",
        f"influence(model={model_folder()}, solver=identity, per_query=true)",
    ]
    scores = dataworth.score(pool, target, steps=steps, out=tmp_path / "run", holdout=0)
    for step in ("embedding_similarity", "influence"):
        mechanism = f"by_query(rule={rule}, step={step})"
        chosen = scores.choose("6-docs", mechanism=mechanism, duplicates="keep")
        names = [f"matrix:{step}:{name}" for name in ("more", "sums")]
        rows_there = np.flatnonzero(np.isfinite(scores.table.column(f"utility:{step}:more")))
        table = make_table(np.zeros(len(rows_there)), uid=scores.table.column("uid")[rows_there])
        table.vector_columns = {n: scores.table.vectors(n, rows_there) for n in names}
        assert [v.shape[1] for v in table.vector_columns.values()] == [3, len(TARGET)]
        wanted = plain(table, 0, rule)[:6]
        assert set(chosen.table["uid"].to_pylist()) == {int(table.uid[row]) for row in wanted}
        whole = dataworth.score(
            pool, target, steps=[s.replace("true", "false") for s in steps], holdout=0
        )
        for name in ("more", "sums"):
            column = f"utility:{step}:{name}"
            np.testing.assert_allclose(
                scores.table.column(column), whole.table.column(column), rtol=1e-4, atol=1e-7
            )
