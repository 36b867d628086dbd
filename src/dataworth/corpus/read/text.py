"""Plain text: a document a file, or a document a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.fields import Fields
from dataworth.corpus.kernels.utf8 import count_lines, text_lines, valid_utf8
from dataworth.corpus.read.blocks import LineBlock, LongLine, line_blocks
from dataworth.corpus.read.lines import too_long
from dataworth.corpus.read.rows import SAMPLE_BYTES, BadLine, Rows, empty_bytes, label_paths
from dataworth.corpus.read.streams import open_stream
from dataworth.corpus.units import Unit

_STEP = 2**20
_MARK = b"\xef\xbb\xbf"
_NOT_UTF8 = "the text is not UTF-8"


def read_text(
    unit: Unit,
    fields: Fields,
    *,
    options: Mapping[str, Any] | None = None,
    block_bytes: int,
) -> Iterator[tuple[Rows, int]]:
    """Yield a unit's documents, each block with the uncompressed bytes it took.

    A text has no fields: its labels are null. Byte order marks are left out, and of lines their
    ends; a file that is a document is kept as it is.
    """
    if fields.txt == "file":
        yield from _whole(unit, fields, options)
        return
    whole = unit.file.compression is not None
    start, end = (0, None) if whole else (unit.start, unit.end)
    lines = 0
    with open_stream(unit.file, max(start - 1, 0), options) as stream:
        for block in line_blocks(stream, start, end, block_bytes, fields.max_line_bytes):
            if isinstance(block, LongLine):
                rows = _rows(np.zeros(0, np.uint8), *(np.zeros(0, np.int64),) * 3, fields)
                rows.lines = 1
                detail = too_long(block.bytes, fields)
                place = (unit.file.path, lines + 1, block.offset, block.bytes)
                rows.bad.append(BadLine(*place, "line_too_long", detail, block.sample))
                taken = block.bytes + 1
            else:
                rows = _lines(block, fields, unit.file.path, lines + 1)
                taken = block.end
            lines += rows.lines
            yield rows, taken


def _rows(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    offset: NDArray[np.int64],
    fields: Fields,
) -> Rows:
    nothing = pa.nulls(len(starts), pa.string())
    return Rows(
        data=data,
        starts=starts,
        ends=starts + sizes,
        offset=offset,
        bytes=sizes,
        columns=dict.fromkeys(label_paths(fields), nothing),
    )


def _lines(block: LineBlock, fields: Fields, file: str, first_line: int) -> Rows:
    data, start, end = block.data, block.start, block.end
    most = int(count_lines(data, start, end)) + 1
    line, offset, size = (np.empty(most, np.int64) for _ in range(3))
    valid = np.empty(most, np.bool_)
    count = text_lines(data, start, end, line, offset, size, valid)
    line, offset, size, valid = line[:count], offset[:count], size[:count], valid[:count]
    shift = block.offset - start
    long = size > fields.max_line_bytes
    good = valid & ~long
    kept = empty_bytes(end)
    kept[:] = data[:end]
    rows = _rows(kept, offset[good], size[good], offset[good] + shift, fields)
    rows.lines = most - int(data[end - 1] == 10)
    rows.blank = rows.lines - count
    for row in np.flatnonzero(~good).tolist():
        at, length = int(offset[row]), int(size[row])
        reason = "line_too_long" if long[row] else "invalid_utf8"
        detail = too_long(length, fields) if long[row] else _NOT_UTF8
        sample = data[at : at + min(length, SAMPLE_BYTES)].tobytes()
        number = first_line + int(line[row])
        rows.bad.append(BadLine(file, number, at + shift, length, reason, detail, sample))
    return rows


def _whole(
    unit: Unit, fields: Fields, options: Mapping[str, Any] | None
) -> Iterator[tuple[Rows, int]]:
    """Yield the file as one document; an empty one is none."""
    pieces: list[NDArray[np.uint8]] = []
    size = 0
    with open_stream(unit.file, 0, options) as stream:
        while True:
            piece = np.empty(_STEP, np.uint8)
            count = stream.readinto(piece)
            size += count
            # Of a file that is too long only the start is kept.
            if count and (not pieces or size <= fields.max_line_bytes + len(_MARK)):
                pieces.append(piece[:count])
            if count < _STEP:
                break
    data = np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)
    mark = len(_MARK) * (data[:3].tobytes() == _MARK)
    length = size - mark
    starts, sizes = np.array([mark], np.int64), np.array([length], np.int64)
    long = length > fields.max_line_bytes
    valid = np.zeros(1, np.bool_)
    if not long:
        valid_utf8(data, starts, starts + sizes, valid)
    keep = valid & (sizes > 0)
    rows = _rows(data, starts[keep], sizes[keep], starts[keep], fields)
    rows.lines = int(length > 0)
    if length and not keep[0]:
        reason = "line_too_long" if long else "invalid_utf8"
        detail = too_long(length, fields) if long else _NOT_UTF8
        sample = data[mark : mark + SAMPLE_BYTES].tobytes()
        rows.bad.append(BadLine(unit.file.path, 1, mark, length, reason, detail, sample))
    yield rows, size
