"""Bad lines and near duplicates, planted into clean rows, each with a record of what it is.

Every kind of bad line is planted at the same rate. A near duplicate is a copy of an earlier
document in which a share of the words is deleted, doubled or replaced by words of another document;
a share of 0 is an exact copy. Copies keep `domain` and `source` and get an id of their own.

Counted as bad by a reader (`bad` is true in the record): a line cut off, a row broken over two
lines (two bad lines), two objects on one line, a value that is no object, a text that is missing,
null, empty, a number, or holds a lone surrogate, bytes that are no UTF-8, nesting too deep. Not
bad: a blank line, a line that ends in CR LF, a row with a key twice of which the last counts (the
two latter repeat the text of the row before them, so they are exact copies as well).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

BAD_RATE = 0.0005
COPY_RATE = 0.05
COPY_EDITS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
NESTED = 5_000
Row = dict[str, Any]
Record = dict[str, Any]


def plant(rows: Sequence[Row], *, seed: int) -> Iterator[tuple[bytes, Record | None]]:
    """The rows as JSON lines with planted ones among them: (line, None or what was planted)."""
    generator = random.Random(seed)
    for number, row in enumerate(rows):
        yield dump(row), None
        for kind in BAD:
            if generator.random() < BAD_RATE:
                for line in bad_lines(kind, row):
                    yield line, {"kind": kind, "bad": kind not in HARMLESS, "of": row["id"]}
        if number and generator.random() < COPY_RATE:
            share = generator.choice(COPY_EDITS)
            first = rows[generator.randrange(number)]
            copy = {**first, "id": f"copy-{number}"}
            copy["text"] = edited(first["text"], row["text"], share, generator)
            record = {"kind": "copy", "bad": False, "of": first["id"], "id": copy["id"]}
            yield dump(copy), {**record, "edited_share": share}


def dump(row: Row) -> bytes:
    """One row as a JSON line."""
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def edited(text: str, other: str, share: float, generator: random.Random) -> str:
    """A text in which about `share` of the words is deleted, doubled or replaced by other words.

    Words are split at single spaces, so all other white space stays. Share 0 changes nothing.
    """
    if not share:
        return text
    strange = other.split()
    words = []
    for word in text.split(" "):
        if generator.random() >= share:
            words.append(word)
            continue
        way = generator.randrange(3)
        if way == 1:
            words += [word, word]
        elif way == 2:
            words.append(generator.choice(strange))
    return " ".join(words) or text


def bad_lines(kind: str, row: Row) -> list[bytes]:
    """The lines of one planted fault, made from a good row."""
    line = dump({**row, "id": f"{kind}-{row['id']}"})[:-1]
    middle = len(line) // 2
    rest = {key: value for key, value in row.items() if key != "text"}
    made: dict[str, list[bytes]] = {
        "blank": [b"   " if len(line) % 2 else b""],
        "crlf": [line + b"\r"],
        "twice_a_key": [b'{"text": 1, ' + line[1:]],
        "cut_line": [line[:middle]],
        "two_lines": [line[: line.index(b'"text"')], line[line.index(b'"text"') :]],
        "two_objects": [line + line],
        "not_an_object": [b"[" + line + b"]"],
        "missing_field": [orjson.dumps(rest)],
        "null_text": [orjson.dumps({**rest, "text": None})],
        "empty_text": [orjson.dumps({**rest, "text": ""})],
        "text_not_a_string": [orjson.dumps({**rest, "text": 7})],
        "lone_surrogate": [orjson.dumps(rest)[:-1] + b', "text": "cut \\ud83d off"}'],
        "invalid_utf8": [orjson.dumps(rest)[:-1] + b', "text": "caf\xe9 latin-1"}'],
        "nested_too_deep": [b'{"deep": ' + b"[" * NESTED + b"]" * NESTED + b', "text": "x"}'],
    }
    return [part + b"\n" for part in made[kind]]


HARMLESS = ("blank", "crlf", "twice_a_key")
BAD = (
    *HARMLESS,
    "cut_line",
    "two_lines",
    "two_objects",
    "not_an_object",
    "missing_field",
    "null_text",
    "empty_text",
    "text_not_a_string",
    "lone_surrogate",
    "invalid_utf8",
    "nested_too_deep",
)
