"""Plain text files, and texts cut into pieces of words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.fields import Fields
from dataworth.corpus.read.pieces import split_words
from dataworth.corpus.read.rows import Rows, RowsBuilder
from dataworth.errors import ConfigError
from readers import read_all, reasons, texts, unit_of

LINE = Fields(txt="line")


def test_a_file_is_a_document(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    text = "Erste Zeile\r\n\n  zweite — 世界 🎉\n"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + text.encode())
        (block,) = read_all(unit_of(path), Fields(id="id", groups=("lang",)))
        documents = block.documents
        assert texts([block]) == [text]
        assert (documents.offset.tolist(), documents.bytes.tolist()) == (
            [len(mark)],
            [len(text.encode())],
        )
        assert {name: c.to_pylist() for name, c in documents.columns.items()} == {
            "id": [None],
            "lang": [None],
        }
        assert (block.lines, block.blank, block.bad) == (1, 0, [])


def test_files_that_are_no_document(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for data, reason in (
        (b"", None),
        (b"\xef\xbb\xbf", None),
        (b"caf\xe9", "invalid_utf8"),
        (b"cut \xe4\xb8", "invalid_utf8"),
        (b"words " * 50, "line_too_long"),
    ):
        path.write_bytes(data)
        blocks = read_all(unit_of(path), Fields(max_line_bytes=200))
        assert texts(blocks) == []
        assert reasons(blocks) == ([(1, reason)] if reason else [])
        assert all(bad.bytes == len(data) for block in blocks for bad in block.bad)
    path.write_bytes(b"w" * 3_000_000)
    (block,) = read_all(unit_of(path), Fields(max_line_bytes=2_999_999))
    assert block.bad[0].bytes == 3_000_000
    assert texts(read_all(unit_of(path), Fields(max_line_bytes=3_000_000))) == ["w" * 3_000_000]


@pytest.mark.parametrize("block_bytes", [1, 10, 2**20])
def test_a_line_is_a_document(block_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(
        b"\xef\xbb\xbfone \r\n\n \t\r\nzw\xc3\xb6lf\ncaf\xe9\n" + b"x" * 50 + b"\nlast"
    )
    blocks = read_all(unit_of(path), Fields(txt="line", max_line_bytes=20), block_bytes)
    assert texts(blocks) == ["one ", "zwölf", "last"]
    assert reasons(blocks) == [(5, "invalid_utf8"), (6, "line_too_long")]
    assert sum(block.lines for block in blocks) == 7
    assert sum(block.blank for block in blocks) == 2
    data = path.read_bytes()
    for block in blocks:
        documents = block.documents
        for row, text in enumerate(documents.texts()):
            at = documents.offset[row]
            assert data[at : at + documents.bytes[row]].decode() == text


def test_units_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\n".join(b"line %d" % i for i in range(50)))
    size = path.stat().st_size
    for cut in range(0, size + 1, 7):
        parts = [read_all(unit_of(path, *edge), LINE) for edge in ((0, cut), (cut, size))]
        found = [text for part in parts for text in texts(part)]
        assert found == [f"line {i}" for i in range(50)]


SPACES = " \t\n\r\x0b\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u205f\u3000"
WORDS = st.text(st.sampled_from("abé世🎉\u200b" + SPACES), min_size=1)


def rows_of(texts_: list[str]) -> Rows:
    builder = RowsBuilder(Fields(id="id"))
    for number, text in enumerate(texts_):
        builder.add(text.encode(), number * 100, 99, [f"id {number}"])
    return builder.rows()


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=4), st.integers(1, 4))
def test_pieces(texts_: list[str], words: int) -> None:
    rows = split_words(rows_of(texts_), words)
    found = [rows.data[s:e].tobytes().decode() for s, e in zip(rows.starts, rows.ends, strict=True)]
    at = 0
    for number, text in enumerate(texts_):
        here = np.flatnonzero(rows.offset == number * 100)
        own = [found[i] for i in here]
        assert here.tolist() == list(range(at, at + len(own)))
        assert rows.columns["piece"].to_pylist()[at : at + len(own)] == list(range(len(own)))
        assert rows.columns["id"].to_pylist()[at : at + len(own)] == [f"id {number}"] * len(own)
        at += len(own)
        if not text.split():
            assert own == [text]
            continue
        assert [len(piece.split()) for piece in own[:-1]] == [words] * (len(own) - 1)
        assert [word for piece in own for word in piece.split()] == text.split()
        assert all(piece in text and piece == piece.strip() for piece in own)
    assert at == len(found)


def test_every_white_space_of_python_parts_words() -> None:
    spaces = [chr(c) for c in range(0x110000) if chr(c).isspace()]
    others = [chr(c) for c in range(0x3100) if not chr(c).isspace()]
    for points, pieces in ((spaces, 2), (others, 1)):
        texts_ = [f"a{point}b" for point in points]
        assert len(split_words(rows_of(texts_), 1).starts) == pieces * len(texts_)


def test_chats_are_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}")
    with pytest.raises(ConfigError, match="chats cannot be cut"):
        read_all(unit_of(path), Fields(template="plain", split_words=5))
