"""Chats in the shapes that people have them in, and what of them has no place in a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields

USER = {"role": "user", "content": "q"}
SAID = {"role": "assistant", "content": "a"}
ARGUMENTS = {"city": "Ulm", "days": 2}
CALLED = '{"name": "weather", "arguments": {"city":"Ulm","days":2}}'


def read(
    folder: Path, *rows: dict[str, Any], template: str = "plain", **fields: Any
) -> tuple[Documents, dict[str, int]]:
    """The documents of the rows, and how many hold what was not read."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    documents, blocks = Corpus.open(path, fields=Fields(template=template, **fields)).read_all()
    counts: dict[str, int] = {}
    for block in blocks:
        assert not block.bad
        for kind, count in block.unread.items():
            counts[kind] = counts.get(kind, 0) + count
    return documents, counts


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"system": "s", "conversations": [USER, SAID]}, "s\n\nq\n\na"),
        ({"system": "", "messages": [USER, SAID]}, "q\n\na"),
        ({"system": "s", "instruction": "q", "output": "a"}, "s\n\nq\n\na"),
        (
            {"history": [["h", "i"], ["j", "k"]], "instruction": "q", "input": "x", "output": "a"},
            "h\n\ni\n\nj\n\nk\n\nq\n\nx\n\na",
        ),
        ({"history": [], "instruction": "q", "output": "a"}, "q\n\na"),
        ({"history": None, "system": None, "instruction": "q", "output": "a"}, "q\n\na"),
        ({"history": [USER, SAID], "instruction": "r", "output": "b"}, "q\n\na\n\nr\n\nb"),
        ({"instruction": "q", "context": "c", "response": "a"}, "q\n\nc\n\na"),
        ({"instruction": "q", "context": "", "response": "a"}, "q\n\na"),
        ({"conversation": [USER, SAID]}, "q\n\na"),
        ({"question": "q", "answer": "a"}, "q\n\na"),
        ({"system_prompt": "s", "question": "q", "response": "a"}, "s\n\nq\n\na"),
        ({"messages": json.dumps([USER, SAID])}, "q\n\na"),
        ({"messages": {"role": ["user", "assistant"], "content": ["q", "a"]}}, "q\n\na"),
        ({"messages": None, "conversations": [USER, SAID]}, "q\n\na"),
        ({"messages": [{"role": "system", "content": None}, USER, SAID]}, "\n\nq\n\na"),
        ({"prompt": "q", "completion": None}, "q\n\n"),
    ],
)
def test_shapes_of_chats(tmp_path: Path, row: dict[str, Any], expected: str) -> None:
    assert read(tmp_path, row)[0].texts() == [expected]


@pytest.mark.parametrize(
    "turn",
    [
        {"tool_calls": [{"id": "1", "function": {"name": "weather", "arguments": ARGUMENTS}}]},
        {
            "content": None,
            "tool_calls": [
                {"function": {"name": "weather", "arguments": '{"days": 2, "city": "Ulm"}'}}
            ],
        },
        {"content": "", "function_call": {"name": "weather", "arguments": ARGUMENTS}},
        {"content": [{"type": "tool_use", "id": "2", "name": "weather", "input": ARGUMENTS}]},
    ],
)
def test_calls_are_what_the_assistant_says(tmp_path: Path, turn: dict[str, Any]) -> None:
    documents, counts = read(tmp_path, {"messages": [USER, {"role": "assistant", **turn}]})
    assert documents.texts() == [f"q\n\n{CALLED}"] and not counts
    assert documents.spans is not None
    assert documents.spans.end.tolist()[-1] - documents.spans.start.tolist()[-1] == len(CALLED)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("image parts", lambda x: {"messages": [{**USER, "content": [{"type": "text", "text": "q"},
            {"type": "image_url", "image_url": {"url": x}}]}, SAID]}),
        ("thinking", lambda x: {"messages": [USER, {**SAID, "reasoning_content": x}]}),
        ("further fields of turns", lambda x: {"messages": [{**USER, "name": x}, SAID]}),
        ("tools on offer", lambda x: {"messages": [USER, SAID], "tools": [{"name": x}]}),
        ("image parts", lambda x: {"messages": [USER, SAID], "images": [x]}),
    ],
)  # fmt: skip
def test_what_is_not_read_keeps_chats_apart_and_is_counted(
    tmp_path: Path, kind: str, given: Any
) -> None:
    rows = [given("one"), given("two"), given("one"), {"messages": [USER, SAID]}]
    documents, counts = read(tmp_path, *rows)
    assert documents.texts() == ["q\n\na"] * 4
    first, second, again, bare = documents.uid.tolist()
    assert first == again and len({first, second, bare}) == 3
    assert counts == {kind: 3}


def test_marks_of_a_row_or_turn_are_no_part_of_a_chat(tmp_path: Path) -> None:
    rows = [
        {"id": i, "source": f"s{i}", "messages": [{**USER, "turn_id": f"t{i}"}, SAID]}
        for i in range(2)
    ]
    documents, counts = read(tmp_path, *rows)
    assert len(set(documents.uid.tolist())) == 1 and not counts


def test_roles_keep_chats_of_equal_text_apart(tmp_path: Path) -> None:
    rows = [{"messages": [USER, {**SAID, "role": role}]} for role in ("assistant", "user")]
    documents, _ = read(tmp_path, *rows)
    assert len(set(documents.texts())) == 1 and len(set(documents.uid.tolist())) == 2


def test_parquet_and_json_lines_are_the_same_documents(tmp_path: Path) -> None:
    call = {"function": {"name": "weather", "arguments": {"days": 2, "city": "Ulm"}}}
    other = {"function": {"name": "clock", "arguments": {"zone": "UTC"}}}
    rows = [
        {"messages": [USER, {**SAID, "tool_calls": [call]}], "tools": [{"name": "weather"}]},
        {"messages": [{**USER, "name": "Ann"}, {**SAID, "tool_calls": [other]}]},
    ]
    lines, _ = read(tmp_path, *rows, text=("messages",))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    fields = Fields(template="plain", text=("messages",))
    table, _ = Corpus.open(tmp_path / "rows.parquet", fields=fields).read_all()
    assert table.texts() == lines.texts() and table.uid.tolist() == lines.uid.tolist()
