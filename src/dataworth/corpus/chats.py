"""Rows as turns: what chats and pairs of prompt and completion hold, in the shapes they come in.

What has no place in a text (images, tools on offer, thinking, further fields of turns) is collected
as `Unread`: a digest of it keeps apart documents that differ in nothing else, and its kinds are
counted.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from dataworth.corpus.contents import (
    THOUGHTS,
    Unread,
    calls_of,
    content_of,
    kind_of,
    not_read,
    result_of,
    text_in,
)
from dataworth.corpus.shapes import is_transcript
from dataworth.corpus.templates import INPUT, RowError, Turn

ROLES: Final = {
    **{role: role for role in ("system", "developer", "user", "assistant", "tool", "function")},
    **dict.fromkeys(("human", "prompt", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "completion", "bot", "chatbot", "model"), "assistant"),
    **dict.fromkeys(("ai", "bing", "bard", "claude", "function_call", "tool_call"), "assistant"),
    **dict.fromkeys(("observation", "function response"), "tool"),
}
"""Names of speakers that mean another, in lower case; any other name stays as it is."""

OTHER_FIELDS: Final = "texts in other fields of their rows"
"""Texts beside a chat that are no part of it: they are counted, and keep nothing apart."""

_ROLE_KEYS: Final = ("role", "from", "speaker", "author", "sender")
_CALLS: Final = ("tool_calls", "function_call")
_CONTENTS: Final = ("content", "value", "text", "message", "utterance", "parts")
_MEDIA: Final = ("image", "images", "video", "videos", "audio", "audios")
_TOOLS: Final = ("tools", "functions")
_REJECTED: Final = ("rejected", "rejected_response")
_MARK: Final = re.compile(  # message_id, messageId, createdAt, date; not candidate or paid
    r"(?:^|_)(?:u?u?id|identifier|timestamp|time|date|at)$|[a-z](?:I[dD]|At|Timestamp|Time|Date)$"
    r"|^(?:content_)?type$"
)
_PROSE: Final = 20  # characters, below which a text is a name or the like
_SYSTEMS: Final = (
    *("system", "system_prompt", "system_message", "system_instruction", "systemInstruction"),
)
_ROUNDS: Final = (
    *(("human", "assistant"), ("user", "assistant"), ("input", "output"), ("prompt", "response")),
    *(("question", "answer"), ("instruction", "output")),
)
_SPEAKERS: Final = re.compile(
    r"(?:^|\n)\s*(Human|Assistant|USER|ASSISTANT|SYSTEM|FUNCTION RESPONSE):(?: |(?=\n)|$)"
)


def messages_of(value: Any, path: str, unread: Unread) -> list[Turn]:
    """Return the turns of a chat: a list of {"role", "content"} (or {"from", "value"}).

    The list may be written as a JSON string, as one object of lists, as strings or pairs of strings
    by turns of user and assistant, or as one text by lines that begin with the speaker's name. A
    content is a string or a list of parts, of which texts and tool calls are read; null is an empty
    turn. Calls of tools follow the content, one line each. Raises RowError.
    """
    value = text_in(value, path) if isinstance(value, bytes) else value
    if isinstance(value, str) and is_transcript(value):
        return _transcript(value, path)
    value = _listed(value, path)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise RowError("text_not_a_string", f"{path} is no list of messages")
    turns: list[Turn] = []
    for number, message in enumerate(value):
        path_of_message = f"{path}[{number}]"
        if isinstance(message, str):
            message = _parsed(message)
        if isinstance(message, Mapping):
            turns += _turns(message, path_of_message, unread)
        elif _is_pair(message):
            known = message[0].lower() in ROLES
            turns += [(role_of(message[0]), message[1])] if known else _alternating(message)
        elif isinstance(message, str) and len(value) > 1:
            turns += _alternating([message], number)
        else:
            raise RowError("text_not_a_string", f"{path_of_message} is no message")
    return turns


def role_of(name: str) -> str:
    """Return the role that a speaker's name means."""
    return ROLES.get(name.strip().lower(), name)


def _alternating(texts: Sequence[str], first: int = 0) -> list[Turn]:
    roles = ("user", "assistant")
    return [(roles[number % 2], text) for number, text in enumerate(texts, first)]


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(item, str) for item in value)
    )


def _transcript(text: str, path: str) -> list[Turn]:
    pieces = _SPEAKERS.split(text)
    if len(pieces) < 4:
        raise RowError(
            "text_not_a_string", f"{path} is one text and not parted into turns by lines"
        )
    turns = zip(pieces[1::2], pieces[2::2], strict=True)
    return [(role_of(role), said.strip()) for role, said in turns]


def _parsed(text: str) -> Any:
    """Return the list or object that a JSON string holds; any other string as it is."""
    if text.lstrip()[:1] in ("[", "{"):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    return text


def _listed(value: Any, path: str) -> Any:
    """Return the list behind a JSON string or an object of lists; anything else as it is."""
    while isinstance(value, str) and value.lstrip()[:1] in ("[", "{", '"'):
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


def _turns(message: Mapping[str, Any], place: str, unread: Unread) -> list[Turn]:
    """Return the turns of a message: one, or those of a round such as {"human", "assistant"}."""
    if not any(message.get(name) is not None for name in _ROLE_KEYS):
        kind = message.get("type")
        if kind == "reasoning":  # items of OpenAI's responses have no role
            not_read(unread, kind_of("reasoning") or "", message)
            return []
        if kind == "function_call":
            return [("assistant", calls_of(message))]
        if kind == "function_call_output":
            return [("tool", content_of(message.get("output"), f"{place}.output", unread))]
        if isinstance(kind, str) and kind.lower() in ROLES:
            held = message.get("data")
            held = held if isinstance(held, Mapping) else message
            return [_turn({**held, "role": kind}, place, unread)]
        rounds = next((pair for pair in _ROUNDS if all(name in message for name in pair)), None)
        if rounds:
            said = zip(("user", "assistant"), rounds, strict=True)
            system = content_of(message.get("system"), f"{place}.system", unread)
            first = [("system", system)] if system else []
            return first + [
                (role, content_of(message[name], f"{place}.{name}", unread)) for role, name in said
            ]
    return [_turn(message, place, unread)]


def _turn(message: Mapping[str, Any], place: str, unread: Unread) -> Turn:
    role_key = next((name for name in _ROLE_KEYS if message.get(name) is not None), "role")
    role = message.get(role_key)
    role = role.get("role") if isinstance(role, Mapping) else role
    role = text_in(role, f"{place}.{role_key}") if isinstance(role, bytes) else role
    if not isinstance(role, str):
        raise RowError("missing_field", f"{place}.role")
    present = [key for key in _CONTENTS if key in message]
    key = next(
        (key for test in (bool, _is_there) for key in present if test(message[key])),
        (present or ["content"])[0],
    )
    further = [calls_of(message.get(name)) for name in _CALLS]
    if isinstance(message.get("refusal"), str):
        further.append(message["refusal"])
    if not present and not any(further):
        raise RowError("missing_field", f"{place}.content")
    if role_of(role) == "tool":
        text = result_of({"content": message.get(key)}, f"{place}.{key}", unread)
    else:
        text = content_of(message.get(key), f"{place}.{key}", unread)
    for name, item in message.items():
        if name in (role_key, key, *_CALLS, "refusal") or _is_mark(name, item):
            continue
        not_read(unread, kind_of(name) or "further fields of turns", [name, item])
    return role_of(role), "\n".join(filter(None, [text, *further]))


def _is_there(value: Any) -> bool:
    return value is not None


def _is_mark(name: str, item: Any) -> bool:
    """Tell a field that says nothing more than which turn this is, or when it was, from others."""
    return bool(_MARK.search(name)) or not isinstance(item, str | Sequence | Mapping) or not item


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
        if isinstance(value, str) and value.startswith('[{"'):
            value = _parsed(value)
        if path == "answers":
            turns.append((role, _answers(value, path, unread)))
        elif role == INPUT:
            if _is_list_of(str, value):
                value = "\n\n".join(value)
            if value not in ("", None):
                turns.append((role, content_of(value, path, unread)))
        elif isinstance(value, Mapping) and ("role" in value or "from" in value):
            turns += messages_of([value], path, unread)
        elif _is_list_of(Mapping, value):
            turns += messages_of(value, path, unread)
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            raise RowError("text_not_a_string", f"{path} is neither text nor a list of messages")
        else:
            turns.append((role, content_of(value, path, unread)))
    return turns


def _is_list_of(kind: Any, value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(item, kind) for item in value)
    )


def _answers(value: Any, path: str, unread: Unread) -> str:
    """Return several answers, or the calls of tools that are the answer, one a line."""
    value = _parsed(value) if isinstance(value, str) else value
    value = value["text"] if isinstance(value, Mapping) and "text" in value else value
    if _is_list_of(Mapping, value):
        return calls_of(value)
    if _is_list_of(str, value):
        return "\n".join(dict.fromkeys(value))
    return content_of(value, path, unread)


def beside(row: Mapping[str, Any], turns: list[Turn], own: Sequence[str], unread: Unread) -> None:
    """Add what stands beside a chat: its system turn is read; tools, media and the like are not.

    `own`: fields that are the chat itself. Raises RowError.
    """
    texts = {content for _, content in turns}
    has_system = any(role == "system" for role, _ in turns)
    for name in _SYSTEMS:
        value = row.get(name)
        if name in own or value is None or value == "":
            continue
        text = content_of(value, name, unread)
        if not has_system:
            turns.insert(0, ("system", text))
            has_system = True
        elif text not in texts:
            not_read(unread, "system prompts beside others", [name, value])
        texts.add(text)
    read = {*own, *_SYSTEMS, "history"}
    others: list[str] = []
    for name, value in row.items():
        if name in read or not isinstance(value, str | bytes | Sequence | Mapping) or not value:
            continue
        if name in (*_TOOLS, *_MEDIA, *THOUGHTS):
            not_read(unread, kind_of(name) or name, [name, value])
        elif name in _REJECTED:
            not_read(unread, "rejected answers", [name, value])
        elif name in ("choices", "options"):
            not_read(unread, "choices", [name, value])
        elif not _MARK.search(name):
            others.extend(_prose(value))
    if any(not _is_told(text, texts) for text in others):
        unread[OTHER_FIELDS] = []


def _prose(value: Any) -> Iterator[str]:
    """Return the texts of a value that are more than names, numbers and the like."""
    if isinstance(value, str):
        if len(value) >= _PROSE and (value.count(" ") >= 3 or not value.isascii()):
            yield value
    elif isinstance(value, Mapping | Sequence) and not isinstance(value, bytes):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _prose(item)


def _is_told(text: str, said: set[str]) -> bool:
    """Tell if a text says again what a turn says, or holds it."""
    return any(text in content or (len(content) >= _PROSE and content in text) for content in said)


def history_of(value: Any, unread: Unread) -> list[Turn]:
    """Return the turns of earlier rounds: pairs of what user and assistant said, or messages."""
    value = _parsed(value) if isinstance(value, str) else value
    if isinstance(value, str) and value:
        not_read(unread, "history as one text", value)
        return []
    turns: list[Turn] = []
    for number, pair in enumerate(value or ()):
        path_of_turns = f"history[{number}]"
        if isinstance(pair, Mapping):
            turns += messages_of([pair], path_of_turns, unread)
        elif isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2:
            said = zip(("user", "assistant"), pair, strict=True)
            turns += [(role, content_of(item, path_of_turns, unread)) for role, item in said]
        else:
            raise RowError("text_not_a_string", f"{path_of_turns} is no pair of turns")
    return turns


def mark_of(spans: Sequence[tuple[int, int, str]], unread: Unread) -> bytes:
    """Return what tells a chat from another one of equal text: who says what, what was not read."""
    held = {kind: items for kind, items in unread.items() if kind != OTHER_FIELDS}
    return orjson.dumps(
        [spans, held], default=_digestible, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    )


def _digestible(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)
