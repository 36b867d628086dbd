"""The texts of chosen documents, read again from any format, are what they were."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataworth.corpus.fields import Fields
from dataworth.corpus.read.fetch import fetch_texts
from dataworth.corpus.read.reader import read
from dataworth.corpus.read.sources import resolve
from dataworth.corpus.units import split
from dataworth.errors import DataworthError, RunError

TEXTS = [f"Number {i}: zwölf Wörter, 漢字\tand \\ more" + " x" * (i % 7) for i in range(200)]


def written(folder: Path, form: str) -> Path:
    rows = [{"id": i, "text": text, "more": {"body": text[::-1]}} for i, text in enumerate(TEXTS)]
    lines = b"\xef\xbb\xbf" + b"\r\n\n".join(map(orjson.dumps, rows))
    path = folder / f"pool.{form}"
    if form == "jsonl":
        path.write_bytes(lines)
    elif form == "jsonl.gz":
        path.write_bytes(gzip.compress(lines))
    elif form == "txt":
        path.write_text("\n".join(text.replace("\n", " ") for text in TEXTS), "utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=60)
    return path


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ("jsonl", Fields()),
        ("jsonl", Fields(text=("text", "more.body"))),
        ("jsonl.gz", Fields()),
        ("jsonl", Fields(split_words=3)),
        ("parquet", Fields()),
        ("parquet", Fields(text=("text", "more.body"))),
        ("parquet", Fields(split_words=2)),
        ("txt", Fields(txt="line")),
        ("txt", Fields()),
        ("txt", Fields(split_words=5)),
    ],
)
def test_texts_come_back_in_the_order_asked_for(form: str, fields: Fields, tmp_path: Path) -> None:
    path = written(tmp_path, form)
    rng = random.Random(0)
    for unit in split(resolve(path, spool=None), 4_000, txt=fields.txt):
        texts, offsets, sizes, pieces = [], [], [], []
        for block in read(unit, fields):
            documents = block.documents
            texts += documents.texts()
            offsets += documents.offset.tolist()
            sizes += documents.bytes.tolist()
            if fields.split_words is not None:
                pieces += documents.columns["piece"].to_pylist()
        rows = rng.sample(range(len(texts)), min(len(texts), 40))
        found = fetch_texts(
            unit,
            np.array([offsets[row] for row in rows], np.int64),
            np.array([sizes[row] for row in rows], np.int64),
            fields,
            pieces=np.array([pieces[row] for row in rows], np.int64) if pieces else None,
        )
        assert found == [texts[row] for row in rows]


def test_no_rows(tmp_path: Path) -> None:
    (unit,) = split(resolve(written(tmp_path, "jsonl"), spool=None))
    assert fetch_texts(unit, np.empty(0, np.int64), np.empty(0, np.int64), Fields()) == []


@pytest.mark.parametrize("now", [b"", b"{}" * 40, b'{"text": 5}' + b" " * 80, b"x" * 100])
def test_a_file_that_changed(now: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(orjson.dumps({"text": "a" * 60}) + b"\n")
    (unit,) = split(resolve(path, spool=None))
    path.write_bytes(now)
    with pytest.raises(DataworthError) as caught:
        fetch_texts(unit, np.array([0]), np.array([71]), Fields())
    assert str(path) in str(caught.value)
    assert not now or isinstance(caught.value, RunError)
