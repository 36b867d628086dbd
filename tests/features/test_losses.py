"""Losses of documents as columns, against transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError
from dataworth.features.losses import DocumentLosses, bits_per_byte, per_token
from dataworth.flow.features import feature_column
from features.models import causal_folder, transformers_folder
from testdata import read_rows


@pytest.fixture(scope="module")
def texts(small_pool: Path) -> list[str]:
    found = [row["text"] for row in read_rows(small_pool)][:20]
    return [*(text[: 40 * i + 1] for i, text in enumerate(found)), "", "a", "猫が好き \U0001f600"]


@pytest.fixture(scope="module", params=["ours", "transformers"])
def folder(
    request: pytest.FixtureRequest, texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    make = causal_folder if request.param == "ours" else transformers_folder
    return make(tmp_path_factory.mktemp("model") / request.param, texts)


def direct(folder: Path, text: str, context: int, window: int) -> tuple[float, int]:
    """The summed loss of the first tokens by transformers, from the end token on."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]
    ids = [0, *ids, 0][: window + 1 if window else None]
    assert len(ids) <= context + 1
    with torch.inference_mode():
        logits = model(torch.tensor([ids[:-1]])).logits[0].double()
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum")
    return float(loss), len(ids) - 1


@pytest.mark.parametrize("window", [0, 1, 9])
def test_against_transformers(folder: Path, texts: list[str], window: int) -> None:
    feature = DocumentLosses(str(folder), window=window)
    found = feature.values(Documents.from_texts(texts))
    assert found.shape == (len(texts), 3)
    short = [row for row, text in enumerate(texts) if window or len(text) < 40]
    assert len(short) > 3
    for row in short:
        nats, tokens = direct(folder, texts[row], 32, window)
        np.testing.assert_allclose(found[row, 0], nats, rtol=1e-5)
        assert found[row, 1] == tokens
    if not window:
        assert found[:, 2].tolist() == [len(text.encode()) for text in texts]


def test_a_window_is_a_cut_document(folder: Path, texts: list[str]) -> None:
    """Its tokens are the first ones, and its bytes those of these tokens."""
    from dataworth.lm.evaluation import token_losses
    from dataworth.lm.model import load_model
    from dataworth.lm.tokenizer import load_tokenizer

    tokenizer, model = load_tokenizer(folder), load_model(folder)
    each = token_losses(model, tokenizer, texts)
    for window in (7, 60):
        found = DocumentLosses(str(folder), window=window).values(Documents.from_texts(texts))
        for row, (text, loss) in enumerate(zip(texts, each, strict=True)):
            if window < model.context or len(loss) <= window:
                np.testing.assert_allclose(found[row, 0], loss[:window].sum(), rtol=1e-5)
            assert found[row, 1] == min(window, len(loss))
            ids = tokenizer.encode(text, add_special_tokens=False).ids[:window]
            if text.isascii():
                assert found[row, 2] == len(tokenizer.decode(ids).encode())


def test_bfloat16_is_near(folder: Path, texts: list[str]) -> None:
    documents = Documents.from_texts(texts)
    exact = DocumentLosses(str(folder)).values(documents)
    rough = DocumentLosses(str(folder), precision="bfloat16").values(documents)
    assert not np.array_equal(exact, rough)
    np.testing.assert_allclose(rough, exact, rtol=0.02)


def test_columns_of_losses(folder: Path, texts: list[str], tmp_path: Path) -> None:
    texts = [text for text in texts if text]  # an empty one is no document
    corpus = Corpus.open([{"text": text} for text in texts], spool=tmp_path / "spool")
    feature = DocumentLosses(str(folder))
    losses = feature_column(corpus, feature, tmp_path / "losses", Engine(2))
    assert losses.table.schema.field("nats:document_losses").type == "float64"
    exact = feature.values(Documents.from_texts(texts))
    np.testing.assert_allclose(per_token(losses), exact[:, 0] / exact[:, 1], rtol=1e-6)
    some = exact[:, 2] > 0
    np.testing.assert_allclose(
        bits_per_byte(losses)[some],
        (exact[:, 0] / np.log(2) / exact[:, 2].clip(1))[some],
        rtol=1e-6,
    )
    # Random weights know nothing: about the logarithm of the vocabulary.
    assert abs(per_token(losses).mean() - np.log(400)) < 2
    assert len(DocumentLosses(str(folder)).values(Documents.from_texts([]))) == 0


def test_options() -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        DocumentLosses("x", window=-1)
    with pytest.raises(ConfigError, match="precision must be"):
        DocumentLosses("x", precision="int8")  # type: ignore[arg-type]
