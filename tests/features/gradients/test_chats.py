"""Chats are read by the model's own chat template, as it was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import AddedToken
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import dataworth
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.features.gradients.language import Reader
from dataworth.features.gradients.reading import Reading
from dataworth.lm.tokenizer import save_tokenizer, train_tokenizer

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n\n{{ m.content | trim }}"
    "<|im_end|>{% endfor %}"
)
BARE = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}"
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn\\nhere') }}{% endif %}"
) + CHATML
FORGETS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}"
    "<|im_end|>\n{% endfor %}"
)
DATED = "{{ strftime_now('%d %b %Y %S') }}" + CHATML
SPECIAL = ("<s>", "<|im_start|>", "<|im_end|>")


def folder_of(place: Path, template: str | None, adds: bool = False) -> Path:
    tokenizer = train_tokenizer(["What is 2 and 3? It is five. user assistant"] * 3, 300)
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    torch.manual_seed(0)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )
    LlamaForCausalLM(config).save_pretrained(place)
    save_tokenizer(tokenizer, place)
    facts = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|endoftext|>",
        "bos_token": "<s>",
        "add_bos_token": adds,
    }
    (place / "tokenizer_config.json").write_text(json.dumps(facts))
    if template is not None:
        (place / "chat_template.jinja").write_text(template)
    return place


def chats(place: Path, *rows: list[tuple[str, str]]) -> Documents:
    path = place / "chats.jsonl"
    lines = [
        json.dumps({"messages": [{"role": role, "content": said} for role, said in row]})
        for row in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return Corpus.open(path, fields=Fields(template="plain")).read_all()[0]


def pairs(read: Any, tokenizer: Any) -> tuple[str, str]:
    """All of what is read, and what of it counts, as text."""
    counted = [number for number, said in zip(read.ids, read.said, strict=True) if said]
    decode = {"skip_special_tokens": False}
    return tokenizer.decode(read.ids, **decode), tokenizer.decode(counted, **decode)


ROW = [("system", "Be short."), ("user", "What is 2 and 3?"), ("assistant", " It is five. ")]


@pytest.mark.parametrize(
    ("template", "adds", "counted"),
    [
        (CHATML, False, " It is five. <|im_end|>"),
        (CHATML, True, " It is five. <|im_end|>"),
        (LLAMA, True, "It is five.<|im_end|>"),
        (DATED, False, " It is five. <|im_end|>"),
        (BARE, False, " It is five. <|endoftext|>"),
    ],
)
def test_ids_are_those_of_the_template(
    tmp_path: Path, template: str, adds: bool, counted: str
) -> None:
    folder = folder_of(tmp_path, template, adds)
    (read,) = Reader(str(folder)).read(chats(tmp_path, ROW))
    theirs = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), bos_token="<s>", eos_token="<|endoftext|>"
    )
    if template is not DATED:  # another day, other ids
        messages = [{"role": role, "content": said} for role, said in ROW]
        ids = theirs.apply_chat_template(messages, chat_template=template, return_dict=False)
        start = theirs.bos_token_id
        ids = ids if not adds or ids[0] == start else [start, *ids]
        assert read.ids == ids + ([theirs.eos_token_id] if template is BARE else [])
    assert read.ids.count(theirs.bos_token_id) == int(adds)
    assert pairs(read, theirs)[1] == counted
    again = Reader(str(folder)).read(chats(tmp_path, ROW))[0]
    assert again.ids == read.ids


def test_names_of_special_tokens_in_what_is_said_are_characters(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, CHATML)
    reader = Reader(str(folder))
    row = [("user", "say <|im_end|>"), ("assistant", "<|im_end|> and <s>")]
    (read,) = reader.read(chats(tmp_path, row))
    names = [read.ids.count(reader.tokenizer.token_to_id(name)) for name in SPECIAL]
    assert names == [0, 2, 2]
    assert pairs(read, reader.tokenizer)[1] == "<|im_end|> and <s><|im_end|>"


def test_what_the_template_leaves_out_or_refuses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thinks = [("user", "What is 2 and 3?"), ("assistant", "<think>add</think>It is five.")]
    for template, row in ((FORGETS, thinks), (NO_SYSTEM, ROW)):
        place = tmp_path / str(len(template))
        place.mkdir()
        reader = Reader(str(folder_of(place, template)))
        documents = chats(place, row, ROW[1:])
        caplog.clear()
        first, second = reader.read(documents)
        assert first.text == documents.text(0)  # by the documents' template
        assert second.text.startswith("<|im_start|>user\n")
        (line,) = [one.getMessage() for one in caplog.records]
        assert "chat template refuses" in line
        assert "\n" not in line


def test_a_chat_without_words_of_the_assistant_has_no_score(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, CHATML)
    chats(tmp_path, ROW, ROW[:2], [ROW[1], ("assistant", "")], ROW[1:])
    found = dataworth.attribute(
        folder, tmp_path / "chats.jsonl", ["five"], solver="identity", template="plain"
    )
    assert found.tokens.tolist()[1:3] == [0, 0]
    assert "2 of 4 chats have no words of the assistant: no score." in found.facts["notes"]
    shown = found.queries[0]["helpful"] + found.queries[0]["harmful"]
    for document in shown:  # token by token, what the model read; the parts are the score
        assert "".join(text for text, _ in document["pieces"]).startswith("<|im_start|>")
        parts = document.get("start", 0.0) + sum(value for _, value in document["pieces"])
        assert parts == pytest.approx(document["score"], rel=1e-2)


def test_text_is_kept_where_it_is_asked_for_or_there_is_no_template(tmp_path: Path) -> None:
    documents = chats(tmp_path, ROW)
    folder = folder_of(tmp_path, CHATML)
    by_model, by_text = (
        Reader(str(folder), Reading(chats=way)).items(documents) for way in ("model", "text")
    )
    assert by_model.items[0][0] != by_text.items[0][0]
    (folder / "chat_template.jinja").unlink()
    without = Reader(str(folder)).items(documents)
    assert without.items[0][0] == by_text.items[0][0]
    assert np.array_equal(without.items[0][1], by_text.items[0][1])
