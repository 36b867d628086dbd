"""Chosen rows of a pool, from its files to the shards."""

from __future__ import annotations

import gzip
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.reader import read
from dataworth.corpus.read.sources import resolve
from dataworth.corpus.units import Unit, split
from dataworth.corpus.write import convert
from dataworth.corpus.write.extract import extract
from dataworth.corpus.write.writing import Limits, ShardWriter, default_format
from dataworth.errors import DataworthError

Place = tuple[Unit, int, int, int | None, str]


def places(folder: Path, fields: Fields) -> list[Place]:
    """All documents of a pool: unit, offset, bytes, piece, text."""
    found: list[Place] = []
    for unit in split(resolve(folder, spool=None), 2_000, txt=fields.txt):
        for block in read(unit, fields):
            documents: Documents = block.documents
            pieces = (
                documents.columns["piece"].to_pylist()
                if fields.split_words is not None
                else [None] * len(documents)
            )
            for row in range(len(documents)):
                found.append(
                    (
                        unit,
                        int(documents.offset[row]),
                        int(documents.bytes[row]),
                        pieces[row],
                        documents.text(row),
                    )
                )
    return found


def write(folder: Path, fields: Fields, chosen: list[Place], form: str = "") -> list[str]:
    """Writes the chosen documents in their order, units in threads; returns the texts written."""
    files = resolve(folder, spool=None)
    out = folder.parent / f"out-{form}"
    by_unit: dict[Unit, list[int]] = {}
    for position, place in enumerate(chosen):
        by_unit.setdefault(place[0], []).append(position)
    with ShardWriter(
        out,
        form or default_format(files, fields),
        total_rows=len(chosen),
        expected_bytes=sum(place[2] for place in chosen),
        work=folder.parent / "work",
        schema=None if fields.split_words else convert.parquet_schema(files),
        limits=Limits(shard_bytes=20_000, memory_bytes=10_000, bucket_bytes=5_000),
    ) as writer:

        def one(unit: Unit) -> None:
            positions: NDArray[np.int64] = np.array(by_unit[unit], np.int64)
            here = [chosen[position] for position in positions]
            extract(
                writer,
                unit,
                np.array([place[1] for place in here], np.int64),
                np.array([place[2] for place in here], np.int64),
                positions,
                fields,
                pieces=np.array([place[3] for place in here]) if fields.split_words else None,
            )

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(one, by_unit))
        infos = writer.finish()
    texts: list[str] = []
    for info in infos:
        path = out / info.name
        if path.suffix == ".parquet":
            texts += pq.read_table(path).column("text").to_pylist()
        else:
            data = path.read_bytes()
            if path.suffix == ".zst":
                data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
            texts += [orjson.loads(line)["text"] for line in data.splitlines()]
    return texts


def choose(found: list[Place], count: int, seed: int = 0) -> list[Place]:
    """A selection with repeats, in mixed order."""
    return random.Random(seed).choices(found, k=count)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    folder.mkdir()
    rows = [b'{"n": %d, "text": "t\xc3\xa9xt %d %s"}' % (i, i, b"x" * (i % 50)) for i in range(300)]
    (folder / "a.jsonl").write_bytes(b"\r\n".join(rows[:100]))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b"\n\n".join(rows[100:200]) + b"\n"))
    (folder / "c.jsonl.zst").write_bytes(zstandard.compress(b"\n".join(rows[200:])))
    return folder


def test_json_lines(pool: Path) -> None:
    fields = Fields()
    chosen = choose(places(pool, fields), 500)
    assert write(pool, fields, chosen) == [place[4] for place in chosen]


def test_original_bytes(pool: Path) -> None:
    fields = Fields()
    found = places(pool, fields)
    assert len(found) == 300
    write(pool, fields, found, "jsonl")
    data = b"".join(path.read_bytes() for path in sorted((pool.parent / "out-jsonl").iterdir()))
    first = (pool / "a.jsonl").read_bytes().replace(b"\r\n", b"\n") + b"\n"
    assert data.startswith(first)
    assert data.count(b"\n") == 300


@pytest.mark.parametrize("form", ["", "jsonl"])
def test_parquet(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    for number in range(3):
        table = pa.table(
            {"text": [f"{number} {i}" for i in range(200)], "n": np.arange(200, dtype=np.int16)}
        )
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=50)
    fields = Fields()
    chosen = choose(places(folder, fields), 700)
    assert write(folder, fields, chosen, form) == [place[4] for place in chosen]
    if not form:
        assert pq.read_table(tmp_path / "out-").schema.field("n").type == pa.int16()


@pytest.mark.parametrize("form", ["", "parquet"])
def test_mixed_formats(pool: Path, form: str) -> None:
    table = pa.table({"text": [f"p {i}" for i in range(100)], "more": [1.5] * 100})
    pq.write_table(table, pool / "p.parquet")
    (pool / "t.txt").write_bytes("a whole file\nof text é".encode())
    fields = Fields()
    chosen = choose(places(pool, fields), 400)
    assert write(pool, fields, chosen, form) == [place[4] for place in chosen]


def test_lines_of_text(tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    (folder / "a.txt").write_bytes("\n".join(f"liné {i}" for i in range(500)).encode())
    fields = Fields(txt="line")
    chosen = choose(places(folder, fields), 300)
    assert write(folder, fields, chosen) == [place[4] for place in chosen]


@pytest.mark.parametrize("form", ["jsonl.zst", "parquet"])
def test_pieces(pool: Path, form: str) -> None:
    pq.write_table(
        pa.table({"text": ["one two three four five six seven"] * 50}), pool / "p.parquet"
    )
    (pool / "t.txt").write_bytes(b"a whole file of text")
    fields = Fields(split_words=2)
    found = places(pool, fields)
    assert len(found) > 600
    chosen = choose(found, 400)
    assert write(pool, fields, chosen, form) == [place[4] for place in chosen]


def test_a_file_that_became_shorter(pool: Path) -> None:
    fields = Fields()
    found = places(pool, fields)
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.zst"):
        path = pool / name
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        chosen = [place for place in found if place[0].file.path.endswith(name)]
        with pytest.raises(DataworthError, match=name):
            write(pool, fields, chosen)
        path.write_bytes(data)
    assert not (pool.parent / "out-").exists()


def test_real_data(pool_files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    lines: set[bytes] = set()
    for path in pool_files:
        if path.name.startswith(("biomed", "logs", "speeches")):
            data = path.read_bytes()
            (folder / path.name).write_bytes(data)
            if path.suffix == ".zst":
                data = zstandard.ZstdDecompressor().stream_reader(data).read()
            lines.update((gzip.decompress(data) if path.suffix == ".gz" else data).split(b"\n"))
    fields = Fields()
    chosen = choose(places(folder, fields), 1_000)
    assert write(folder, fields, chosen, "jsonl") == [place[4] for place in chosen]
    for path in (tmp_path / "out-jsonl").iterdir():
        assert set(path.read_bytes().split(b"\n")) <= lines
