"""The fields of a row that are its text, id and groups, and their extraction.

Rows are decoded JSON objects or Parquet rows: dictionaries. Chats and prompt-completion pairs are
flattened by a named template, see `templates.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from dataworth.corpus.chats import beside, history_of, messages_of, pair_of
from dataworth.corpus.contents import Unread, text_in
from dataworth.corpus.shapes import held_by
from dataworth.corpus.templates import TEMPLATES, RowError, Span, Turn, flatten
from dataworth.errors import ConfigError
from dataworth.options import check
from dataworth.options.calls import Reading, Txt, same

__all__ = [
    "MISSING",
    "Fields",
    "RowError",
    "Span",
    "chat_of",
    "label_of",
    "lookup",
    "missing",
    "paths_read",
    "text_of",
]

MISSING: Final = object()
"""What `lookup` returns when a path leads nowhere; None is a value that is null."""


@dataclass(frozen=True)
class Fields:
    """The settings by which documents are read out of rows.

    `text`: dotted paths of the fields that hold the text, `"meta.body"` meaning `body` within
    `meta`; a key that itself holds the dot wins. The texts of several fields are joined with
    `join`, those of zero length left out.
    `id`, `groups`: dotted paths of the identifier and of the fields to group by.
    `template`: the name of a chat template (see `templates.py`). With the default `text` a row is
    a chat (`messages`, `conversations`, …) or a pair (`prompt` with `completion`, …), see
    `shapes.py`, with `system` and `history` beside it; else `text` names one field with the chat,
    or two: prompt and completion.
    `split_words`: cut texts into pieces of this many words, which become the documents.
    `txt`: whether a `.txt` file is a document or each of its lines is.
    `max_line_bytes`: a longer line is a bad line.

    Raises ConfigError for an unknown template, no text field, or a number that is not positive.
    """

    text: tuple[str, ...] = ("text",)
    join: str = same(Reading, "join")
    id: str | None = None
    groups: tuple[str, ...] = ()
    template: str | None = same(Reading, "template")
    split_words: int | None = same(Reading, "split_words")
    txt: Txt = same(Reading, "txt")
    max_line_bytes: int = same(Reading, "max_line_bytes")

    def __post_init__(self) -> None:
        check(self)
        if not self.text or not all(self.text):
            raise ConfigError("the text field has no name: give one, such as 'text'")
        for name in (*self.groups, *([] if self.id is None else [self.id])):
            if not isinstance(name, str) or not name:
                raise ConfigError(f"{name!r} is no name of a field to group by or of ids")
        if self.template is not None:
            if self.template not in TEMPLATES:
                known = ", ".join(TEMPLATES)
                raise ConfigError(f"unknown template {self.template!r}: one of {known}")
            if len(self.text) > 2:
                given = ", ".join(self.text)
                raise ConfigError(
                    f"with a template, give one text field (the chat) or two (prompt, completion), "
                    f"not {given}"
                )


def lookup(row: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or `MISSING`; the longest key that fits wins at each level."""
    if path in row:
        return row[path]
    cut = path.rfind(".")
    while cut > 0:
        inner = row.get(path[:cut])
        if isinstance(inner, Mapping):
            value = lookup(inner, path[cut + 1 :])
            if value is not MISSING:
                return value
        cut = path.rfind(".", 0, cut)
    return MISSING


def label_of(row: Mapping[str, Any], path: str) -> str | None:
    """The value at a path as a string (id and group columns): text as it is, null or missing as
    None, anything else as JSON."""
    value = lookup(row, path)
    if value is MISSING or value is None:
        return None
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def paths_read(fields: Fields) -> tuple[str, ...] | None:
    """The dotted paths that reading with `fields` may touch; None if that depends on the row."""
    if fields.template is not None:  # what stands beside a chat belongs to it
        return None
    extra = () if fields.id is None else (fields.id,)
    return tuple(dict.fromkeys((*fields.text, *extra, *fields.groups)))


def text_of(row: Mapping[str, Any], fields: Fields) -> tuple[str, tuple[Span, ...] | None]:
    """Return the text of a decoded row and, with a template, who says what in it.

    A span is (start, end, role), a byte range of the UTF-8 text. Raises RowError with the reason:
    missing_field, null_text, text_not_a_string or empty_text (zero length; text of white space
    only is text).
    """
    if fields.template is not None:
        return chat_of(row, fields)[:2]
    if len(fields.text) == 1:
        text = _string(row, fields.text[0])
    else:
        text = fields.join.join(filter(None, [_string(row, path) for path in fields.text]))
    if not text:
        raise RowError("empty_text", ", ".join(fields.text))
    return text, None


def chat_of(row: Mapping[str, Any], fields: Fields) -> tuple[str, tuple[Span, ...] | None, Unread]:
    """The text of a decoded row and its spans, see `text_of`, and what of a chat was not read."""
    if fields.template is None:
        return *text_of(row, fields), {}
    unread: Unread = {}
    return *flatten(_turns(row, fields, unread), fields.template), unread


def _string(row: Mapping[str, Any], path: str) -> str:
    value = lookup(row, path)
    if isinstance(value, bytes):  # of Parquet, whose writers do not always say that it is text
        return text_in(value, path)
    if isinstance(value, str):
        return value
    if value is MISSING:
        raise RowError("missing_field", missing(row, path))
    if value is None:
        raise RowError("null_text", path)
    raise RowError("text_not_a_string", f"{path} is of type {type(value).__name__}")


def missing(names: Iterable[str], path: str) -> str:
    """Return what to say of a field that is not there: its path, and the fields that are."""
    few = list(itertools.islice(names, 9))
    there = ", ".join(few[:8]) + (", …" if len(few) > 8 else "")
    return f"{path}; the row has {there}"[:300] if few else path


def _turns(row: Mapping[str, Any], fields: Fields, unread: Unread) -> list[Turn]:
    """Return the turns of a chat or a pair, with what stands beside it."""
    if fields.text != ("text",):
        own = fields.text
        values = [(path, _present(row, path)) for path in own]
    else:
        own, values = held_by(row)
    if len(values) == 1:
        path, value = values[0]
        turns = messages_of(_not_null(value, path), path, unread)
    else:
        turns = pair_of(values[0], values[1:-1], values[-1], unread)
        if "history" not in own:
            turns = history_of(row.get("history"), unread) + turns
    beside(row, turns, own, unread)
    return turns


def _present(row: Mapping[str, Any], path: str) -> Any:
    value = lookup(row, path)
    if value is MISSING:
        raise RowError("missing_field", missing(row, path))
    return value


def _not_null(value: Any, path: str) -> Any:
    if value is None:
        raise RowError("null_text", path)
    return value
