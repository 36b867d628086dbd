"""Readers of the test data that share no code with dataworth, and small pools made of them."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import zstandard

POOL_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")


def read_bytes(path: Path) -> bytes:
    """A file's uncompressed bytes."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
            return reader.read()
    return path.read_bytes()


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of any file of the test data, in order, as dictionaries."""
    if path.suffix == ".parquet":
        yield from pq.read_table(path).to_pylist()
        return
    for line in read_bytes(path).splitlines():
        yield json.loads(line)


def find_target(data: Path, name: str, part: str = "target") -> Path:
    """The file of target `name`; `part` is "target" or "val"."""
    found = sorted((data / "targets").glob(f"{name}.{part}.jsonl*"))
    assert len(found) == 1, f"no single file of {name}.{part} under {data / 'targets'}"
    return found[0]


def sample_pool(files: Sequence[Path], documents: int) -> list[bytes]:
    """About `documents` rows as JSON lines: the same share of every file, at least 20 of each.

    Rows are taken by a hash of their id and come in the order of that hash, so that domains are
    mixed and neither file order nor format matters.
    """
    tables = [list(read_rows(path)) for path in files]
    share = documents / sum(len(rows) for rows in tables)
    drawn = []
    for rows in tables:
        ranked = sorted(
            (hashlib.sha256(row["id"].encode()).digest(), i) for i, row in enumerate(rows)
        )
        drawn += [(key, rows[i]) for key, i in ranked[: max(20, round(share * len(rows)))]]
    drawn.sort(key=lambda pair: pair[0])
    return [orjson.dumps(row) + b"\n" for _, row in drawn]
