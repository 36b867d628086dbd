"""Chats and pairs as the tools and collections of others write them: no word of them is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.test_chats import CALLED, read
from dataworth.corpus.fields import Fields, RowError, text_of

USER, SAID = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
HUMAN, GPT = {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}
ARGUMENTS = {"city": "Ulm", "days": 2}
CALL = {"name": "weather", "arguments": ARGUMENTS}
USED = {"name": "weather", "input": ARGUMENTS}
RETURNED = {"toolResult": {"content": [{"json": {"x": 1}}]}}


def chat(*turns: Any) -> dict[str, Any]:
    return {"messages": list(turns)}


def reply(content: Any, role: str = "assistant", **further: Any) -> dict[str, Any]:
    """The user's question, and this turn."""
    return chat(USER, {"role": role, "content": content, **further})


def parts(role: str, *held: Any) -> dict[str, Any]:
    return {"role": role, "parts": list(held)}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"items": [HUMAN, GPT]}, "qa"),
        ({"conversations": [HUMAN, {"from": "chatgpt", "value": "a"}]}, "qa"),
        (chat({"role": "USER", "content": "q"}, {"role": "Chatbot", "content": "a"}), "qa"),
        ({"thread": [{"role": "prompter", "text": "q"}, {"role": "assistant", "text": "a"}]}, "qa"),
        ({"data": ["q", "a", "r", "b"]}, "qarb"),
        ({"conversations": [["q", "a"], ["r", "b"]]}, "qarb"),
        ({"messages": [["user", "q"], ["assistant", "a"]]}, "qa"),
        ({"conversation": [{"system": "s", "input": "q", "output": "a"}]}, "sqa"),
        ({"messages": [{"human": "q", "assistant": "a"}]}, "qa"),
        ({"messages": [json.dumps(USER), json.dumps(SAID)]}, "qa"),
        ({"messages": json.dumps(json.dumps([USER, SAID]))}, "qa"),
        (chat({"type": "human", "data": {"content": "q"}}, {"type": "ai", "content": "a"}), "qa"),
        (chat({"speaker": "user", "text": "q"}, {"author": "assistant", "message": "a"}), "qa"),
        ({"contents": [parts("user", {"text": "q"}), parts("model", {"text": "a"})],
          "systemInstruction": {"parts": [{"text": "s"}]}}, "sqa"),
        (reply("", text="a"), "qa"),
        (reply(None, refusal="a"), "qa"),
        (reply([{"type": "refusal", "refusal": "a"}]), "qa"),
        (chat({"role": "user", "content": {"content_type": "text", "parts": ["q"]}}, SAID), "qa"),
        (reply({"x": 1}, role="tool"), 'q{"x":1}'),
        (reply([RETURNED], role="user"), 'q{"x":1}'),
        (reply([{"toolUse": USED}]), f"q{CALLED}"),
        (chat(USER, parts("model", {"functionCall": {"name": "weather", "args": ARGUMENTS}})),
         f"q{CALLED}"),
        (reply([{"type": "server_tool_use", **USED}]), f"q{CALLED}"),
        (chat(USER, {"type": "function_call", **CALL},
            {"type": "function_call_output", "output": "r"}), f"q{CALLED}r"),
        (reply(None, tool_calls=json.dumps([{"id": "1", "function": CALL}])), f"q{CALLED}"),
        ({"query": "q", "answers": json.dumps([CALL])}, f"q{CALLED}"),
        ({"question": "q", "context": "c", "answers": {"text": ["a", "a"], "at": [1, 2]}}, "qca"),
        ({"prompt": "q", "chosen": "a"}, "qa"),
        ({"prompt": "q", "chosen": [SAID]}, "qa"),
        ({"prompt": "q", "chosen": [USER, SAID]}, "qa"),
        ({"chosen": "\n\nHuman: q\n\nAssistant: a\n\nHuman: r"}, "qar"),
        ({"system": "s", "chat": "USER: q\n\n\nASSISTANT: a"}, "sqa"),
        ({"prompt": "q", "input": "x", "completion": "a"}, "qxa"),
        ({"prompt": "q", "context": ["x", "y"], "response": "a"}, "qxya"),
        ({"instruction": "q", "query": "x", "output": "a"}, "qxa"),
        ({"system_message": "s", "prompt": "q", "answer": "a"}, "sqa"),
        ({"problem": "q", "solution": "a"}, "qa"),
        ({"input": "q", "output": "a"}, "qa"),
        ({"inputs": "q", "targets": "a"}, "qa"),
        ({"instruction": "q", "output": None, "response": "a"}, "qa"),
        ({"messages": [], "conversations": [HUMAN, GPT]}, "qa"),
        ({"messages": None, "prompt": "q", "completion": "a"}, "qa"),
        ({"prompt": None, "completion": None, "instruction": "q", "output": "a"}, "qa"),
        ({"prompt": json.dumps([USER]), "completion": "a"}, "qa"),
        ({"history": [{"user": "h", "assistant": "i"}], "instruction": "q", "output": "a"}, "hiqa"),
    ],
)  # fmt: skip
def test_every_word_is_read(row: dict[str, Any], expected: str) -> None:
    text, spans = text_of(row, Fields(template="plain"))
    assert text.replace("\n\n", "") == expected
    assert spans is not None and {role for *_, role in spans} <= {
        *("system", "user", "assistant", "tool")
    }


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("thinking", lambda x: {"question": "q", "rationale": x, "answer": "a"}),
        ("thinking", lambda x: reply("a", reasoning_details=[{"text": x}])),
        ("thinking", lambda x: reply([{"text": x, "thought": True}, {"text": "a"}])),
        ("rejected answers", lambda x: {"prompt": "q", "chosen": "a", "rejected": x}),
        ("choices", lambda x: {"question": "q", "choices": [x], "answer": "a"}),
        ("image parts", lambda x: reply([{"image": x}, {"text": "a"}])),
        ("history as one text", lambda x: {"history": x, "prompt": "q", "completion": "a"}),
    ],
)
def test_what_is_not_read_is_told(tmp_path: Path, kind: str, given: Any) -> None:
    documents, counts = read(tmp_path, given("one"), given("two"))
    assert documents.texts() == ["q\n\na"] * 2 and len(set(documents.uid.tolist())) == 2
    assert counts == {kind: 2}


def test_a_second_system_prompt_is_told(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "s"}, USER, SAID]
    rows = [{"system": system, "messages": turns} for system in ("s", "other")]
    assert read(tmp_path, *rows)[1] == {"system prompts beside others": 1}


def test_texts_in_fields_of_no_known_name_are_told(tmp_path: Path) -> None:
    texts = ["Be as short as you can.", "Answer in one sentence, as a pirate would."]
    pair = {"prompt": "What is a pirate?", "completion": "A robber of ships at sea."}
    rows = [{"house_rules": text, "category": "open qa", **pair} for text in texts]
    again = {"text": f"### {pair['prompt']} ### {pair['completion']}", **pair}
    documents, counts = read(tmp_path, *rows, again)
    assert counts == {"texts in other fields of their rows": 2}
    assert len(set(documents.uid.tolist())) == 1  # they keep nothing apart


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ["q", "r"], "completion": "a"},
        {"prompt": "q", "completion": ["a", "b"]},
        {"conversation": "USER: q ASSISTANT: a"},
        {"messages": [USER, {"role": "assistant", "content": 3}]},
        {"messages": [{"role": "user", "content": [{"x": "q"}]}, SAID]},
    ],
)
def test_other_shapes_are_bad_rows(row: dict[str, Any]) -> None:
    with pytest.raises(RowError, match="text_not_a_string"):
        text_of(row, Fields(template="plain"))
