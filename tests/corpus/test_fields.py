"""Texts, labels and role spans out of decoded rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataworth.corpus.fields import MISSING, Fields, RowError, label_of, lookup, paths_read, text_of
from dataworth.corpus.templates import TEMPLATES, flatten
from dataworth.errors import ConfigError


def reason(row: dict[str, Any], fields: Fields) -> str:
    with pytest.raises(RowError) as caught:
        text_of(row, fields)
    return caught.value.reason


def test_one_field() -> None:
    assert text_of({"text": "a"}, Fields()) == ("a", None)
    assert text_of({"text": " \n"}, Fields()) == (" \n", None)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, "missing_field"),
        ({"Text": "a"}, "missing_field"),
        ({"text": None}, "null_text"),
        ({"text": ""}, "empty_text"),
        ({"text": 3}, "text_not_a_string"),
        ({"text": ["a"]}, "text_not_a_string"),
        ({"text": {"text": "a"}}, "text_not_a_string"),
    ],
)
def test_reasons(row: dict[str, Any], expected: str) -> None:
    assert reason(row, Fields()) == expected


def test_several_fields_are_joined_and_empty_ones_left_out() -> None:
    fields = Fields(text=("title", "body"), join=" | ")
    assert text_of({"title": "a", "body": "b"}, fields) == ("a | b", None)
    assert text_of({"title": "", "body": "b"}, fields) == ("b", None)
    assert reason({"title": "", "body": ""}, fields) == "empty_text"
    assert reason({"title": "a"}, fields) == "missing_field"
    assert reason({"title": "a", "body": None}, fields) == "null_text"


def test_dotted_paths_prefer_the_longest_key() -> None:
    row = {"a": {"b": {"c": 1}, "b.c": 2}, "a.b": {"c": 3}}
    assert lookup(row, "a.b.c") == 3
    assert lookup({"a": {"b": {"c": 1}, "b.c": 2}}, "a.b.c") == 2
    assert lookup({"a": {"b": {"c": 1}}, "a.b": {"d": 0}}, "a.b.c") == 1
    assert lookup({"a.b.c": 4, **row}, "a.b.c") == 4
    assert lookup({"a": None}, "a.b") is MISSING
    assert lookup({"a": "x"}, "a.b") is MISSING
    assert lookup({"a": {"b": None}}, "a.b") is None


@given(st.lists(st.text(".ab", min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_nested_value_is_always_found(keys: list[str]) -> None:
    row: Any = "leaf"
    for key in reversed(keys):
        row = {key: row}
    assert lookup(row, ".".join(keys)) == "leaf"


def test_labels() -> None:
    row = {"id": 7, "name": "x", "none": None, "list": [1], "meta": {"lang": "de"}, "yes": True}
    assert label_of(row, "id") == "7"
    assert label_of(row, "name") == "x"
    assert label_of(row, "none") is None
    assert label_of(row, "absent") is None
    assert label_of(row, "list") == "[1]"
    assert label_of(row, "meta.lang") == "de"
    assert label_of(row, "yes") == "true"


def test_paths_read() -> None:
    assert paths_read(Fields(id="id", groups=("domain", "id"))) == ("text", "id", "domain")
    assert paths_read(Fields(template="plain")) is None
    assert paths_read(Fields(text=("a", "b"), template="plain")) is None  # with what stands beside


@pytest.mark.parametrize(
    "options",
    [
        {"text": ()},
        {"text": ("",)},
        {"template": "unknown"},
        {"template": "plain", "text": ("a", "b", "c")},
        {"txt": "page"},
        {"split_words": 0},
        {"max_line_bytes": 0},
    ],
)
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Fields(**options)


CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Größe?"},
    {"role": "assistant", "content": "12 €"},
]


def spoken(row: dict[str, Any], fields: Fields) -> list[tuple[str, str]]:
    """What the spans cover, with its speaker."""
    text, spans = text_of(row, fields)
    assert spans is not None
    return [(role, text.encode()[start:end].decode()) for start, end, role in spans]


@pytest.mark.parametrize("template", TEMPLATES)
def test_spans_cover_the_contents(template: str) -> None:
    expected = [(message["role"], message["content"]) for message in CHAT]
    assert spoken({"messages": CHAT}, Fields(template=template)) == expected
    assert spoken({"chat": CHAT}, Fields(template=template, text=("chat",))) == expected


def test_templates_word_for_word() -> None:
    def text(row: dict[str, Any], template: str) -> str:
        return text_of(row, Fields(template=template))[0]

    row = {"messages": CHAT}
    assert text(row, "plain") == "Be kind.\n\nGröße?\n\n12 €"
    assert text(row, "chatml") == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nGröße?<|im_end|>\n"
        "<|im_start|>assistant\n12 €<|im_end|>\n"
    )
    assert text(row, "tulu") == "<|system|>\nBe kind.\n<|user|>\nGröße?\n<|assistant|>\n12 €\n"
    assert text(row, "alpaca") == ("Be kind.\n\n### Instruction:\nGröße?\n\n### Response:\n12 €")
    assert text({"instruction": "Add.", "input": "1 2", "output": "3"}, "alpaca") == (
        "Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n3"
    )
    assert text({"instruction": "Add.", "input": "", "output": "3"}, "alpaca") == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nAdd.\n\n### Response:\n3"
    )


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "completion": "a"},
        {"prompt": "q", "response": "a"},
        {"instruction": "q", "output": "a"},
        {"instruction": "q", "input": None, "output": "a"},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {
            "prompt": [{"role": "user", "content": "q"}],
            "completion": [{"role": "assistant", "content": "a"}],
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "q"}]},
                {"role": "assistant", "content": "a"},
            ]
        },
    ],
)
def test_all_shapes_of_a_pair(row: dict[str, Any]) -> None:
    assert spoken(row, Fields(template="tulu")) == [("user", "q"), ("assistant", "a")]
    assert text_of(row, Fields(template="plain"))[0] == "q\n\na"


def test_input_belongs_to_the_user() -> None:
    row = {"instruction": "Add.", "input": "1 2", "output": "3"}
    assert spoken(row, Fields(template="chatml")) == [("user", "Add.\n\n1 2"), ("assistant", "3")]
    assert [role for role, _ in spoken(row, Fields(template="alpaca"))] == [
        "user",
        "user",
        "assistant",
    ]


def test_named_pair() -> None:
    fields = Fields(template="plain", text=("qa.q", "qa.a"))
    assert text_of({"qa": {"q": "Q", "a": "A"}}, fields)[0] == "Q\n\nA"
    assert reason({"qa": {"q": "Q"}}, fields) == "missing_field"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, "missing_field"),
        ({"prompt": "q"}, "missing_field"),
        ({"messages": None}, "null_text"),
        ({"messages": "[hello"}, "text_not_a_string"),
        ({"messages": {"role": ["user"], "content": []}}, "text_not_a_string"),
        ({"messages": "hello"}, "text_not_a_string"),
        ({"messages": []}, "empty_text"),
        ({"messages": ["hello"]}, "text_not_a_string"),
        ({"messages": [{"content": "x"}]}, "missing_field"),
        ({"messages": [{"role": "user"}]}, "missing_field"),
        ({"messages": [{"role": "user", "content": None}]}, "empty_text"),
        ({"messages": [{"role": "user", "content": 3}]}, "text_not_a_string"),
        ({"messages": [{"role": "user", "content": ""}]}, "empty_text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "empty_text",
        ),
        ({"prompt": None, "completion": None}, "empty_text"),
        ({"prompt": "", "completion": ""}, "empty_text"),
        ({"prompt": 1, "completion": "a"}, "text_not_a_string"),
    ],
)
def test_reasons_of_chats(row: dict[str, Any], expected: str) -> None:
    assert reason(row, Fields(template="plain")) == expected


def test_a_call_of_a_tool_needs_no_content() -> None:
    messages = [
        {"role": "user", "content": "time?"},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "clock"}]},
        {"role": "tool", "content": "noon"},
    ]
    assert [r for r, _ in spoken({"messages": messages}, Fields(template="tulu"))] == [
        "user",
        "assistant",
        "tool",
    ]


turns = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant", "input", "tool"]), st.text()),
    min_size=1,
    max_size=6,
).filter(lambda turns: any(content for _, content in turns))


@given(turns, st.sampled_from(sorted(TEMPLATES)))
def test_spans_are_in_order_and_hold_all_contents(
    turns: list[tuple[str, str]], template: str
) -> None:
    text, spans = flatten(turns, template)
    data = text.encode()
    at = 0
    for start, end, _ in spans:
        assert at <= start <= end <= len(data)
        at = end
    said = b"".join(data[start:end] for start, end, _ in spans).decode()
    assert "".join(content for _, content in turns).replace("\n", "") == said.replace("\n", "")
