"""Rows as turns: what chats and pairs of prompt and completion hold, in the shapes they come in.

What has no place in a text (images, tools on offer, thinking, further fields of turns) is collected
as `Unread`: a digest of it keeps apart documents that differ in nothing else, and its kinds are
counted.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from dataworth.corpus.templates import INPUT, RowError, Turn

ROLES: Final = {
    "human": "user",
    "gpt": "assistant",
    "prompt": "user",
    "completion": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
}
"""Names of speakers that mean another; any other name stays as it is."""

Unread = dict[str, list[Any]]
"""Values that were not read, by kind, in the order of their appearance."""

THINKING: Final = "thinking"
_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking", "thoughts", "thought")
_CALLS: Final = ("tool_calls", "function_call")
_CONTENTS: Final = ("content", "value", "text")
_MEDIA: Final = ("image", "images", "video", "videos", "audio", "audios")
_TOOLS: Final = ("tools", "functions")
_MARK: Final = re.compile(  # message_id, messageId, createdAt, date; not candidate or paid
    r"(?:^|_)(?:u?u?id|identifier|timestamp|time|date|at)$|[a-z](?:I[dD]|At|Timestamp|Time|Date)$"
)
_SYSTEMS: Final = ("system", "system_prompt")


def messages_of(value: Any, path: str, unread: Unread) -> list[Turn]:
    """Return the turns of a chat: a list of {"role", "content"} (or {"from", "value"}).

    The list may be written as a JSON string, or as one object of lists. A content is a string or a
    list of parts, of which texts and tool calls are read; null is an empty turn. Calls of tools
    follow the content, one line each. Raises RowError.
    """
    value = _listed(value, path)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise RowError("text_not_a_string", f"{path} is no list of messages")
    turns = []
    for number, message in enumerate(value):
        place = f"{path}[{number}]"
        if not isinstance(message, Mapping):
            raise RowError("text_not_a_string", f"{place} is no message")
        turns.append(_turn(message, place, unread))
    return turns


def _listed(value: Any, path: str) -> Any:
    """The list behind a JSON string or an object of lists; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise RowError("text_not_a_string", f"{path} is no list of messages: {error}") from None
    if isinstance(value, Mapping):
        lists = {
            key: items
            for key, items in value.items()
            if isinstance(items, Sequence) and not isinstance(items, str)
        }
        if not lists or len({len(items) for items in lists.values()}) > 1:
            raise RowError("text_not_a_string", f"{path} holds no lists of one length")
        return [dict(zip(lists, items, strict=True)) for items in zip(*lists.values(), strict=True)]
    return value


def _turn(message: Mapping[str, Any], place: str, unread: Unread) -> Turn:
    role_key = "role" if message.get("role") is not None else "from"
    role = message.get(role_key)
    if not isinstance(role, str):
        raise RowError("missing_field", f"{place}.role")
    present = [key for key in _CONTENTS if key in message]
    key = next((key for key in present if message[key] is not None), (present or ["content"])[0])
    calls = [_calls(message.get(name)) for name in _CALLS]
    if not present and not any(calls):
        raise RowError("missing_field", f"{place}.content")
    text = _content(message.get(key), f"{place}.{key}", unread)
    for name, item in message.items():
        if name in (role_key, key, *_CALLS) or _is_mark(name, item):
            continue
        _not_read(unread, _kind(name) or "further fields of turns", [name, item])
    return ROLES.get(role, role), "\n".join(filter(None, [text, *calls]))


def _is_mark(name: str, item: Any) -> bool:
    """Tell a field that says nothing more than which turn this is, or when it was, from others."""
    return bool(_MARK.search(name)) or not isinstance(item, str | Sequence | Mapping) or not item


def _kind(name: str) -> str | None:
    if name in _THOUGHTS:
        return THINKING
    for stem in ("image", "video", "audio"):
        if name.startswith(stem) or name == f"input_{stem}":
            return f"{stem} parts"
    return "tools on offer" if name in _TOOLS else None


def _not_read(unread: Unread, kind: str, value: Any) -> None:
    unread.setdefault(kind, []).append(_plain(value))


def _content(value: Any, place: str, unread: Unread) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, Sequence):
        raise RowError("text_not_a_string", f"{place} is of type {type(value).__name__}")
    found: list[tuple[bool, str]] = []
    for number, part in enumerate(value):
        if isinstance(part, str):
            found.append((False, part))
        elif isinstance(part, Mapping):
            found.append(_part(part, f"{place}[{number}]", unread))
        else:
            raise RowError("text_not_a_string", f"{place}[{number}] is no text")
    text = "".join(said for call, said in found if not call)
    return "\n".join(filter(None, [text, *(said for call, said in found if call)]))


def _part(part: Mapping[str, Any], place: str, unread: Unread) -> tuple[bool, str]:
    """Tell if a part of a content is a call of a tool, with its text."""
    kind = part.get("type")
    text = part.get("text")
    if isinstance(text, str):
        return False, text
    if kind in ("tool_use", "tool_call", "function_call"):
        return True, _call(part)
    if kind == "tool_result":
        return False, _content(part.get("content"), f"{place}.content", unread)
    if not isinstance(kind, str) or kind == "text":
        raise RowError("text_not_a_string", f"{place} is no text")
    _not_read(unread, _kind(kind) or f"{kind} parts", part)
    return False, ""


def _calls(value: Any) -> str:
    """Calls of tools as text, one line each; none is the empty text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        value = [value]
    return "\n".join(_call(call) for call in value or () if call)


def _call(call: Any) -> str:
    if not isinstance(call, Mapping):
        return call if isinstance(call, str) else _json(call)
    inner = call.get("function")
    inner = inner if isinstance(inner, Mapping) else call
    name = inner.get("name") or inner.get("function")
    given = [inner[key] for key in ("arguments", "input", "parameters") if inner.get(key)]
    if name is None:
        return _json({key: item for key, item in call.items() if not str(key).endswith("id")})
    arguments = given[0] if given else {}
    if isinstance(arguments, str):
        with contextlib.suppress(orjson.JSONDecodeError):
            arguments = orjson.loads(arguments)
    return f'{{"name": {_json(name)}, "arguments": {_json(arguments)}}}'


def _plain(value: Any) -> Any:
    """A value without what is null in its objects, as files of fixed columns leave it."""
    if isinstance(value, Mapping):
        return {str(k): _plain(item) for k, item in value.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value


def _json(value: Any) -> str:
    return orjson.dumps(_plain(value), default=str, option=orjson.OPT_SORT_KEYS).decode()


def pair_of(
    prompt: tuple[str, Any],
    further: Sequence[tuple[str, Any]],
    completion: tuple[str, Any],
    unread: Unread,
) -> list[Turn]:
    """Return the turns of a prompt and its completion, each given with its path.

    All may be strings or lists of messages; null is an empty turn. Raises RowError.
    """
    turns: list[Turn] = []
    parts = [("user", prompt), *((INPUT, part) for part in further), ("assistant", completion)]
    for role, (path, value) in parts:
        if isinstance(value, Sequence) and not isinstance(value, str) and role != INPUT:
            turns += messages_of(value, path, unread)
        elif role != INPUT or value not in ("", None):
            turns.append((role, _content(value, path, unread)))
    return turns


def beside(row: Mapping[str, Any], turns: list[Turn], own: Sequence[str], unread: Unread) -> None:
    """Add what stands beside a chat: its system turn is read; tools and media are not.

    `own`: fields that are the chat itself. Raises RowError.
    """
    if not any(role == "system" for role, _ in turns):
        for name in _SYSTEMS:
            value = row.get(name)
            if name not in own and value is not None and value != "":
                turns.insert(0, ("system", _content(value, name, unread)))
                break
    for name in (*_TOOLS, *_MEDIA):
        value = row.get(name)
        if name not in own and isinstance(value, str | bytes | Sequence | Mapping) and value:
            _not_read(unread, _kind(name) or name, [name, value])


def history_of(value: Any, unread: Unread) -> list[Turn]:
    """Return the turns of earlier rounds: pairs of what user and assistant said, or messages."""
    value = _listed(value, "history") if isinstance(value, str) and value else value
    turns: list[Turn] = []
    for number, pair in enumerate(value or ()):
        place = f"history[{number}]"
        if isinstance(pair, Mapping):
            turns += messages_of([pair], place, unread)
        elif isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2:
            said = zip(("user", "assistant"), pair, strict=True)
            turns += [(role, _content(item, place, unread)) for role, item in said]
        else:
            raise RowError("text_not_a_string", f"{place} is no pair of turns")
    return turns


def mark_of(spans: Sequence[tuple[int, int, str]], unread: Unread) -> bytes:
    """Return what tells a chat from another one of equal text: who says what, what was not read."""
    return orjson.dumps(
        [spans, unread], default=_digestible, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    )


def _digestible(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)
