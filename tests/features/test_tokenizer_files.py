"""n-grams of a Hugging Face tokenizer's ids: the ids are the library's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from dataworth.corpus.documents import Documents
from dataworth.errors import ConfigError
from dataworth.features.ngrams import HashedNgrams
from dataworth.features.tokenizers import load_tokenizer
from features.twins import bucket_of, ngrams_of, token_hash
from testdata import read_rows


@pytest.fixture(scope="module")
def texts(small_pool: Path) -> list[str]:
    return [row["text"] for row in read_rows(small_pool)][:120]


@pytest.fixture(scope="module")
def tokenizer(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-level BPE that truncates, pads and adds special tokens, as many files do."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=["<s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    made.enable_truncation(64)
    made.enable_padding(length=32, pad_id=1, pad_token="<pad>")
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture(scope="module")
def ids(tokenizer: Path, texts: list[str]) -> list[list[int]]:
    """Each text's ids, whole."""
    own = Tokenizer.from_file(str(tokenizer))
    own.no_truncation()
    own.no_padding()
    return [own.encode(text, add_special_tokens=False).ids for text in texts]


def test_every_text_is_taken_whole(tokenizer: Path, texts: list[str], ids: list[list[int]]) -> None:
    feature = HashedNgrams(tokens=str(tokenizer))
    lengths = feature.lengths(Documents.from_texts(texts))
    assert lengths.tolist() == [len(row) for row in ids]
    assert lengths.max() > 64


@pytest.mark.parametrize("ngrams", [1, 2, 3, 5])
def test_buckets_are_those_of_the_ids(
    ngrams: int, tokenizer: Path, texts: list[str], ids: list[list[int]]
) -> None:
    """An id hashes as a token of 8 bytes."""
    feature = HashedNgrams(ngrams, 10_000, str(tokenizer))
    documents = Documents.from_texts([*texts[:40], "", "a"])
    spans, found = feature.rows(documents)
    whole = [
        *ids[:40],
        [],
        load_tokenizer(str(tokenizer)).encode("a", add_special_tokens=False).ids,
    ]
    for row, own in enumerate(whole):
        hashes = [token_hash(number.to_bytes(8, "little")) for number in own]
        twin = [bucket_of(gram, 10_000) for gram in ngrams_of(hashes, ngrams)]
        assert found[spans[row] : spans[row + 1]].tolist() == twin
    counted = feature.count(documents)
    assert np.array_equal(counted.counts, np.bincount(found, minlength=10_000))
    assert np.array_equal(counted.grams, np.diff(spans))


def test_scores(tokenizer: Path, texts: list[str]) -> None:
    feature = HashedNgrams(tokens=str(tokenizer))
    documents = Documents.from_texts(["", *texts, " "])
    weights = np.random.default_rng(0).normal(size=(10_000, 3))
    scored = feature.score(documents, weights)
    spans, found = feature.rows(documents)
    for row in range(len(documents)):
        terms = weights[found[spans[row] : spans[row + 1]]].sum(0)
        np.testing.assert_allclose(scored.sums[row], terms, rtol=1e-10, atol=1e-10)
    assert not scored.sums[0].any()
    # A document's score is its own, bit for bit, whatever stands beside it.
    for row in (1, 60, 120):
        alone = feature.score(Documents.from_texts([documents.text(row)]), weights).sums
        assert np.array_equal(alone[0], scored.sums[row])
    nothing = feature.score(Documents.from_texts([]), weights)
    assert nothing.sums.shape == (0, 3)


def test_grams_in_the_tokenizers_words(tokenizer: Path, texts: list[str]) -> None:
    feature = HashedNgrams(tokens=str(tokenizer))
    grams = feature.grams(texts[0])
    words = load_tokenizer(str(tokenizer)).encode(texts[0], add_special_tokens=False).tokens
    assert [name for name, _ in grams if " " not in name] == words
    assert feature.grams("") == []


def test_identity_is_the_files_content(tokenizer: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other-name.json"
    copy.write_bytes(tokenizer.read_bytes())
    first, second = HashedNgrams(tokens=str(tokenizer)), HashedNgrams(tokens=str(copy))
    assert first.identity == second.identity
    copy.write_text(copy.read_text("utf-8").replace('"<pad>"', '"<fill>"'), "utf-8")
    assert first.identity != second.identity


def test_what_is_no_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "no.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"is not a Hugging Face tokenizer\.json"):
        HashedNgrams(tokens=str(path)).lengths(Documents.from_texts(["a"]))
    with pytest.raises(ConfigError, match="not with a tokenizer file"):
        HashedNgrams(tokens=str(path), hash="sha256")
