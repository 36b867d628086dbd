"""JSON lines read one at a time: what a line is, is decided here.

The fast reader (`jsonl`) may finish only lines about which it would say the same; all others it
hands over. Lines end at line feeds; a carriage return before one is white space, and so belongs to
the line end.
"""

from __future__ import annotations

from typing import Any

import orjson

from dataworth.corpus.contents import Unread
from dataworth.corpus.fields import Fields, RowError, Span, chat_of
from dataworth.corpus.read.rows import SAMPLE_BYTES, BadLine, Rows, RowsBuilder, labels_of

_WHITE = b" \t\r"
Row = tuple[bytes, list[str | None], tuple[Span, ...] | None, Unread]
"""Text, labels, role spans, and what of a chat was not read."""


def decode(line: bytes) -> dict[str, Any]:
    """Return the object on a line. Of a key that occurs twice the last value counts.

    Raises RowError: invalid_json, two_objects, not_an_object, invalid_utf8, lone_surrogate or
    nested_too_deep.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _row_error(line, error) from None
    if not isinstance(value, dict):
        raise RowError("not_an_object", f"the line holds a {type(value).__name__}, no object")
    return value


def _row_error(line: bytes, error: orjson.JSONDecodeError) -> RowError:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as wrong:
        byte = line[wrong.start]
        return RowError("invalid_utf8", f"byte {wrong.start + 1} (0x{byte:02x}) is not UTF-8")
    detail = f"{error.msg} (column {error.pos + 1})"
    if text.startswith("\ufeff"):
        detail = "the line begins with a byte order mark, as where files were joined: remove it"
    if "surrogate" in error.msg:
        return RowError("lone_surrogate", detail)
    if "depth" in error.msg or "recursion" in error.msg:
        return RowError("nested_too_deep", detail)
    if text[error.pos :].startswith("{") and _is_object(text[: error.pos]):
        return RowError("two_objects", f"a second object begins at column {error.pos + 1}")
    return RowError("invalid_json", detail)


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def read_line(line: bytes, fields: Fields, paths: dict[str, str]) -> Row:
    """Text, labels, role spans of a line, and what of it was not read.

    Raises RowError with the reason if it has no text.
    """
    if len(line) > fields.max_line_bytes:
        raise RowError("line_too_long", too_long(len(line), fields))
    row = decode(line)
    text, spans, unread = chat_of(row, fields)
    return text.encode("utf-8"), labels_of(row, paths), spans, unread


def too_long(size: int, fields: Fields) -> str:
    """Return the message that a line, or file, of `size` bytes is too long."""
    return f"{size:,} bytes, at most {fields.max_line_bytes:,} are read (max_line_bytes)"


def strip_end(line: bytes) -> bytes:
    """Return a line without the carriage return of its line end."""
    return line[:-1] if line.endswith(b"\r") else line


def is_blank(line: bytes) -> bool:
    """Tell if a line is only white space, by JSON's definition."""
    return not line.strip(_WHITE)


def read_lines(data: bytes, fields: Fields, *, file: str, offset: int, first_line: int) -> Rows:
    """All lines of `data`, which begins at `offset` of its file with line `first_line` (1-based).

    The last line may lack its line feed.
    """
    builder = RowsBuilder(fields)
    pieces = data.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    for number, piece in enumerate(pieces):
        line = strip_end(piece)
        if is_blank(line):
            builder.blank += 1
        else:
            try:
                text, labels, spans, unread = read_line(line, fields, builder.paths)
                builder.add(text, offset, len(line), labels, spans, unread)
            except RowError as error:
                builder.bad.append(bad_line(file, first_line + number, offset, line, error))
        offset += len(piece) + 1
    builder.lines = len(pieces)
    return builder.rows()


def bad_line(file: str, number: int, offset: int, line: bytes, error: RowError) -> BadLine:
    """Return a bad line from the reason why it is one."""
    return BadLine(file, number, offset, len(line), error.reason, error.detail, line[:SAMPLE_BYTES])
