"""Ghost products, norms and partial scores against the formed gradients; batching and order."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dataworth.errors import ConfigError, InputError
from dataworth.features.gradients import CausalLM, Gradients, Supervised
from dataworth.features.gradients.low_rank import compress
from dataworth.features.gradients.preconditioners import AdamStep, Identity, Moments
from dataworth.features.gradients.scoring import (
    gradient_lengths,
    query_vectors,
    scores,
    scores_by_block,
    scores_by_position,
    self_scores,
)
from features.gradients.models import TinyLM, documents, rng, seeded


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "not tied"])
def engine(request: pytest.FixtureRequest) -> Gradients:
    return Gradients(seeded(1, TinyLM(tied=request.param)), CausalLM())


def test_ghost_products_and_norms(engine: Gradients) -> None:
    batches = [b for _, b in engine.task.examples(documents(7), size=4)]
    a, b = (engine.factors(batch) for batch in batches)
    formed = a.gradients() @ b.gradients().T
    torch.testing.assert_close(a.dot(b), formed, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(a.squared_norms(), a.gradients().square().sum(1))


def test_norms_by_either_way(engine: Gradients, monkeypatch: pytest.MonkeyPatch) -> None:
    _, batch = next(iter(engine.task.examples(documents(4))))
    factors = engine.factors(batch)
    expected = factors.gradients().square().sum(1)
    for ghost in (True, False):
        monkeypatch.setattr(type(factors), "_ghost_is_cheaper", lambda *_, g=ghost: g)
        torch.testing.assert_close(factors.squared_norms(), expected)


def test_parts_sum_to_the_whole(engine: Gradients) -> None:
    _, batch = next(iter(engine.task.examples(documents(4))))
    factors = engine.factors(batch)
    vectors = torch.randn(3, engine.size, generator=rng(2), dtype=torch.float64)
    whole = factors.gradients() @ vectors.T
    torch.testing.assert_close(factors.scores(vectors), whole)
    by_block = factors.scores_by_block(vectors)
    torch.testing.assert_close(by_block.sum(-1), whole)
    for index, block in enumerate(engine.blocks):
        part = factors.gradients()[:, block.span] @ vectors[:, block.span].T
        torch.testing.assert_close(by_block[..., index], part)
    positions = factors.scores_by_position(vectors)
    torch.testing.assert_close(positions.positions.sum(-1) + positions.rest, whole)
    # Padding is no position of any worth.
    assert batch.mask is not None and not batch.mask.all()
    padded = positions.positions.transpose(1, 2)[~batch.mask]
    assert float(padded.abs().max()) == 0
    assert float(positions.positions.transpose(1, 2)[batch.mask].abs().min()) > 0


def test_scores_of_a_table_by_either_way() -> None:
    model = seeded(1, nn.Sequential(nn.Embedding(400, 3), nn.Linear(3, 400)))
    engine = Gradients(model, CausalLM())
    _, batch = next(iter(engine.task.examples(documents(3))))
    factors = engine.factors(batch)
    assert 8 * factors.calls[0][0].positions < 400
    vectors = torch.randn(3, engine.size, generator=rng(2), dtype=torch.float64)
    torch.testing.assert_close(factors.scores(vectors), factors.gradients() @ vectors.T)


def test_positions_of_several_lengths_are_refused() -> None:
    model = nn.Sequential(
        nn.Conv1d(2, 3, 3, padding=1), nn.Conv1d(3, 3, 3), nn.Flatten(), nn.Linear(12, 2)
    )
    engine = Gradients(seeded(1, model), Supervised())
    items = [(torch.randn(2, 6, dtype=torch.float64, generator=rng(i)), 1) for i in range(3)]
    _, batch = next(iter(engine.task.examples(items)))
    vectors = torch.randn(1, engine.size, dtype=torch.float64)
    with pytest.raises(InputError, match="1 has 4 positions where others have 6"):
        engine.factors(batch).scores_by_position(vectors)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_batching_and_order_change_no_score(dtype: torch.dtype) -> None:
    engine = Gradients(seeded(1, TinyLM(), 0.3).to(dtype), CausalLM())
    items, queries = documents(13, 1), engine.task.examples(documents(3, 2), size=2)
    one = scores(engine, engine.task.examples(items, size=1), queries)
    tolerance = {torch.float64: 1e-6, torch.float32: 1e-4}[dtype] * np.abs(one).max()
    for size, tokens in ((13, None), (4, None), (8, 30)):
        many = scores(engine, engine.task.examples(items, size=size, tokens=tokens), queries)
        np.testing.assert_allclose(many, one, atol=tolerance, rtol=0)
    order = np.random.default_rng(0).permutation(len(items))
    turned = scores(engine, engine.task.examples([items[i] for i in order], size=5), queries)
    np.testing.assert_allclose(turned, one[order], atol=tolerance, rtol=0)


def test_few_queries_at_a_time(engine: Gradients) -> None:
    items = engine.task.examples(documents(5, 1))
    queries = engine.task.examples(documents(4, 2))
    whole = scores(engine, items, queries)
    parts = scores(engine, items, queries, held=2 * 8 * engine.size)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    by_block = scores_by_block(engine, items, queries, held=8 * engine.size)
    np.testing.assert_allclose(by_block.sum(-1), whole, rtol=1e-4, atol=1e-5)


def test_positions_and_lengths_of_many(engine: Gradients) -> None:
    documents_ = documents(6, 1)
    items, queries = engine.task.examples(documents_, size=4), engine.task.examples(documents(2, 2))
    whole = scores(engine, items, queries)
    found = scores_by_position(engine, items, queries)
    # The last token predicts nothing.
    assert [part.shape for part in found] == [(2, len(ids) - 1) for ids in documents_]
    for row, part in enumerate(found):
        np.testing.assert_allclose(part.sum(1), whole[row], rtol=1e-4, atol=1e-5)
    lengths = gradient_lengths(engine, items)
    np.testing.assert_allclose(lengths**2, self_scores(engine, items), rtol=1e-5)
    moments = Moments(torch.zeros(1), torch.ones(1), 1)
    for call in (scores_by_position, functools.partial(scores, rank=2)):
        with pytest.raises(ConfigError, match="adam_step"):
            call(engine, items, queries, AdamStep(moments))


def test_half_precision_model_scores_nearly_alike() -> None:
    model = seeded(1, TinyLM(), 0.3).float()
    items, queries = documents(12, 1), documents(3, 2)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        engine = Gradients(model.to(dtype), CausalLM())
        found.append(scores(engine, engine.task.examples(items), engine.task.examples(queries)))
    assert np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1] > 0.99


def test_low_rank_queries(engine: Gradients) -> None:
    items = engine.task.examples(documents(5, 1), size=2)
    queries = engine.task.examples(documents(4, 2))
    whole = scores(engine, items, queries)
    assert sum(4 * (b.rows + b.columns) < b.size for b in engine.blocks) > 0
    full = scores(engine, items, queries, rank=100, held=8 * engine.size)
    np.testing.assert_allclose(full, whole, rtol=1e-4, atol=1e-4 * np.abs(whole).max())
    errors = []
    for rank in (1, 2, 4):
        thin = compress(engine.blocks, query_vectors(engine, queries), rank)
        found = np.empty_like(whole)
        for rows, batch in items:
            found[rows] = thin.scores(engine.factors(batch)).numpy()
        np.testing.assert_allclose(found, scores(engine, items, queries, rank=rank), rtol=1e-5)
        errors.append(np.abs(found - whole).max())
        # By the best approximation of each block.
        vectors = query_vectors(engine, queries)
        for block in engine.blocks:
            u, s, v = torch.linalg.svd(block.matrix(vectors), full_matrices=False)
            if rank * (block.rows + block.columns) < block.size:
                s[:, rank:] = 0
            vectors[:, block.span] = ((u * s[:, None]) @ v).flatten(1)
        for rows, batch in items:
            nearest = engine.gradients(batch) @ vectors.T
            np.testing.assert_allclose(found[rows], nearest, rtol=1e-5, atol=1e-6)
    assert errors[0] > errors[2] > 0
    with pytest.raises(ConfigError, match="rank"):
        compress(engine.blocks, query_vectors(engine, queries), 0)


def test_symmetry_and_own_scores(engine: Gradients) -> None:
    task = dataclasses.replace(engine.task, measured="sum")  # type: ignore[type-var]
    engine = Gradients(engine.model, task)
    items = task.examples(documents(6, 1))
    both = scores(engine, items, items)
    np.testing.assert_allclose(both, both.T, rtol=1e-6)
    own = self_scores(engine, items)
    np.testing.assert_allclose(own, np.diag(both), rtol=1e-6)
    assert (own > 0).all()


def test_score_is_what_a_step_does(engine: Gradients) -> None:
    """One small step on an example lowers the query's loss by the score."""
    items, queries = documents(3, 1), documents(2, 2)
    rate = 1e-6
    found = scores(
        engine,
        engine.task.examples(items),
        engine.task.examples(queries),
        Identity(rate),
    )
    _, batch = next(iter(engine.task.examples(queries, size=4)))
    order = next(iter(engine.task.examples(queries, size=4).rows()))
    before = engine.losses(batch, "measure")
    for row, item in enumerate(items):
        _, one = next(iter(engine.task.examples([item])))
        step = engine.blocks.unflatten(-rate * engine.gradients(one)[0])
        with torch.no_grad():
            for name, parameter in engine.parameters().items():
                parameter += step[name]
        after = engine.losses(batch, "measure")
        with torch.no_grad():
            for name, parameter in engine.parameters().items():
                parameter -= step[name]
        fall = (before - after).numpy()
        np.testing.assert_allclose(fall, found[row, order], rtol=1e-2, atol=1e-9)


def test_query_vectors_follow_the_queries_order(engine: Gradients) -> None:
    queries = documents(5, 2)
    vectors = query_vectors(engine, engine.task.examples(queries, size=2))
    for row, query in enumerate(queries):
        _, batch = next(iter(engine.task.examples([query])))
        torch.testing.assert_close(vectors[row], engine.gradients(batch, "measure")[0])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(1, 6), st.integers(1, 60))
def test_batches_hold_every_item_once(lengths: list[int], size: int, tokens: int) -> None:
    items = [[1] * (length + 1) for length in lengths]
    examples = CausalLM().examples(items, size=size, tokens=tokens)
    seen = list(examples.rows())
    assert sorted(np.concatenate(seen).tolist()) == list(range(len(items)))
    for rows in seen:
        assert 1 <= len(rows) <= size
        filled = len(rows) * max(len(items[row]) for row in rows)
        assert len(rows) == 1 or filled <= tokens
