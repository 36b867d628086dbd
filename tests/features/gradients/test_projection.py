"""Projections: unbiased, with the variance that theory says, and the same in any batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from dataworth.errors import ConfigError
from dataworth.features.gradients import CausalLM, Gradients
from dataworth.features.gradients.blocks import Block, Blocks, Piece
from dataworth.features.gradients.counter import key_of, normals, scatter, signs
from dataworth.features.gradients.projection import Dense, Projection, Sparse, TwoSided, Whole
from features.gradients.models import TinyLM, documents, rng, seeded

KINDS: list[Projection] = [
    Dense(24),
    Dense(24, "gaussian"),
    Sparse(24, 4),
    TwoSided(3, 4),
    TwoSided(5, 100, "gaussian"),
    TwoSided(100, 2),
    Whole(),
]

# Rows 0 of the matrices with seed 0.
SIGNS = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
NORMALS = [-1.3368912, 0.2674725, 0.9205353]


def blocks_of(rows: int, columns: int) -> Blocks:
    return Blocks([Block("only", 0, rows, columns, Piece("only.weight", (rows, columns)))])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_both_ways_agree_and_batches_do_not_matter(kind: Projection) -> None:
    engine = Gradients(seeded(1, TinyLM(), 0.3), CausalLM())
    projector = kind.bind(engine.blocks)
    items = documents(6)
    whole = torch.zeros(6, projector.dimension, dtype=torch.float64)
    for size in (1, 4):
        for rows, batch in engine.task.examples(items, size=size):
            factors = engine.factors(batch)
            found = projector(factors)
            torch.testing.assert_close(
                found, projector.flat(factors.gradients()), rtol=1e-5, atol=1e-5
            )
            if size == 1:
                whole[rows] = found
            else:
                torch.testing.assert_close(found, whole[rows], rtol=1e-5, atol=1e-5)
    assert kind.bind(engine.blocks).dimension == projector.dimension


@pytest.mark.parametrize("kind", KINDS[:-1], ids=str)
def test_linear_and_seeded(kind: Any) -> None:
    blocks = blocks_of(12, 30)
    a, b = torch.randn(2, 1, blocks.size, generator=rng(1))
    one = kind.bind(blocks)
    torch.testing.assert_close(one.flat(2 * a - b), 2 * one.flat(a) - one.flat(b))
    assert torch.equal(one.flat(a), kind.bind(blocks).flat(a))
    other = type(kind)(**{**kind.__dict__, "seed": 1}).bind(blocks)
    assert not torch.allclose(one.flat(a), other.flat(a))
    assert kind.settings != type(kind)(**{**kind.__dict__, "seed": 1}).settings


def spread_of(kind: Any, x: torch.Tensor, y: torch.Tensor, blocks: Blocks) -> np.ndarray:
    """Inner products of projected x and y over seeds."""
    out = []
    for seed in range(1500):
        projector = type(kind)(**{**kind.__dict__, "seed": seed}).bind(blocks)
        both = projector.flat(torch.stack([x, y]))
        out.append(float(both[0] @ both[1]))
    return np.array(out)


@pytest.mark.parametrize(
    "kind", [Dense(16), Dense(16, "gaussian"), Sparse(16, 1), Sparse(16, 4)], ids=str
)
def test_error_is_that_of_theory(kind: Any) -> None:
    blocks = blocks_of(5, 4)
    x, y = torch.randn(2, 20, generator=rng(3), dtype=torch.float64)
    y = y + 0.5 * x
    found = spread_of(kind, x, y, blocks)
    true = float(x @ y)
    variance = float(x @ x) * float(y @ y) + true**2
    if getattr(kind, "entries", "rademacher") == "rademacher":
        variance -= 2 * float((x**2 * y**2).sum())
    variance /= 16
    assert abs(found.mean() - true) < 4 * math.sqrt(variance / len(found))
    # The variance of a variance from 1,500 values with tails: some 5 %.
    assert found.var() == pytest.approx(variance, rel=0.2)


def test_two_sided_error_is_that_of_theory() -> None:
    """For one outer product the squared length is a product of two chi-square means."""
    blocks = blocks_of(9, 7)
    u, v = torch.randn(9, generator=rng(1)), torch.randn(7, generator=rng(2))
    x = torch.outer(u, v).flatten()
    x /= x.norm()
    found = spread_of(TwoSided(4, 3, "gaussian"), x, x, blocks)
    variance = (1 + 2 / 4) * (1 + 2 / 3) - 1
    assert abs(found.mean() - 1) < 4 * math.sqrt(variance / len(found))
    assert found.var() == pytest.approx(variance, rel=0.3)


def test_error_shrinks_with_the_root_of_the_dimension() -> None:
    blocks = blocks_of(50, 40)
    x, y = torch.nn.functional.normalize(torch.randn(2, 60, 2000, generator=rng(4)), dim=-1)
    errors = []
    sizes = [64, 256, 1024, 4096]
    for size in sizes:
        projector = Sparse(size, 4).bind(blocks)
        found = (projector.flat(x) * projector.flat(y)).sum(1)
        errors.append(float((found - (x * y).sum(1)).square().mean().sqrt()))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.1)


def test_entries_do_not_depend_on_the_tile() -> None:
    key = key_of(3, 5)
    for make in (signs, normals):
        whole = make(key, 50, 70)
        assert np.array_equal(make(key, 10, 70, 20), whole[20:30])
        assert whole.dtype == np.float32
    assert set(np.unique(signs(key, 50, 70))) == {-1.0, 1.0}
    assert not np.array_equal(signs(key, 5, 64), signs(key_of(3, 6), 5, 64))


def test_entries_are_known_numbers() -> None:
    """The same on every machine and in every version: stored projections stay readable."""
    key = key_of(0, 0)
    assert signs(key, 1, 8)[0].tolist() == SIGNS
    np.testing.assert_allclose(normals(key, 1, 3)[0], NORMALS, rtol=1e-6)


def test_entries_are_independent() -> None:
    values = normals(key_of(1, 1), 400, 400)
    count = values.size
    assert abs(values.mean()) < 4 / math.sqrt(count)
    assert abs(values.var() - 1) < 4 * math.sqrt(2 / count)
    assert abs((values**4).mean() - 3) < 4 * math.sqrt(96 / count)
    for matrix in (values, signs(key_of(1, 1), 400, 400)):
        products = matrix @ matrix.T / 400
        off = products[~np.eye(400, dtype=bool)]
        assert abs(off.std() - 1 / 20) < 0.002
        assert np.abs(off).max() < 6 / 20


def test_scatter_is_a_matrix_product() -> None:
    values = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)
    matrix = np.zeros((40, 12), np.float32)
    scatter(key_of(1, 1), np.eye(40, dtype=np.float32), matrix, 4)
    assert ((matrix != 0).sum(1) == 3).all() and set(np.unique(np.abs(matrix))) == {0.0, 1.0}
    assert all((np.abs(matrix[:, part : part + 4]).sum(1) == 1).all() for part in (0, 4, 8))
    out = np.zeros((3, 12), np.float32)
    scatter(key_of(1, 1), values[:, :15], out, 4)
    scatter(key_of(1, 1), np.ascontiguousarray(values[:, 15:]), out, 4, 15)
    np.testing.assert_allclose(out, values @ matrix, rtol=1e-5, atol=1e-6)


def test_large_dense_projections_are_made_tile_by_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = blocks_of(30, 20)
    vectors = torch.randn(2, 600, generator=rng(1))
    whole = Dense(32).bind(blocks).flat(vectors)
    from dataworth.features.gradients import projection

    monkeypatch.setattr(projection, "_TILE", 32 * 7)
    monkeypatch.setattr(projection, "_CACHE", 0)
    tiled = Dense(32).bind(blocks)
    torch.testing.assert_close(tiled.flat(vectors), whole)
    assert not tiled._tiles  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Dense(0), "dimension"),
        (lambda: Dense(4, "uniform"), "entries"),  # type: ignore[arg-type]
        (lambda: Sparse(10, 4), "multiple"),
        (lambda: TwoSided(0, 4), "rows"),
    ],
)
def test_wrong_options(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
