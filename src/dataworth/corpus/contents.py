"""Contents of turns as text: strings, lists of parts, calls of tools."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from dataworth.corpus.templates import RowError

Unread = dict[str, list[Any]]
"""Values that were not read, by kind, in the order of their appearance."""

THINKING: Final = "thinking"
THOUGHTS: Final = (
    *("reasoning_content", "reasoning", "thinking", "thoughts", "thought", "rationale", "cot"),
    *("chain_of_thought", "thinking_trajectories", "reasoning_details"),
)
_THOUGHT: Final = ("reasoning", "thinking", "redacted_thinking")
_CALLS: Final = ("tooluse", "toolcall", "functioncall")
_RESULTS: Final = ("toolresult", "functionresponse", "functioncalloutput")
_FILES: Final = ("data", "file", "document")
_RESULT_KEYS: Final = ("content", "output", "response", "result")


def not_read(unread: Unread, kind: str, value: Any) -> None:
    """Collect a value that has no place in the text."""
    unread.setdefault(kind, []).append(plain(value))


def kind_of(name: str) -> str | None:
    """Return what a field or part of this name is called among what was not read."""
    if name in THOUGHTS or name.startswith(_THOUGHT):
        return THINKING
    for stem in ("image", "video", "audio"):
        if name.startswith(stem) or name == f"input_{stem}":
            return f"{stem} parts"
    return "tools on offer" if name in ("tools", "functions") else None


def content_of(value: Any, place: str, unread: Unread) -> str:
    """Return the text of a content: a string, a part, or a list of parts; null is empty.

    Raises RowError.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bytes):
        return text_in(value, place)
    if isinstance(value, Mapping):
        parts = value.get("parts")
        value = parts if isinstance(parts, Sequence) and not isinstance(parts, str) else [value]
    if not isinstance(value, Sequence):
        raise RowError("text_not_a_string", f"{place} is of type {type(value).__name__}")
    pieces: list[tuple[bool, str]] = []
    for number, part in enumerate(value):
        if isinstance(part, str):
            pieces.append((False, part))
        elif isinstance(part, Mapping):
            pieces.append(_part(part, f"{place}[{number}]", unread))
        else:
            raise RowError("text_not_a_string", f"{place}[{number}] is no text")
    text = "".join(said for call, said in pieces if not call)
    return "\n".join(filter(None, [text, *(said for call, said in pieces if call)]))


def text_in(value: bytes, place: str) -> str:
    """Return bytes as text, of Parquet, whose writers do not always say so. Raises RowError."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError("invalid_utf8", place) from error


def _part(part: Mapping[str, Any], place: str, unread: Unread) -> tuple[bool, str]:
    """Tell if a part of a content is a call of a tool, with its text."""
    text = part.get("text")
    text = text_in(text, f"{place}.text") if isinstance(text, bytes) else text
    if isinstance(text, str):
        if part.get("thought") is not True:
            return False, text
        not_read(unread, THINKING, part)
        return False, ""
    kind, inner = part.get("type"), part
    by_key = kind is None  # {"toolUse": {…}}, {"image": …}
    if by_key:
        named = [key for key, item in part.items() if item is not None]
        kind = named[0] if len(named) == 1 else None
        inner = part[kind] if kind and isinstance(part[kind], Mapping) else part
    if not isinstance(kind, str) or kind == "text":
        raise RowError("text_not_a_string", f"{place} is no text")
    name = kind.lower().replace("_", "")
    if name.endswith(_CALLS):
        return True, _call(inner)
    if name.endswith(_RESULTS):
        return False, result_of(inner, place, unread)
    if name == "json":
        return False, _json(part.get(kind))
    if name == "refusal" and isinstance(part.get("refusal"), str):
        return False, part["refusal"]
    source = part.get("source")
    if name == "document" and isinstance(source, Mapping) and source.get("type") == "text":
        return False, content_of(source.get("data"), f"{place}.source", unread)
    if by_key and kind_of(kind) is None and not name.endswith(_FILES):
        raise RowError("text_not_a_string", f"{place} is no text")
    not_read(unread, kind_of(kind) or f"{kind} parts", part)
    return False, ""


def result_of(result: Mapping[str, Any], place: str, unread: Unread) -> str:
    """Return what a tool answered: a text, or an object as JSON. Raises RowError."""
    value = next((result[key] for key in _RESULT_KEYS if result.get(key) is not None), None)
    if isinstance(value, Mapping) and not {"text", "type", "parts"} & set(value):
        return _json(value)
    return content_of(value, place, unread)


def calls_of(value: Any) -> str:
    """Return calls of tools as text, one line each; none is the empty text."""
    if isinstance(value, str):
        held = None
        if value.lstrip()[:1] in ("[", "{"):
            with contextlib.suppress(orjson.JSONDecodeError):
                held = orjson.loads(value)
        if held is None:
            return value
        value = held
    if isinstance(value, Mapping):
        value = [value]
    return "\n".join(_call(call) for call in value or () if call)


def _call(call: Any) -> str:
    if not isinstance(call, Mapping):
        return call if isinstance(call, str) else _json(call)
    inner = call.get("function")
    inner = inner if isinstance(inner, Mapping) else call
    name = inner.get("name") or inner.get("function")
    given = [inner[key] for key in ("arguments", "input", "parameters", "args") if inner.get(key)]
    if name is None:
        return _json({key: item for key, item in call.items() if not str(key).endswith("id")})
    arguments = given[0] if given else {}
    if isinstance(arguments, str):
        with contextlib.suppress(orjson.JSONDecodeError):
            arguments = orjson.loads(arguments)
    return f'{{"name": {_json(name)}, "arguments": {_json(arguments)}}}'


def plain(value: Any) -> Any:
    """Return a value without what is null in its objects, as files of fixed columns leave it."""
    if isinstance(value, Mapping):
        return {str(k): plain(item) for k, item in value.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value


def _json(value: Any) -> str:
    return orjson.dumps(plain(value), default=str, option=orjson.OPT_SORT_KEYS).decode()
