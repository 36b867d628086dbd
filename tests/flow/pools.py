"""Pools in every form, and what is compared of two runs."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from dataworth import Scores, Selection
from dataworth.corpus import corpus as corpus_module
from dataworth.corpus.units import parts_of, split
from dataworth.flow import scores as scores_module
from dataworth.flow import scoring as scoring_module

Line = bytes
UNIT_BYTES = 150_000


def cut_small(patch: pytest.MonkeyPatch) -> None:
    """Let pools of a megabyte have several units."""
    small = functools.partial(split, target_bytes=UNIT_BYTES)
    patch.setattr(corpus_module, "split", small)
    patch.setattr(scores_module, "split", small)
    parts = functools.partial(parts_of, target_bytes=UNIT_BYTES)
    patch.setattr(scoring_module, "parts_of", parts)


def write(path: Path, lines: Sequence[Line]) -> Path:
    """JSON lines (without line ends) as a file; its extension says in which form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(line + b"\n" for line in lines)
    if path.suffix == ".parquet":
        rows = [json.loads(line) for line in lines]
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {name: pa.array([row.get(name) for row in rows]) for name in names}
        pq.write_table(pa.table(columns), path, row_group_size=100, write_page_checksum=True)
        return path
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    elif path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path


def scatter(folder: Path, lines: Sequence[Line], names: Sequence[str]) -> Path:
    """The lines dealt out to files of these names, in turn."""
    for number, name in enumerate(names):
        write(folder / name, lines[number :: len(names)])
    return folder


def document(text: str, **fields: Any) -> Line:
    return json.dumps({"text": text, **fields}, ensure_ascii=False).encode()


def chosen(selection: Selection) -> dict[int, int]:
    """The chosen texts, by uid, and how many copies of each."""
    table = selection.table
    counts: dict[int, int] = {}
    for uid, count in zip(table["uid"].to_pylist(), table["count"].to_pylist(), strict=True):
        counts[uid] = counts.get(uid, 0) + count
    return counts


def shards(folder: Path) -> dict[str, bytes]:
    """The written files, byte for byte."""
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def written(folder: Path) -> list[Line]:
    """The written lines, in order, of whatever form."""
    found: list[Line] = []
    for path in sorted((folder / "data").iterdir()):
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        elif path.suffix == ".gz":
            data = gzip.decompress(data)
        assert data == b"" or data.endswith(b"\n")
        found += data.split(b"\n")[:-1]
    return found


def utilities(scores: Scores) -> dict[int, tuple[float, ...]]:
    """The exact utilities of each text."""
    table = scores.to_arrow()
    columns = [table[name].to_pylist() for name in ("uid", *scores.table.utilities)]
    return {uid: tuple(values) for uid, *values in zip(*columns, strict=True)}


def bad_lines(folder: Path) -> list[dict[str, Any]]:
    """The quarantine of a run."""
    path = folder / "quarantine" / "bad-lines.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def leftovers(folder: Path) -> list[str]:
    """Files under temporary names: a run, finished or failed, leaves none."""

    def temporary(path: Path) -> bool:
        return path.name.startswith(".partial-") or path.suffix in (".tmp", ".part")

    return [str(path.relative_to(folder)) for path in folder.rglob("*") if temporary(path)]


def texts(lines: Sequence[Line]) -> Iterator[str]:
    for line in lines:
        yield json.loads(line)["text"]
