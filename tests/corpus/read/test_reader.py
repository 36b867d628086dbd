"""Reading real files both ways, and getting the chosen rows back."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
import zstandard

from dataworth.corpus.fields import Fields
from dataworth.corpus.read.reader import read, read_rows
from dataworth.corpus.units import Unit
from dataworth.errors import ConfigError, InputError
from readers import json_rows, read_all, texts, unit_of
from testdata import read_bytes
from testdata import read_rows as rows_of

POOL = (
    "biomed books changelogs code dialogue forum junk legal logs math multilingual news religious "
    "reviews sci_papers speeches tech_docs web wikipedia"
)
LABELS = Fields(id="id", groups=("domain", "source"))


@pytest.mark.parametrize("name", POOL.split())
def test_real_files_are_read_alike(name: str, data: Path) -> None:
    (path,) = data.glob(f"pool/{name}.jsonl*")
    unit = unit_of(path)
    fast = json_rows(unit, LABELS, 2**22)
    assert fast == json_rows(unit, LABELS, 2**22, fast=False)
    assert not fast[4]
    content = read_bytes(path)
    for row, expected in zip(range(0, len(fast[0]), 97), list(rows_of(path))[::97], strict=True):
        assert fast[0][row].decode() == expected["text"]
        assert fast[3]["id"][1][row] == expected["id"]
        line = content[fast[1][row] : fast[1][row] + fast[2][row]]
        assert orjson.loads(line) == expected
    assert len(fast[0]) == content.count(b"\n")


def test_real_parquet(data: Path) -> None:
    path = data / "pool" / "sci_abstracts.parquet"
    expected = list(rows_of(path))
    unit = unit_of(path)
    blocks = read_all(Unit(0, unit.file, 0, 0, len(expected)), LABELS)
    assert texts(blocks) == [row["text"] for row in expected]
    ids = [value for block in blocks for value in block.documents.columns["id"].to_pylist()]
    assert ids == [row["id"] for row in expected]


def test_blocks_own_their_texts(data: Path) -> None:
    unit = unit_of(data / "pool" / "speeches.jsonl")
    kept = read_all(unit, LABELS, 2**15)
    fresh = [block.documents.texts() for block in read(unit, LABELS, block_bytes=2**15)]
    assert [block.documents.texts() for block in kept] == fresh
    assert sum(block.raw_bytes for block in kept) == unit.file.size
    assert {int(index) for block in kept for index in block.documents.file} == {0}


LINES = [
    orjson.dumps({"id": i, "text": f"Document {i}\n" + "word " * (i * 37 % 400)})
    for i in range(400)
]


@pytest.fixture(params=["", ".gz", ".zst"])
def rows_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    data = b"\xef\xbb\xbf" + b"\r\n".join(LINES[:200]) + b"\n\n" + b"\n".join(LINES[200:])
    pack: Any = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
    path = tmp_path / f"a.jsonl{request.param}"
    path.write_bytes(pack[request.param](data))
    return path


def gathered(parts: Any) -> list[bytes]:
    return [row for part in parts for row in part.to_pylist()]


@pytest.mark.parametrize("block_bytes", [1, 3000, 2**22])
def test_chosen_rows_are_their_original_bytes(rows_file: Path, block_bytes: int) -> None:
    unit = unit_of(rows_file)
    blocks = read_all(unit)
    offsets = np.concatenate([block.documents.offset for block in blocks])
    sizes = np.concatenate([block.documents.bytes for block in blocks])
    assert len(offsets) == 400
    chance = np.random.default_rng(0)
    for rows in ([], [0], [399], sorted(chance.choice(400, 30, replace=False)), range(400)):
        chosen = np.array(rows, np.int64)
        parts = read_rows(
            unit, offsets[chosen], sizes[chosen], fields=Fields(), block_bytes=block_bytes
        )
        assert gathered(parts) == [LINES[row] for row in rows]


def test_rows_far_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [orjson.dumps({"text": str(i) * 100_000}) for i in range(60)]
    path.write_bytes(b"\n".join(lines))
    unit = unit_of(path)
    sizes = np.array([len(line) for line in lines])
    offsets = np.concatenate([[0], np.cumsum(sizes + 1)[:-1]])
    for step in (1, 2, 3, 17):
        chosen = slice(None, None, step)
        parts = read_rows(
            unit, offsets[chosen], sizes[chosen], fields=Fields(), block_bytes=500_000
        )
        assert gathered(parts) == lines[chosen]


def test_a_file_that_became_shorter(rows_file: Path) -> None:
    unit = unit_of(rows_file)
    with pytest.raises(InputError, match="ends before byte"):
        list(read_rows(unit, np.array([10**6]), np.array([10]), fields=Fields()))


def test_a_row_that_the_kernel_could_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted call gives up a row, which is then read again, and those after it are too."""
    from dataworth.corpus.read import positioned

    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(LINES))
    unit, real = unit_of(path), positioned.read_rows
    gave_up: list[int] = []

    def interrupted(*given: Any) -> int:
        first = given[-1]
        if first in gave_up or first >= len(given[1]):
            return int(real(*given))
        gave_up.append(first)
        return int(first)

    monkeypatch.setattr(positioned, "read_rows", interrupted)
    documents = read_all(unit)[0].documents
    few = slice(0, 7)
    parts = read_rows(unit, documents.offset[few], documents.bytes[few], fields=Fields())
    assert gathered(parts) == LINES[few]
    assert gave_up == list(range(7))


def test_a_file_that_is_no_local_one(rows_file: Path) -> None:
    """The same rows through a file object without a descriptor."""
    unit = unit_of(rows_file)
    documents = read_all(unit)[0].documents
    remote = replace(unit, file=replace(unit.file, path=f"file://{rows_file}"))
    chosen = slice(0, None, 3)
    parts = read_rows(remote, documents.offset[chosen], documents.bytes[chosen], fields=Fields())
    assert gathered(parts) == LINES[: len(documents)][chosen]


def test_texts_come_back_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("eins\nzwölf\r\ndrei".encode())
    for fields in (Fields(txt="line"), Fields(txt="file")):
        (block,) = read_all(unit_of(path), fields)
        documents = block.documents
        parts = read_rows(unit_of(path), documents.offset, documents.bytes, fields=fields)
        assert [row.decode() for row in gathered(parts)] == documents.texts()


def test_pieces_come_back_as_rows_of_their_own(rows_file: Path) -> None:
    fields = Fields(split_words=50)
    unit = unit_of(rows_file)
    blocks = read_all(unit, fields, 5000)
    documents = [block.documents for block in blocks]
    offsets = np.concatenate([d.offset for d in documents])
    pieces = np.concatenate([d.columns["piece"].to_numpy() for d in documents])
    all_texts = texts(blocks)
    assert len(all_texts) > 1000
    chosen = np.arange(0, len(offsets), 7)
    places = (offsets[chosen], np.zeros(len(chosen), np.int64))
    parts = list(read_rows(unit, *places, fields=fields, pieces=pieces[chosen]))
    rows = [orjson.loads(row) for part in parts for row in part]
    assert [row["text"] for row in rows] == [all_texts[i] for i in chosen]
    with pytest.raises(ConfigError, match="name the pieces"):
        list(read_rows(unit, *places, fields=fields))


def test_arrow_sees_the_texts(data: Path) -> None:
    unit = unit_of(data / "pool" / "speeches.jsonl")
    block = read_all(unit)[0]
    column = block.documents.arrow()
    assert isinstance(column, pa.LargeStringArray)
    assert column.to_pylist() == block.documents.texts()
