"""Files of another kind than their name says stop the run, named by what they are."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import dataworth
from dataworth.corpus.read.sources import resolve
from dataworth.errors import InputError

ROWS = [{"text": f"document {i} of the pool, about cats"} for i in range(400)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TARGET = [f"cats, number {i}" for i in range(20)]


def parquet() -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS[:20]), out)
    return out.getvalue().to_pybytes()


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        member = tarfile.TarInfo("a.jsonl")
        member.size = len(LINES)
        file.addfile(member, io.BytesIO(LINES.encode()))
    return out.getvalue()


def select(pool: Any, out: Path, **options: Any) -> Any:
    return dataworth.select(pool, {"t": TARGET}, "5-docs", out=out, **options)


OTHERS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "gzip": ("b.jsonl", lambda: gzip.compress(LINES.encode()), "is gzip data"),
    "zstd": ("b.jsonl", lambda: zstandard.compress(LINES.encode()), "is zstandard data"),
    "parquet": ("b.jsonl", parquet, "is a Parquet file"),
    "bzip2": ("b.jsonl", lambda: bz2.compress(LINES.encode()), "is bzip2 data"),
    "xz": ("b.jsonl", lambda: lzma.compress(LINES.encode()), "is xz data"),
    "zip": ("b.jsonl", lambda: b"PK\x03\x04" + bytes(60), "is a zip archive"),
    "lfs": (
        "b.jsonl",
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "Git LFS pointer",
    ),
    "lfs of parquet": (
        "b.parquet",
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "Git LFS pointer",
    ),
    "html": ("b.jsonl", lambda: b"\n<!DOCTYPE html>\n<html><body>Log in</body></html>", "web page"),
    "html.gz": ("b.jsonl.gz", lambda: gzip.compress(b"<html>no</html>"), "web page"),
    "utf-16": ("b.jsonl", lambda: LINES.encode("utf-16"), "is UTF-16; .*iconv -f UTF-16 -t UTF-8"),
    "utf-16 le": ("b.jsonl", lambda: LINES.encode("utf-16-le"), "is UTF-16LE"),
    "utf-16 be": ("b.ndjson", lambda: LINES.encode("utf-16-be"), "is UTF-16BE"),
    "utf-32": ("b.jsonl", lambda: LINES.encode("utf-32"), "is UTF-32;"),
    "utf-32 le": ("b.jsonl", lambda: LINES.encode("utf-32-le"), "is UTF-32LE"),
    "utf-16 text": ("b.txt", lambda: ("some text " * 50).encode("utf-16-be"), "is UTF-16BE"),
    "twice": ("b.jsonl.gz", lambda: gzip.compress(gzip.compress(b"{}")), "content is gzip data"),
    "plain.gz": ("b.jsonl.gz", LINES.encode, "is not gzip data"),
    "zstd.gz": ("b.jsonl.gz", lambda: zstandard.compress(LINES.encode()), "but zstandard data"),
    "plain.zst": ("b.jsonl.zst", LINES.encode, "is not zstandard data"),
    "lines.parquet": ("b.parquet", LINES.encode, "is JSON lines"),
    "noise": ("b.jsonl", lambda: bytes(range(128, 256)) * 20, "b.jsonl: gives no document"),
    "other fields": ("b.jsonl", lambda: b'{"body": "x"}\n' * 2, "b.jsonl: gives no document"),
    "one array": ("b.jsonl", lambda: json.dumps(ROWS[:9]).encode(), "is a JSON array"),
    "indented array": ("b.jsonl", lambda: json.dumps(ROWS[:9], indent=1).encode(), "JSON array"),
    "indented": ("b.jsonl", lambda: json.dumps(ROWS[0], indent=1).encode() * 9, "several lines"),
    "tar": ("b.jsonl", archive, "b.jsonl: is a tar archive"),
    "tar.gz": ("b.jsonl.gz", lambda: gzip.compress(archive()), "its content is a tar archive"),
    "part of a page": ("b.jsonl", lambda: b"<head>\n<title>a</title>\n</head>\n", "is a web page"),
    "refused": ("b.jsonl", lambda: b"<Error><Code>AccessDenied</Code></Error>", "web page or XML"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_one_file_of_another_kind_stops_the_run(name: str, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    file, content, said = OTHERS[name]
    (pool / "a.jsonl").write_text(LINES)
    (pool / file).write_bytes(content())
    with pytest.raises(InputError, match=said):
        select(pool, tmp_path / "run")


def test_all_that_can_be_read_is_taken_where_that_is_asked(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / "a.jsonl").write_text(LINES)
    (pool / "b.jsonl").write_bytes(bytes(range(128, 256)) * 20)
    assert len(select(pool, tmp_path / "run", max_bad=1.0)) == 5


def test_files_of_nothing_are_fine(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / "a.jsonl").write_text(LINES)
    (pool / "b.jsonl").write_bytes(b"")
    (pool / "c.jsonl").write_bytes(b"\n \n\r\n")
    (pool / "d.jsonl.gz").write_bytes(gzip.compress(b""))
    (pool / "e.jsonl.zst").write_bytes(zstandard.compress(b""))
    (pool / "f.jsonl").write_text('{"text": ""}\n')
    (pool / "g.json").write_bytes(b"")
    assert len(select(pool, tmp_path / "run")) == 5


def test_text_may_begin_like_another_kind(tmp_path: Path) -> None:
    for number, text in enumerate(
        ["BZh is no word", "ORC tales", "<html> is a tag", "Obj", "Łódź"]
    ):
        (tmp_path / f"{number}.txt").write_text(text)
    assert len(resolve(tmp_path, spool=None)) == 5


def test_json_of_small_members_is_lines(tmp_path: Path) -> None:
    data = LINES.encode()
    cut = [data[at : at + 20] for at in range(0, 2000, 20)] + [data[2000:]]
    (tmp_path / "a.json.gz").write_bytes(b"".join(map(gzip.compress, cut)))
    (tmp_path / "b.json.zst").write_bytes(b"".join(map(zstandard.compress, cut)))
    wide = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    (tmp_path / "c.json.zst").write_bytes(_streamed(data, wide))
    for name in ("a.json.gz", "b.json.zst", "c.json.zst"):
        assert len(select(tmp_path / name, tmp_path / f"run-{name}")) == 5


def _streamed(data: bytes, parameters: Any) -> bytes:
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(data) + compressor.flush()


def test_a_head_of_much_content_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json.zst"
    with path.open("wb") as out, zstandard.ZstdCompressor(level=3).stream_writer(out) as writer:
        writer.write(b'{"text": "a"}\n')
        for _ in range(2000):
            writer.write(bytes([32]) * 2**20)
    code = (
        "import resource, sys; from dataworth.corpus.read.sources import resolve;"
        "m = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = m();"
        "resolve(sys.argv[1], spool=None); print((m() - before) // 1024)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(out.stdout) < 200  # MB, where the content has 2,000


def test_bad_lines_are_written_as_they_come(tmp_path: Path) -> None:
    bad = [f'{{"text": {i}}}' for i in range(50)]
    path = tmp_path / "pool.jsonl"
    path.write_text(LINES + "\n".join(bad) + "\n")
    run = tmp_path / "run"
    assert len(select(path, run, max_bad=0.5)) == 5
    found = (run / "quarantine" / "bad-lines.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in found] == list(range(401, 451))


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / os.fsdecode(b"caf\xe9.jsonl")).write_text(LINES)
    for place in (pool, pool / os.fsdecode(b"caf\xe9.jsonl")):
        with pytest.raises(InputError, match=r"caf\\udce9.jsonl: its name is not UTF-8"):
            select(place, tmp_path / "run")


def test_a_name_may_hold_a_line_feed(tmp_path: Path) -> None:
    (tmp_path / "a\nb.jsonl").write_text(LINES + "{\n")
    assert len(select(tmp_path / "a\nb.jsonl", tmp_path / "run")) == 5
    (bad,) = (tmp_path / "run" / "quarantine" / "bad-lines.jsonl").read_text().splitlines()
    assert json.loads(bad)["file"] == str(tmp_path / "a\nb.jsonl")


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("content", [{"features": {"text": "string"}}, [{"a": 1}]])
def test_descriptions_beside_the_data_are_left_out(
    indent: int | None, content: Any, tmp_path: Path
) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / "a.jsonl").write_text(LINES)
    (pool / "dataset_info.json").write_text(json.dumps(content, indent=indent))
    if indent or isinstance(content, list):
        assert len(select(pool, tmp_path / "out").table) == 5
