"""The compiled reader and the line-by-line reader agree on every input."""

from __future__ import annotations

import json
import random
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataworth.corpus.fields import Fields
from dataworth.corpus.read.jsonl import Scanner
from readers import by_line, by_scan

PLAIN = Fields()
LABELLED = Fields(id="id", groups=("meta.lang", "score"))
FIELDS = st.sampled_from([PLAIN, LABELLED, Fields(max_line_bytes=40), Fields(text=("tëxt",))])
PADDING = st.sampled_from([b"\0", b'"', b"}", b"0", b"\xff", b"\x80\xbf", b" ", b"\n", b"u0000"])

WHITE = st.text(" \t\r", max_size=3)
KEYS = st.sampled_from(["text", "id", "meta", "meta.lang", "lang", "score", "tëxt", "", "x" * 80])
POINTS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from('aé世🎉"\\/\n\t\0\x1f\x7f\u2028\ud7ff\ue000\uffff\U0010ffff'),
)
STRINGS = st.one_of(
    st.text(POINTS, max_size=20),
    st.text(POINTS, min_size=55, max_size=140),
    st.text("ab\n", min_size=60, max_size=70),
)
WRITTEN = (
    "0 -0 1 12 -7 1e5 1E+5 1e-05 0.5 -0.0 1.25e2 123456789012345678 1234567890123456789"
    " 123456789012345678901234 1e308 1e309 -1e400 1e99 1e100 0e0 01 +1 .5 1. - 1e 1e+ -a 0x1 1_0"
    " NaN Infinity -Infinity tru true falsey null nul"
)
LONG = ["9" * 200, "9" * 201, "9" * 310, "0." + "1" * 400, "1" + "0" * 300 + "e-99"]
NUMBERS = st.sampled_from([*WRITTEN.split(), *LONG])
ESCAPES = (
    r"\ud83d\ude00 \uD83D \ude00 \ud83d\u0041 \ud83dx \udBFF\uDFFF \u12 \u00e9 \u0000 \uFFFF"
    r" \u4e16\u754c \u00g0 \x \ \/ \é"
)
SURROGATES = st.sampled_from(ESCAPES.split(" "))


@st.composite
def odd_strings(draw: st.DrawFn, values: st.SearchStrategy[str] = STRINGS) -> str:
    """A JSON string written in one of many ways, sometimes a wrong one."""
    value = draw(values)
    style = draw(st.integers(0, 3))
    if style == 0:
        return json.dumps(value)
    if style == 1:
        return '"' + "".join(f"\\u{ord(c):04X}" for c in value if ord(c) < 0x10000) + '"'
    if style == 2:
        return f'"{draw(SURROGATES)}{json.dumps(value, ensure_ascii=False)[1:]}'
    return json.dumps(value, ensure_ascii=False)


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("[{}]".format, st.lists(inner, max_size=4).map(",".join)),
        objects(inner),
    )


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """A JSON object with odd white space; keys may occur twice."""
    pairs = draw(st.lists(st.tuples(odd_strings(KEYS), inner, WHITE, WHITE), max_size=5))
    body = ",".join(f"{a}{key}{b}:{a}{value}{b}" for key, value, a, b in pairs)
    return f"{{{body}{draw(WHITE)}}}"


VALUES = st.recursive(st.one_of(odd_strings(), NUMBERS), containers, max_leaves=8)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A line: mostly an object with a text."""
    text = draw(st.one_of(odd_strings(), odd_strings(), odd_strings(), VALUES))
    before = draw(st.lists(st.tuples(odd_strings(KEYS), VALUES), max_size=2))
    after = draw(st.lists(st.tuples(odd_strings(KEYS), VALUES), max_size=2))
    pairs = [*before, ('"text"', text), *after]
    a, b = draw(WHITE), draw(WHITE)
    return a + "{" + f",{b}".join(f"{key}{a}:{b}{value}" for key, value in pairs) + "}" + b


LINES = st.one_of(documents(), objects(VALUES), VALUES, WHITE).map(
    lambda line: line.encode("utf-8", "surrogatepass")
)
FEEDS = st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b""])
BLOCKS = st.lists(st.tuples(LINES, FEEDS), max_size=6).map(
    lambda lines: b"".join(line + feed for line, feed in lines)
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Lines with some bytes changed, put in or taken out."""
    data = bytearray(draw(BLOCKS))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        byte = draw(st.one_of(st.integers(0, 255), st.sampled_from(b'"\\{}[],:\n\r u0')))
        kind = draw(st.sampled_from(["flip", "insert", "delete", "cut"]))
        if kind == "flip":
            data[at : at + 1] = bytes([byte])
        elif kind == "insert":
            data[at:at] = bytes([byte])
        elif kind == "delete":
            del data[at : at + 1]
        else:
            del data[at:]
    return bytes(data)


@settings(max_examples=120, deadline=None)
@given(BLOCKS, FIELDS, PADDING)
def test_agree_on_odd_json(data: bytes, fields: Fields, padding: bytes) -> None:
    assert by_scan(data, fields, padding) == by_line(data, fields)


@settings(max_examples=120, deadline=None)
@given(damaged(), FIELDS, PADDING)
def test_agree_on_damaged_json(data: bytes, fields: Fields, padding: bytes) -> None:
    assert by_scan(data, fields, padding) == by_line(data, fields)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), FIELDS, PADDING)
def test_agree_on_any_bytes(data: bytes, fields: Fields, padding: bytes) -> None:
    assert by_scan(data, fields, padding) == by_line(data, fields)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 130), st.binary(min_size=1, max_size=5), st.integers(0, 70), PADDING)
@example(62, b"\xe4\xb8\x96", 0, b"\x80")
@example(0, b"\xed\xa0\x80", 0, b"\0")
@example(0, b"\xf4\x90\x80\x80", 0, b"\0")
def test_agree_on_any_bytes_within_a_text(
    before: int, middle: bytes, after: int, padding: bytes
) -> None:
    data = b'{"text":"' + b"a" * before + middle + b"b" * after + b'"}'
    assert by_scan(data, PLAIN, padding) == by_line(data, PLAIN)
    assert by_scan(data[: 9 + before + len(middle)], PLAIN, padding) == by_line(
        data[: 9 + before + len(middle)], PLAIN
    )


@pytest.mark.parametrize("fields", [PLAIN, LABELLED], ids=["text", "labels"])
def test_agree_on_many_changed_lines(fields: Fields) -> None:
    chance = random.Random(0)
    rows: list[dict[str, Any]] = [
        {"id": "a-1", "text": "Plain words, a tab\there and “quotes” — 世界 🎉 ok\n" * 3},
        {"text": "x" * 130, "meta": {"lang": "py", "n": [1, -2.5, {"deep": [[], {}]}]}},
        {"score": 1.5, "text": 'if a < "b\\c":\n\treturn 7 // 2\r\n' * 4, "ok": True, "no": None},
    ]
    lines = [orjson.dumps(row) for row in rows] + [json.dumps(row).encode() for row in rows]
    alphabet = b'"\\{}[],:\n\r\t u0189eE+-.tfn\x00\x1f\x80\xbf\xc3\xe4\xed\xf0\xff'
    pieces = []
    for number in range(4_000):
        line = bytearray(lines[number % len(lines)])
        for _ in range(chance.randint(0, 2)):
            at = chance.randrange(len(line))
            line[at : at + chance.randint(0, 1)] = bytes(chance.choices(alphabet, k=1))
        pieces.append(bytes(line))
    data = b"\n".join(pieces)
    found = by_line(data, fields)
    assert by_scan(data, fields) == found
    assert 700 < len(found[0]) < 3_700
    assert {bad.reason for bad in found[4]} >= {"invalid_json", "invalid_utf8", "missing_field"}


@settings(max_examples=80, deadline=None)
@given(st.lists(documents(), min_size=1, max_size=4))
def test_good_lines_are_what_python_reads(lines: list[str]) -> None:
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    found = by_scan(data, PLAIN)
    for text, offset, size in zip(*found[:3], strict=True):
        row = json.loads(data[offset : offset + size])
        assert row["text"] == text.decode()
    for bad in found[4]:
        try:
            row = json.loads(data[bad.offset : bad.offset + bad.bytes])
        except (ValueError, RecursionError):
            continue
        # Python also takes NaN, numbers that are not finite and lone surrogates.
        lenient = bad.reason in ("invalid_json", "lone_surrogate", "invalid_utf8")
        assert lenient or not row.get("text") or not isinstance(row["text"], str)


def _nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b',"text":"deep"}'


@pytest.mark.parametrize("levels", [2, 63, 64, 65, 66, 200, 1023, 1024, 1025, 5000])
def test_agree_on_depth(levels: int) -> None:
    data = _nested(levels)
    assert by_scan(data, PLAIN) == by_line(data, PLAIN)
    objects = b'{"a":' * levels + b"1" + b"}" * levels
    assert by_scan(objects, PLAIN) == by_line(objects, PLAIN)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 54, 55, 62, 63, 64, 65, 127, 128])
def test_agree_on_text_sizes_and_names(size: int) -> None:
    name = "n" * size
    rows = [{"text": "é" * size}, {"text": "a" * size, name: 1}, {name: "", "text": "b" * size}]
    data = b"\n".join(orjson.dumps(row) for row in rows)
    assert by_scan(data, PLAIN) == by_line(data, PLAIN)
    if 0 < size < 64:
        fields = Fields(text=(name,), id="text")
        assert Scanner.fits(fields)
        assert by_scan(data, fields) == by_line(data, fields)


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        (Fields(), True),
        (Fields(id="meta.id", groups=("a", "b.c.d")), True),
        (Fields(text=("a", "b")), False),
        (Fields(text=("a.b",)), False),
        (Fields(template="plain"), False),
        (Fields(groups=("text",)), False),
        (Fields(groups=("text.kind",)), False),
        (Fields(text=("t" * 64,)), False),
        (Fields(id="i" * 64), False),
    ],
)
def test_fields_that_the_compiled_reader_reads(fields: Fields, fits: bool) -> None:
    assert Scanner.fits(fields) is fits


def test_most_lines_are_finished_by_the_compiled_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": f"é{i}", "text": 'Tab\t"世界 🎉"\n' * 9, "n": [1.5, {}]} for i in range(99)]
    data = b"\r\n".join(json.dumps(row).encode() for row in rows)
    expected = by_line(data, PLAIN)
    monkeypatch.setattr("dataworth.corpus.read.jsonl.read_line", None)
    assert by_scan(data, PLAIN) == expected


def test_labels_of_every_kind() -> None:
    values: list[Any] = ["a", "", "é\n", None, 0, -0.0, -5, 10**17, 10**18, 10**30, 1.0, 1e22, True]
    values += [{"b": 1}, [1, None], "true", "12"]
    rows = [{"text": "t", "id": value, "a": {"b": value}} for value in values]
    rows += [{"text": "t", "a.b": "dotted", "a": {"b": "nested"}}, {"text": "t", "a": [1]}]
    rows += [{"text": "t", "a.b": None, "a": {"b": "nested"}}, {"text": "t", "a": {"c": 1}}]
    rows += [{"text": "", "id": "bad"}, {"text": "last", "id": "z", "a": {"b": "y"}}]
    data = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    fields = Fields(id="id", groups=("a.b", "a", "none"))
    found = by_scan(data, fields)
    assert found == by_line(data, fields)
    assert found[3]["id"][1][:4] == ["a", "", "é\n", None]
    assert found[3]["a.b"][1][-5:] == ["dotted", None, None, None, "y"]
    assert found[3]["none"][1] == [None] * len(found[0])
