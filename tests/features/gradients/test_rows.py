"""Stored gradients: what half precision keeps, columns over a corpus, scoring out of core."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError
from dataworth.features.gradients.documents import DocumentGradients, model_identity, windows
from dataworth.features.gradients.preconditioners import AdamStep, Damping, Moments, gram
from dataworth.features.gradients.projection import Sparse, TwoSided, Whole
from dataworth.features.gradients.rows import (
    EXTRA,
    Held,
    Stored,
    decode,
    encode,
    lengths,
    score_rows,
)
from dataworth.flow.features import feature_column
from dataworth.lm.model import CausalLM as Model
from dataworth.lm.model import ModelConfig
from dataworth.lm.model import build as build_model
from dataworth.lm.tokenizer import train_tokenizer

TEXTS = [f"The {word} sat on the mat number {i}. " * (1 + i % 5) for i, word in enumerate(
    ["cat", "dog", "hen", "ox", "bee", "owl", "pig", "ram", "cow", "fox", "ant"]
)]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def model() -> Model:
    return build_model(ModelConfig(16, 1, 2, 24, vocabulary=300, context=32), 0)


@settings(max_examples=50, deadline=None)
@given(st.floats(-30, 30), st.integers(0, 1000))
def test_half_precision_keeps_any_scale(power: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(3, 64)) * 10.0**power
    stored = encode(values).astype(np.float16)
    assert np.isfinite(stored).all()
    np.testing.assert_allclose(
        lengths(stored), np.linalg.norm(values, axis=1), rtol=1e-5 + 2e-6 * abs(power)
    )
    expected = values.astype(np.float32)
    error = np.abs(decode(stored) - expected).max() / np.abs(expected).max()
    assert error < 1e-3
    unit = decode(stored, unit=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)


def test_nothing_stays_nothing() -> None:
    stored = encode(np.zeros((2, 5))).astype(np.float16)
    assert lengths(stored).tolist() == [0, 0]
    assert not decode(stored).any() and not decode(stored, unit=True).any()
    assert encode(np.zeros((0, 5))).shape == (0, 5 + EXTRA)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 50), st.integers(2, 12))
def test_windows_predict_each_token_once(length: int, context: int) -> None:
    ids = list(range(length))
    pieces = windows(ids, context)
    assert all(2 <= len(piece) <= context for piece in pieces)
    assert [token for piece in pieces for token in piece[1:]] == ids[1:]
    assert windows(ids, context, 2) == pieces[:2]


def one_by_one(feature: DocumentGradients, texts: list[str]) -> torch.Tensor:
    rows = [feature.gradients([text]) for text in texts]
    return torch.cat(rows)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_documents(model: Model, tokenizer: Tokenizer, reduction: str) -> None:
    """The gradient of a long document by plain differentiation over its windows."""
    feature = DocumentGradients(
        model,
        tokenizer,
        Whole(),
        context=16,
        first=0,
        reduction=reduction,
        tokens=64,  # type: ignore[arg-type]
    )
    found = feature.gradients(TEXTS)
    torch.testing.assert_close(found, one_by_one(feature, TEXTS), rtol=1e-3, atol=1e-4)
    row = 4
    ids = [0, *tokenizer.encode(TEXTS[row], add_special_tokens=False).ids]
    assert len(ids) > 32
    model.zero_grad()
    total = torch.zeros(())
    for piece in windows(ids, 16):
        given_ids = torch.tensor([piece])
        log = model(given_ids).log_softmax(-1)[0, :-1]
        total = total - log.gather(1, given_ids[0, 1:, None]).sum()
    (total / (len(ids) - 1 if reduction == "mean" else 1)).backward()
    expected = feature.engine.blocks.flatten(
        {name: parameter.grad for name, parameter in model.named_parameters()}
    )
    model.zero_grad(set_to_none=True)
    torch.testing.assert_close(found[row], expected, rtol=1e-3, atol=1e-3)


def test_steps_of_whole_documents(model: Model, tokenizer: Tokenizer) -> None:
    """The optimizer's step is taken on the whole document, then projected."""
    plain = DocumentGradients(model, tokenizer, Whole(), context=16)
    size = plain.engine.size
    generator = torch.Generator().manual_seed(0)
    moments = Moments(
        torch.randn(size, generator=generator), torch.rand(size, generator=generator) + 0.1, 10
    )
    step = AdamStep(moments)
    feature = DocumentGradients(model, tokenizer, TwoSided(4, 4), context=16, step=step)
    texts = [*TEXTS[:3], ""]
    found = feature.gradients(texts)
    expected = feature.projector.flat(step.train(plain.gradients(texts[:3])))
    torch.testing.assert_close(found[:3], expected, rtol=1e-3, atol=1e-3)
    # Nothing to predict: not even the momentum moves.
    assert not found[3].any()
    assert feature.settings != plain.settings


@pytest.fixture
def pool(tmp_path: Path) -> Corpus:
    for part, texts in enumerate((TEXTS[:6], TEXTS[6:])):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (tmp_path / f"{part}.jsonl").write_text(lines, "utf-8")
    return Corpus.open([str(tmp_path / "*.jsonl")])


def test_column_over_a_corpus(
    model: Model, tokenizer: Tokenizer, pool: Corpus, tmp_path: Path
) -> None:
    feature = DocumentGradients(model, tokenizer, Sparse(64), context=32)
    column = feature_column(pool, feature, tmp_path / "run", Engine(2))
    assert len(column) == len(TEXTS)
    assert column.table.schema.field(column.name).type == pa.list_(pa.float16(), 64 + EXTRA)
    rows = column.find(Documents.from_texts(TEXTS).uid)
    expected = feature.gradients(TEXTS).numpy()
    found = np.concatenate([block for _, block in Stored(column).blocks(3)])[rows]
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())
    fine = feature_column(pool, feature, tmp_path / "run", Engine(1), dtype="float32")
    assert fine.folder.parent == column.folder.parent and fine.folder != column.folder
    exact = np.concatenate([block for _, block in Stored(fine).blocks()])[rows]
    np.testing.assert_allclose(exact, expected, atol=1e-5 * np.abs(expected).max())


def test_the_logarithm_in_two_parts() -> None:
    """The first has the digits of torch's bfloat16, so that float16 holds it."""
    scales = 10.0 ** np.arange(-36, 36).repeat(14)[:1000]
    values = np.abs(np.random.default_rng(0).normal(size=1000)) * scales
    stored = encode(values[:, None])
    expected = torch.from_numpy(np.log(values).astype(np.float32)).to(torch.bfloat16).float()
    assert np.array_equal(stored[:, -2], expected.numpy())
    np.testing.assert_allclose(stored[:, -2] + stored[:, -1], np.log(values), rtol=1e-6, atol=1e-6)


def gradients(stored: Stored) -> np.ndarray:
    return np.concatenate([block for _, block in stored.blocks()])


def test_sides_that_do_not_belong_together(
    model: Model, tokenizer: Tokenizer, pool: Corpus, tmp_path: Path
) -> None:
    def stored(name: str, projection: object, of: Model = model, **more: object) -> Stored:
        feature = DocumentGradients(of, tokenizer, projection, context=32, **more)  # type: ignore[arg-type]
        return Stored(feature_column(pool, feature, tmp_path / name, Engine(1)))

    first = stored("first", Sparse(64))
    other = build_model(ModelConfig(16, 1, 2, 24, vocabulary=300, context=32), 1)
    for name, side, said in (
        ("seed", stored("seed", Sparse(64, seed=1)), "seed 0 and 1"),
        ("dimension", stored("dimension", Sparse(32)), "dimension 64 and 32"),
        ("parts", stored("parts", Sparse(64, parts=2)), "parts 4 and 2"),
        ("kind", stored("kind", TwoSided(2, 2)), "projection sparse and two_sided"),
        ("model", stored("model", Sparse(64), other), "model .* and "),
        ("blocks", stored("blocks", Sparse(64), patterns=("*feed*",)), "blocks .* and "),
    ):
        with pytest.raises(ConfigError, match=f"first.* and .*{name}.* do not belong.*{said}"):
            score_rows(first, side)
    # What texts are read how is free to differ.
    means = stored("means", Sparse(64), reduction="mean")
    found = score_rows(first, means, gram(first), out=str(tmp_path / "s.npy"))
    assert found.shape == (len(TEXTS), len(TEXTS))
    np.testing.assert_allclose(
        gram(first).factor, gram([torch.from_numpy(gradients(first))]).factor
    )
    with pytest.raises(ConfigError, match="64 numbers and the queries' 8"):
        score_rows(first, Held(np.ones((2, 8), np.float32)))
    with pytest.raises(ConfigError, match="gradients of 64 numbers, these have 8"):
        score_rows(first, Held(np.ones((2, 8), np.float32)), gram(first))


def test_identity_of_a_model(model: Model) -> None:
    before = model_identity(model)
    assert before == model_identity(model)
    with torch.no_grad():
        model.embed.weight[3, 5] += 1e-3
    assert model_identity(model) != before
    with torch.no_grad():
        model.embed.weight[3, 5] -= 1e-3


def test_scores_out_of_core(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    examples, queries = (generator.normal(size=(n, 8)).astype(np.float32) for n in (50, 13))
    fitted = gram([torch.from_numpy(examples)], damping=Damping(0.2))
    k = examples.T.astype(float) @ examples / 50
    k += 0.2 * np.trace(k) / 8 * np.eye(8)
    expected = examples @ np.linalg.solve(k, queries.T) / 50
    whole = score_rows(Held(examples), Held(queries), fitted)
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)
    parts = score_rows(Held(examples), Held(queries), fitted, out=tmp_path / "s.npy", rows=7)
    assert isinstance(parts, np.memmap)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    plain = score_rows(Held(examples), Held(queries))
    np.testing.assert_allclose(plain, examples @ queries.T, rtol=1e-5, atol=1e-5)
    moments = Moments(torch.zeros(8), torch.ones(8), 1)
    with pytest.raises(ConfigError, match="projected"):
        score_rows(Held(examples), Held(queries), AdamStep(moments))
