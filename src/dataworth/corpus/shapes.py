"""The shapes of rows that hold a chat, or a prompt and its answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from dataworth.corpus.templates import RowError

CHATS: Final = ("messages", "conversations", "conversation")
"""Fields that hold a chat, tried in this order."""

PAIRS: Final = (
    ("prompt", ("input", "context", "query"), ("completion", "response")),
    ("instruction", ("input", "context", "query"), ("output", "response")),
    ("question", ("input", "context"), ("answer", "response")),
)
"""Fields that hold a prompt, its further inputs and the answer, tried in this order."""

OTHER_CHATS: Final = (
    *("dialog", "dialogue", "turns", "chat", "chats", "contents", "items", "thread", "data"),
    *("chosen", "transcript"),
)
"""Further fields that hold a chat where their value is one, tried after those above."""

_PROMPTS: Final = ("prompt", "instruction", "question", "query", "problem", "inputs", "input")
_ANSWERS: Final = (
    *("completion", "response", "output", "solution", "answer", "chosen", "targets", "answers"),
)
_FURTHER: Final = ("input", "context", "query")
_OTHER_PAIRS: Final = tuple(
    (prompt, tuple(name for name in _FURTHER if name != prompt), _ANSWERS) for prompt in _PROMPTS
)

Held = tuple[tuple[str, ...], list[tuple[str, Any]]]
"""The fields that are a chat or a pair themselves, and their values with their paths."""


def may_be_chat(names: Collection[str]) -> bool:
    """Tell if rows with fields of these names can be chats or pairs by their usual names."""
    pairs = any(prompt in names and set(names) & set(answers) for prompt, _, answers in PAIRS)
    return pairs or any(chat in names for chat in CHATS)


def held_by(row: Mapping[str, Any]) -> Held:
    """Return the fields that hold the chat or the pair of a row. Raises RowError.

    Where several may, the first that is filled: files of fixed columns leave others empty.
    """
    first: Held | None = None
    for held in _candidates(row):
        if any(_is_filled(value) for _, value in held[1]):
            return held
        first = first or held
    if first is None:
        there = ", ".join(list(row)[:8])
        raise RowError("missing_field", f"messages, or prompt and completion; the row has {there}")
    return first


def _candidates(row: Mapping[str, Any]) -> Iterator[Held]:
    yield from (((name,), [(name, row[name])]) for name in CHATS if name in row)
    yield from _pairs(row, PAIRS)
    for name in OTHER_CHATS:
        if _is_chat(row.get(name)):
            yield (name,), [(name, row[name])]
    for held in _pairs(row, _OTHER_PAIRS):
        if _is_filled(held[1][-1][1]):
            yield held


def _pairs(
    row: Mapping[str, Any],
    pairs: Sequence[tuple[str, tuple[str, ...], tuple[str, ...]]],
) -> Iterator[Held]:
    for prompt, further, answers in pairs:
        there = [name for name in answers if name in row]
        if prompt not in row or not there:
            continue
        answer = next((name for name in there if _is_filled(row[name])), there[0])
        inputs = [name for name in further if isinstance(row.get(name), str | list)]
        own = (prompt, *inputs, answer)
        yield own, [(name, row[name]) for name in own]


def _is_filled(value: Any) -> bool:
    return value is not None and not (isinstance(value, str | Sequence | Mapping) and not value)


def _is_chat(value: Any) -> bool:
    """Tell if a value is a list of turns that begins with the user's, or a transcript."""
    if isinstance(value, str):
        return is_transcript(value) or value.lstrip()[:2] in ("[{", '{"')
    if isinstance(value, Mapping):
        lists = [item for item in value.values() if isinstance(item, list)]
        return len(lists) > 1 and len({len(item) for item in lists}) == 1
    if not isinstance(value, Sequence) or not value:
        return False
    if isinstance(value[0], Mapping):
        # An answer alone is the completion of a prompt that stands in a field of its own.
        role = value[0].get("role", value[0].get("from"))
        return role not in ("assistant", "gpt")
    return len(value) > 1 and all(isinstance(item, str) for item in value)


def is_transcript(text: str) -> bool:
    """Tell if a text is a chat written out by lines that begin with the speaker's name."""
    head = text.lstrip()
    return head.startswith(("Human: ", "USER: ", "SYSTEM: ", "Human:\n"))
