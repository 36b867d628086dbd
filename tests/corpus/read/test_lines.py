"""Every kind of bad line has its reason, in both readers, and harms no other line."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataworth.corpus.fields import Fields
from dataworth.corpus.read.rows import SAMPLE_BYTES, BadLine, label_paths
from dataworth.errors import ConfigError
from readers import json_rows, read_all, reasons, texts, unit_of

GOOD = b'{"text": "good"}'
BAD = {
    "broken JSON": (b'{"text": "a}', "invalid_json"),
    "no JSON": (b"just words", "invalid_json"),
    "single quotes": (b"{'text': 'a'}", "invalid_json"),
    "trailing comma": (b'{"text": "a",}', "invalid_json"),
    "trailing words": (b'{"text": "a"} x', "invalid_json"),
    "comma between objects": (b'{"text": "a"},{"text": "b"}', "invalid_json"),
    "raw tab in a string": (b'{"text": "a\tb"}', "invalid_json"),
    "unknown escape": (b'{"text": "\\x"}', "invalid_json"),
    "leading zero": (b'{"text": "a", "n": 01}', "invalid_json"),
    "not a number": (b'{"text": "a", "n": NaN}', "invalid_json"),
    "infinite number": (b'{"text": "a", "n": 1e999}', "invalid_json"),
    "vertical tab": (b'\x0b{"text": "a"}', "invalid_json"),
    "zero byte": (b'{"text": "a"}\x00', "invalid_json"),
    "byte order mark": (b'\xef\xbb\xbf{"text": "a"}', "invalid_json"),
    "two objects": (b'{"text": "a"}{"text": "b"}', "two_objects"),
    "two objects with a blank": (b'{"text": "a"} \t{"text": "b"}', "two_objects"),
    "array": (b'[{"text": "a"}]', "not_an_object"),
    "string": (b'"text"', "not_an_object"),
    "null": (b"null", "not_an_object"),
    "number": (b"17", "not_an_object"),
    "empty object": (b"{}", "missing_field"),
    "missing text": (b'{"Text": "a", "txt": "b"}', "missing_field"),
    "null text": (b'{"text": null}', "null_text"),
    "empty text": (b'{"text": ""}', "empty_text"),
    "number as text": (b'{"text": 5}', "text_not_a_string"),
    "list as text": (b'{"text": ["a"]}', "text_not_a_string"),
    "object as text": (b'{"text": {"text": "a"}}', "text_not_a_string"),
    "invalid UTF-8 in the text": (b'{"text": "a\xff"}', "invalid_utf8"),
    "cut UTF-8": (b'{"text": "\xe4\xb8"}', "invalid_utf8"),
    "Latin-1": ('{"text": "déjà vu"}'.encode("latin-1"), "invalid_utf8"),
    "overlong UTF-8": (b'{"text": "\xc0\xaf"}', "invalid_utf8"),
    "encoded surrogate": (b'{"text": "\xed\xa0\x80"}', "invalid_utf8"),
    "invalid UTF-8 in another field": (b'{"text": "a", "b": "\xff"}', "invalid_utf8"),
    "lone surrogate": (b'{"text": "a\\ud83d"}', "lone_surrogate"),
    "low surrogate alone": (b'{"text": "\\ude00b"}', "lone_surrogate"),
    "lone surrogate in another field": (b'{"b": "\\ud83d!", "text": "a"}', "lone_surrogate"),
    "deep nesting": (b'{"text": "a", "b": ' + b"[" * 3000 + b"]" * 3000 + b"}", "nested_too_deep"),
    "duplicate key, last null": (b'{"text": "a", "text": null}', "null_text"),
}


@pytest.mark.parametrize("fast", [True, False], ids=["scan", "line by line"])
@pytest.mark.parametrize("feed", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("name", BAD)
def test_bad_line(name: str, feed: bytes, fast: bool, tmp_path: Path) -> None:
    line, reason = BAD[name]
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + feed + line + feed + GOOD + feed)
    found, offset, size, _, bad, lines, blank = json_rows(unit_of(path), Fields(), 2**20, fast)
    start = len(GOOD + feed)
    assert found == [b"good", b"good"]
    assert offset == [0, start + len(line + feed)]
    assert size == [len(GOOD)] * 2
    assert (lines, blank) == (3, 0)
    detail = bad[0].detail
    sample = line[:SAMPLE_BYTES]
    assert bad == [BadLine(str(path), 2, start, len(line), reason, detail, sample)]
    assert detail and "\n" not in detail


GOOD_LINES = {
    "white space around": (b' \t{ "text"\t:\r"a" } \t', "a"),
    "duplicate key, last wins": (b'{"text": "a", "text": "b"}', "b"),
    "duplicate key, first null": (b'{"text": null, "text": "b"}', "b"),
    "escaped key": (b'{"te\\u0078t": "a"}', "a"),
    "escaped and plain key": (b'{"text": "a", "te\\u0078t": "b"}', "b"),
    "surrogate pair": (b'{"text": "\\ud83d\\ude00"}', "😀"),
    "escapes": (b'{"text": "\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u4E16"}', '"\\/\b\f\n\r\té世'),
    "zero as an escape": (b'{"text": "a\\u0000b"}', "a\0b"),
    "white space only": (b'{"text": " "}', " "),
    "text within the text": (b'{"b": {"text": 1}, "text": "a", "c": ["text"]}', "a"),
    "fairly deep nesting": (b'{"text": "a", "b": ' + b"[" * 500 + b"]" * 500 + b"}", "a"),
    "great number": (b'{"text": "a", "n": 123456789012345678901234567890}', "a"),
}


@pytest.mark.parametrize("fast", [True, False], ids=["scan", "line by line"])
@pytest.mark.parametrize("name", GOOD_LINES)
def test_good_line(name: str, fast: bool, tmp_path: Path) -> None:
    line, text = GOOD_LINES[name]
    path = tmp_path / "a.jsonl"
    path.write_bytes(line + b"\n")
    found = json_rows(unit_of(path), Fields(), 2**20, fast)
    assert found == [[text.encode()], [0], [len(line)], {}, [], 1, 0]


def test_blank_lines_are_counted_and_are_neither_bad_nor_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n" + GOOD + b"\n\n \t\r\n\r\n" + GOOD + b"\n  ")
    (block,) = read_all(unit_of(path))
    assert texts([block]) == ["good", "good"]
    assert (block.lines, block.blank, block.bad) == (7, 5, [])
    assert block.documents.offset.tolist() == [1, 25]


def test_object_over_two_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text":\n"a"}\n' + GOOD)
    blocks = read_all(unit_of(path))
    assert texts(blocks) == ["good"]
    assert reasons(blocks) == [(1, "invalid_json"), (2, "invalid_json")]


def test_cut_last_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + b"\n" + GOOD[:9])
    blocks = read_all(unit_of(path))
    assert texts(blocks) == ["good"]
    assert reasons(blocks) == [(2, "invalid_json")]
    path.write_bytes(GOOD + b"\n" + GOOD)
    assert texts(read_all(unit_of(path))) == ["good", "good"]


def test_byte_order_mark_at_the_start_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD + b"\n" + GOOD)
    (block,) = read_all(unit_of(path))
    assert texts([block]) == ["good", "good"]
    assert block.documents.offset.tolist() == [3, 3 + len(GOOD) + 1]
    assert block.raw_bytes == path.stat().st_size
    path.write_bytes(b"\xef\xbb\xbf")
    assert read_all(unit_of(path)) == []


def test_field_missing_in_some_files(tmp_path: Path) -> None:
    fields = Fields(id="id", groups=("lang",))
    with_field, without = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    with_field.write_bytes(b'{"text": "a", "id": 7, "lang": "de"}\n')
    without.write_bytes(GOOD)
    columns = [read_all(unit_of(p), fields)[0].documents.columns for p in (with_field, without)]
    assert [c["id"].to_pylist() for c in columns] == [["7"], [None]]
    assert [c["lang"].to_pylist() for c in columns] == [["de"], [None]]
    assert columns[0]["lang"].type == columns[1]["lang"].type


def test_several_fields_and_templates_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"title": "T", "meta": {"body": "B"}}\n{"title": "U"}\n')
    blocks = read_all(unit_of(path), Fields(text=("title", "meta.body")))
    assert texts(blocks) == ["T\n\nB"]
    assert reasons(blocks) == [(2, "missing_field")]
    path.write_bytes(
        b'{"messages": [{"role": "user", "content": "\xc3\xa9?"},'
        b' {"role": "assistant", "content": "yes"}]}\n' * 2
    )
    (block,) = read_all(unit_of(path), Fields(template="plain"))
    assert texts([block]) == ["é?\n\nyes"] * 2
    spans = block.documents.spans
    assert spans is not None
    assert spans.document.tolist() == [0, 0, 1, 1]
    assert spans.start.tolist() == [0, 5, 0, 5]
    assert spans.end.tolist() == [3, 8, 3, 8]
    assert list(spans.role) == ["user", "assistant"] * 2


def test_group_of_the_id_columns_name() -> None:
    assert label_paths(Fields(id="id", groups=("id", "a"))) == {"id": "id", "a": "a"}
    with pytest.raises(ConfigError, match="id field"):
        label_paths(Fields(id="name", groups=("id",)))


def test_long_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for size, ends in ((100, b"\n"), (100, b"\r\n"), (5000, b"\n"), (5000, b"\r\n")):
        line = b'{"text": "' + b"a" * size + b'"}'
        path.write_bytes(GOOD + ends + line + ends + GOOD)
        for block_bytes in (1, 64, 2**20):
            for most in (len(line) - 1, len(line)):
                fields = Fields(max_line_bytes=most)
                blocks = read_all(unit_of(path), fields, block_bytes)
                bad = [bad for block in blocks for bad in block.bad]
                if most == len(line):
                    assert texts(blocks) == ["good", "a" * size, "good"]
                    assert not bad
                    continue
                assert texts(blocks) == ["good", "good"]
                assert [(b.line, b.reason) for b in bad] == [(2, "line_too_long")]
                assert (bad[0].offset, bad[0].bytes) == (len(GOOD + ends), len(line))
                assert bad[0].sample == line[:SAMPLE_BYTES]
