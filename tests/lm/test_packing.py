"""Token streams and the sequences cut from them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.errors import ConfigError, DataworthError, InputError
from dataworth.lm.packing import TokenStream, open_stream, sequences, stream_of, write_stream
from lm.lm_tools import small_tokenizer, some_texts


def ring(total: int) -> TokenStream:
    """A stream of one document whose tokens are their own places."""
    tokens = np.arange(total, dtype=np.uint16)
    return TokenStream(tokens, np.array([0, total]), np.array([total]), 0, total, "")


def test_a_stream_holds_each_document_and_its_end(tmp_path: Path) -> None:
    tokenizer, texts = small_tokenizer(), [*some_texts(1500), "", "東京"]
    stream = write_stream(iter(texts), tokenizer, tmp_path / "stream")
    assert stream.documents == len(texts)
    assert stream.bytes.tolist() == [len(text.encode()) for text in texts]
    assert stream.starts[-1] == len(stream)
    assert stream.tokens.dtype == np.uint16
    for row in (0, 7, 1023, 1024, 1499, 1500, 1501):
        ids = stream.document(row).tolist()
        assert ids == [*tokenizer.encode(texts[row]).ids, 0]


def test_a_stream_in_memory_is_the_one_on_disk(tmp_path: Path) -> None:
    tokenizer, texts = small_tokenizer(), some_texts(30)
    disk = write_stream(texts, tokenizer, tmp_path / "stream")
    memory = stream_of(texts, tokenizer)
    assert np.array_equal(disk.tokens, memory.tokens)
    assert np.array_equal(disk.starts, memory.starts)
    assert disk.fingerprint == memory.fingerprint == open_stream(tmp_path / "stream").fingerprint
    assert stream_of(texts[1:], tokenizer).fingerprint != memory.fingerprint


def test_a_large_vocabulary_takes_wider_tokens(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = {f"w{i}": i for i in range(70_000)} | {"</s>": 70_000}
    tokenizer = Tokenizer(models.WordLevel(names, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    stream = write_stream(["w69999 w1"], tokenizer, tmp_path / "stream")
    assert stream.tokens.dtype == np.uint32
    assert stream.tokens.tolist() == [69_999, 1, 70_000]


def test_no_documents_and_damaged_streams_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no documents"):
        write_stream([], small_tokenizer(), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    write_stream(some_texts(5), small_tokenizer(), tmp_path / "stream")
    tokens = tmp_path / "stream" / "tokens.bin"
    tokens.write_bytes(tokens.read_bytes()[:-2])
    with pytest.raises(DataworthError, match="cannot be read"):
        open_stream(tmp_path / "stream")


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 5))
@settings(deadline=None)
def test_an_epoch_predicts_each_token_at_most_once(total: int, length: int, seed: int) -> None:
    stream = ring(total)
    rows = sequences(stream, length, total, seed)
    inputs, targets = rows.batch(0, rows.per_epoch)
    assert ((targets - inputs) % total == (1 % total)).all()  # each input is the token before
    if total >= length:
        assert len(set(targets.ravel().tolist())) == targets.size > total - length
    else:
        assert targets.shape == (1, length)
        assert set(targets.ravel().tolist()) == set(range(total))


@given(st.integers(2, 60), st.integers(1, 9), st.integers(1, 7), st.integers(0, 5))
@settings(deadline=None)
def test_batches_do_not_depend_on_how_they_are_cut(
    total: int, length: int, size: int, seed: int
) -> None:
    rows = sequences(ring(total), length, 3 * total, seed)
    whole = rows.batch(0, 24)[1]
    again = sequences(ring(total), length, 3 * total, seed)
    parts = [again.batch(start, size)[1] for start in reversed(range(0, 24 - size, size))]
    assert np.array_equal(np.concatenate(parts[::-1]), whole[: len(parts) * size])


def test_epochs_and_seeds_change_the_order() -> None:
    stream = ring(1000)
    rows = sequences(stream, 10, 2000, 0)
    assert (len(rows), rows.per_epoch, rows.epochs) == (200, 100, 2.0)
    first, second = rows.batch(0, 100)[1], rows.batch(100, 100)[1]
    assert not np.array_equal(first, second)
    assert set(first.ravel()) == set(second.ravel()) == set(range(1000))
    assert not np.array_equal(sequences(stream, 10, 2000, 1).batch(0, 100)[1], first)
    assert len({int(one) % 10 for one in (first[0, 0], second[0, 0])}) == 2  # another offset


def test_tokens_are_rounded_up_to_sequences() -> None:
    assert len(sequences(ring(100), 10, 11, 0)) == 2
    with pytest.raises(ConfigError):
        sequences(ring(100), 0, 11, 0)


def test_the_order_is_the_one_it_always_was() -> None:
    rows = sequences(ring(100), 10, 100, 7)
    assert rows.batch(0, 10)[1][:, 0].tolist() == FIRSTS


FIRSTS = [97, 57, 7, 87, 47, 77, 27, 67, 37, 17]
