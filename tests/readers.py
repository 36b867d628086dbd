"""What the tests of the readers share: units of files, blocks of bytes, rows to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dataworth.corpus.fields import Fields
from dataworth.corpus.kernels.utf8 import PADDING
from dataworth.corpus.read.blocks import LineBlock
from dataworth.corpus.read.formats import SourceFile, format_of
from dataworth.corpus.read.jsonl import Scanner, read_jsonl
from dataworth.corpus.read.lines import read_lines
from dataworth.corpus.read.reader import Block, read
from dataworth.corpus.read.rows import Rows
from dataworth.corpus.units import Unit

FILE = "/pool/a.jsonl"


def unit_of(path: Path, start: int = 0, end: int | None = None) -> Unit:
    """A unit of a file: all of it, or a part."""
    known = format_of(path.name)
    assert known is not None
    file = SourceFile(str(path), *known, size=path.stat().st_size, modified=None)
    return Unit(0, file, 0, start, file.size if end is None else end)


def line_block(data: bytes, padding: bytes = b"\0") -> LineBlock:
    """Bytes as the block reader hands them on; anything may stand after them."""
    after = (padding * PADDING)[:PADDING]
    ends = data[-1:] == b"\n"
    buffer = np.frombuffer(bytearray(data + (b"" if ends else b"\n") + after + b"\0"), np.uint8)
    return LineBlock(buffer, 0, len(data), 0)


def by_scan(data: bytes, fields: Fields, padding: bytes = b"\0") -> list[Any]:
    """What the compiled reader makes of bytes."""
    return plain(Scanner(fields).read(line_block(data, padding), FILE, 1)) if data else []


def by_line(data: bytes, fields: Fields) -> list[Any]:
    """What the line-by-line reader makes of bytes."""
    return plain(read_lines(data, fields, file=FILE, offset=0, first_line=1)) if data else []


def plain(rows: Rows) -> list[Any]:
    """Rows as plain values, for comparing."""
    return [
        [rows.data[s:e].tobytes() for s, e in zip(rows.starts, rows.ends, strict=True)],
        rows.offset.tolist(),
        rows.bytes.tolist(),
        {name: (str(c.type), c.to_pylist()) for name, c in rows.columns.items()},
        sorted(rows.bad, key=lambda bad: bad.line),
        rows.lines,
        rows.blank,
    ]


def read_all(unit: Unit, fields: Fields | None = None, block_bytes: int = 2**22) -> list[Block]:
    """All blocks of a unit."""
    return list(read(unit, fields or Fields(), block_bytes=block_bytes))


def texts(blocks: list[Block]) -> list[str]:
    """The documents' texts."""
    return [text for block in blocks for text in block.documents.texts()]


def reasons(blocks: list[Block]) -> list[tuple[int, str]]:
    """Line and reason of every bad line."""
    return [(bad.line, bad.reason) for block in blocks for bad in block.bad]


def json_rows(unit: Unit, fields: Fields, block_bytes: int, fast: bool = True) -> list[Any]:
    """All of a JSONL unit as plain values, its blocks put together."""
    whole: list[Any] = [[], [], [], {}, [], 0, 0]
    for rows, _ in read_jsonl(unit, fields, block_bytes=block_bytes, fast=fast):
        part = plain(rows)
        for at in (0, 1, 2, 4, 5, 6):
            whole[at] += part[at]
        for name, (kind, values) in part[3].items():
            whole[3].setdefault(name, (kind, []))[1].extend(values)
    return whole
