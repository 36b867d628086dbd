"""Tokenizers: every text comes back, the same texts give the same tokenizer."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.lm.tokenizer import END, end_token, load_tokenizer, save_tokenizer, train_tokenizer
from lm.lm_tools import small_tokenizer, some_texts


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_every_text_comes_back(text: str) -> None:
    tokenizer = small_tokenizer()
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_the_end_in_a_text_is_its_characters() -> None:
    tokenizer = small_tokenizer()
    text = f"a {END} b"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert 0 not in ids
    assert tokenizer.decode(ids) == text


def test_the_end_is_token_0_and_the_vocabulary_as_large_as_asked_for() -> None:
    tokenizer = small_tokenizer()
    assert end_token(tokenizer) == tokenizer.token_to_id(END) == 0
    assert tokenizer.get_vocab_size() == 300


def test_the_same_texts_in_any_order_give_the_same_tokenizer() -> None:
    texts = some_texts(200, seed=3)
    shuffled = list(texts)
    random.Random(1).shuffle(shuffled)
    first = train_tokenizer(texts, 320).to_str()
    assert first == train_tokenizer(iter(shuffled), 320).to_str()
    assert first != train_tokenizer(some_texts(200, seed=4), 330).to_str()


def test_merges_are_the_most_frequent_pairs() -> None:
    tokenizer = train_tokenizer(["abab abab", "abab"], 258)
    assert tokenizer.encode("abab").tokens == ["ab", "ab"]


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    save_tokenizer(tokenizer, tmp_path)
    save_tokenizer(tokenizer, tmp_path / "other.json")
    text = f"größer {END} 東京"
    for path in (tmp_path, tmp_path / "tokenizer.json", tmp_path / "other.json"):
        assert load_tokenizer(path).encode(text).ids == tokenizer.encode(text).ids


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="has no tokenizer that can be loaded"):
        load_tokenizer(tmp_path)
    with pytest.raises(ConfigError, match="at least 257"):
        train_tokenizer(["a"], 256)


def test_a_tokenizer_without_an_end_is_refused() -> None:
    from tokenizers import Tokenizer, models

    with pytest.raises(ConfigError, match="no token that ends a document"):
        end_token(Tokenizer(models.WordLevel({"a": 0})))
