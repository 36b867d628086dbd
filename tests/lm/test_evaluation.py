"""Losses of documents, options and responses against computations without any batching."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dataworth.errors import ConfigError
from dataworth.lm.evaluation import (
    choice_log_probs,
    cloze,
    document_losses,
    greedy_match,
    token_losses,
)
from dataworth.lm.model import CausalLM, build, load_model, save_model
from dataworth.lm.predictions import _rows, _windows
from lm.lm_tools import SHAPE, as_transformers, sharp, small_tokenizer, some_texts

LONG = replace(SHAPE, context=512)


def plain_nats(model: CausalLM, ids: list[int]) -> np.ndarray:
    """The nats of ids[1:], each predicted from all those before it."""
    with torch.no_grad():
        logits = model(torch.tensor([ids[:-1]]))[0].double()
    wanted = torch.tensor(ids[1:])
    return -logits.log_softmax(-1)[torch.arange(len(wanted)), wanted].numpy()


def test_document_losses_are_those_of_transformers(tmp_path: Path) -> None:
    model, tokenizer = sharp(LONG), small_tokenizer()
    theirs = as_transformers(model, tmp_path / "model")
    texts = [*some_texts(20), ""]
    found = document_losses(model, tokenizer, texts, batch_tokens=300)
    for row, text in enumerate(texts):
        ids = torch.tensor([[0, *tokenizer.encode(text).ids, 0]])
        with torch.no_grad():
            loss = float(theirs(input_ids=ids, labels=ids).loss)
        assert found.tokens[row] == ids.shape[1] - 1
        assert found.nats[row] / found.tokens[row] == pytest.approx(loss, rel=1e-5)
        assert found.bytes[row] == len(text.encode())
    assert found.loss == pytest.approx(found.nats.sum() / found.tokens.sum())
    assert found.bits_per_byte == pytest.approx(
        found.nats.sum() / math.log(2) / sum(len(text.encode()) for text in texts)
    )


def test_a_model_that_knows_nothing_loses_the_log_of_the_vocabulary() -> None:
    model, tokenizer = build(SHAPE), small_tokenizer()
    with torch.no_grad():
        model.embed.weight.zero_()
    found = document_losses(model, tokenizer, some_texts(5, 100))
    assert found.loss == pytest.approx(math.log(300), rel=1e-6)
    uniform = choice_log_probs(model, tokenizer, ["a"], [["b c d"]])[0]
    assert uniform.log_probs[0] == pytest.approx(-math.log(300) * uniform.tokens[0], rel=1e-6)


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_long_documents_are_read_in_windows(overlap: float) -> None:
    model, tokenizer = sharp(LONG), small_tokenizer()
    text = " ".join(some_texts(10, seed=2))
    ids = [0, *tokenizer.encode(text).ids, 0]
    size = 16
    found = token_losses(model, tokenizer, [text], context=size, overlap=overlap)[0]
    assert len(found) == len(ids) - 1 > 5 * size
    wanted, start, back = [], 1, int(size * overlap)
    while start < len(ids):
        begin = max(start - 1 - back, 0)
        if len(ids) - 1 - begin <= size:
            begin = len(ids) - 1 - size
        part = plain_nats(model, ids[begin : begin + size + 1])
        wanted.append(part[start - begin - 1 :])
        start = begin + size + 1
    np.testing.assert_allclose(found, np.concatenate(wanted), rtol=1e-4, atol=1e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.floats(0, 0.99))
def test_windows_predict_each_token_once(
    size: int, first: int, context: int, overlap: float
) -> None:
    ids, back = list(range(size)), int(context * overlap)
    predicted = []
    for window in _windows(0, ids, first, context, back):
        last = window.start + window.predicted
        assert 1 <= window.inputs <= context
        assert list(window.tokens) == ids[last - 1 - window.inputs : last]
        seen = window.start - (last - window.inputs - 1)  # inputs before its first target
        assert seen >= min(window.start, back + 1)
        predicted += range(window.start, last)
    assert predicted == list(range(first, size))


@given(st.lists(st.integers(1, 30), max_size=40), st.sampled_from([0, 30, 64]))
def test_rows_hold_each_window_once(sizes: list[int], capacity: int) -> None:
    windows = [
        next(_windows(item, list(range(size + 1)), 1, 30, 0)) for item, size in enumerate(sizes)
    ]
    rows = _rows(windows, capacity)
    assert sorted(window.item for row in rows for window in row) == list(range(len(sizes)))
    totals = [sum(window.inputs for window in row) for row in rows]
    assert totals == sorted(totals)
    assert all(total <= capacity or len(row) == 1 for total, row in zip(totals, rows, strict=True))
    if capacity == 64 and sizes:  # best fit decreasing: at most 11/9 of the least, and one more
        assert len(rows) <= 11 / 9 * math.ceil(sum(sizes) / 34) + 1


def test_losses_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    model, tokenizer = sharp(SHAPE), small_tokenizer()
    texts = some_texts(30, 60)
    first = document_losses(model, tokenizer, texts)
    alone = np.array([document_losses(model, tokenizer, [text]).nats[0] for text in texts])
    np.testing.assert_allclose(first.nats, alone, rtol=1e-5)
    other = document_losses(model, tokenizer, texts, batch_tokens=1)
    np.testing.assert_allclose(first.nats, other.nats, rtol=1e-5)


def test_a_transformers_model_is_evaluated_alike(tmp_path: Path) -> None:
    import json

    model, tokenizer = sharp(SHAPE), small_tokenizer()
    save_model(model, tmp_path / "model", tokenizer)
    config = tmp_path / "model" / "config.json"
    facts = json.loads(config.read_text())
    del facts["dataworth"]  # now it is any Llama
    config.write_text(json.dumps(facts))
    theirs = load_model(tmp_path / "model")
    texts = some_texts(12, 60)
    np.testing.assert_allclose(
        document_losses(theirs, tokenizer, texts).nats,
        document_losses(model, tokenizer, texts).nats,
        rtol=1e-5,
    )


def test_half_precision_is_close() -> None:
    model, tokenizer, texts = sharp(LONG), small_tokenizer(), some_texts(20)
    full = document_losses(model, tokenizer, texts).loss
    half = document_losses(model, tokenizer, texts, precision="bfloat16").loss
    assert half != full
    assert half == pytest.approx(full, rel=5e-3)


def test_options_are_scored_after_their_prompts() -> None:
    model, tokenizer = sharp(LONG), small_tokenizer()
    prompts = ["the model reads ", "what", ""]
    options = [["a document", "12", "größer"], [" follow,"], ["a", "", "東京"]]
    found = choice_log_probs(model, tokenizer, prompts, options, batch_tokens=40)
    for prompt, some, scores in zip(prompts, options, found, strict=True):
        assert scores.chars.tolist() == [len(text) for text in some]
        for text, log_prob, tokens in zip(some, scores.log_probs, scores.tokens, strict=True):
            ids = [0, *tokenizer.encode(prompt + text).ids]
            before = len(tokenizer.encode(prompt.rstrip()).ids)
            if not text:
                assert (tokens, log_prob) == (0, 0.0)
                continue
            nats = plain_nats(model, ids)
            assert tokens == len(nats) - before
            assert log_prob == pytest.approx(-nats[before:].sum(), rel=1e-5)


def test_probabilities_of_all_next_tokens_add_up_to_one() -> None:
    model, tokenizer = sharp(SHAPE), small_tokenizer()
    letters = [" " + chr(code) for code in range(97, 123)]
    single = [text for text in letters if len(tokenizer.encode(text).ids) == 1]
    scores = choice_log_probs(model, tokenizer, ["the"], [single])[0]
    ids = [0, *tokenizer.encode("the").ids]
    with torch.no_grad():
        probabilities = model(torch.tensor([ids]))[0, -1].softmax(-1)
    wanted = [float(probabilities[tokenizer.encode(text).ids[0]]) for text in single]
    np.testing.assert_allclose(np.exp(scores.log_probs), wanted, rtol=1e-4)


def test_a_prompt_too_long_for_the_context_loses_its_beginning() -> None:
    model, tokenizer = sharp(SHAPE), small_tokenizer()
    prompt, option = "the model reads a document " * 12 + "the", " document"
    ids = [0, *tokenizer.encode(prompt + option).ids]
    size = len(tokenizer.encode(option).ids)
    assert len(ids) > SHAPE.context + 1
    found = choice_log_probs(model, tokenizer, [prompt], [[option]])[0]
    wanted = plain_nats(model, ids[-SHAPE.context - 1 :])[-size:].sum()
    assert found.log_probs[0] == pytest.approx(-wanted, rel=1e-5)


def test_cloze_finds_what_greedy_decoding_gives() -> None:
    model, tokenizer = sharp(SHAPE), small_tokenizer()
    prompt = "the model"
    ids = [0, *tokenizer.encode(prompt).ids]
    written: list[int] = []
    with torch.no_grad():
        for _ in range(60):
            written.append(int(model(torch.tensor([[*ids, *written]]))[0, -1].argmax()))
            response = tokenizer.decode(written)
            again = tokenizer.encode(prompt + response).ids
            if again == [*ids[1:], *written] and len(written) >= 2:
                break
            if len(written) == 4:
                break
    kept = again == [*ids[1:], *written]
    found = cloze(model, tokenizer, [prompt, prompt], [response, " größer größer"])
    assert bool(found.exact[0]) is kept
    assert not found.exact[1]
    if kept:
        assert found.matched[0] == found.tokens[0] == len(written)
        assert found.accuracy == 0.5
    wanted = -choice_log_probs(model, tokenizer, [prompt], [[" größer größer"]])[0].log_probs[0]
    assert found.nats[1] == pytest.approx(wanted, rel=1e-6)
    assert greedy_match(model, tokenizer, [prompt], [response]).tolist() == [kept]


def test_what_cannot_be_evaluated_is_refused() -> None:
    model, tokenizer = build(SHAPE), small_tokenizer()
    with pytest.raises(ConfigError, match="no texts"):
        document_losses(model, tokenizer, [])
    with pytest.raises(ConfigError, match="2 prompts have 1"):
        choice_log_probs(model, tokenizer, ["a", "b"], [["c"]])
    with pytest.raises(ConfigError, match="2 prompts have 1"):
        cloze(model, tokenizer, ["a", "b"], ["c"])
    with pytest.raises(ConfigError, match="vocabulary"):
        document_losses(build(replace(SHAPE, vocabulary=200)), tokenizer, ["東京 the"])
    with pytest.raises(ConfigError, match="overlap"):
        document_losses(model, tokenizer, ["a"], overlap=1.0)
