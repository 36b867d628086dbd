"""Documents out of units and chosen rows back, whatever the format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.folders import with_folder_keys
from dataworth.corpus.read.jsonl import read_jsonl
from dataworth.corpus.read.parquet import read_parquet, read_parquet_rows
from dataworth.corpus.read.places import read_places
from dataworth.corpus.read.rows import PIECE, BadLine, Rows, label_paths
from dataworth.corpus.read.text import read_text
from dataworth.corpus.uid import marked, uids
from dataworth.corpus.units import Unit
from dataworth.corpus.write.convert import piece_rows
from dataworth.errors import ConfigError

__all__ = ["BLOCK_BYTES", "BadLine", "Block", "read", "read_rows"]

BLOCK_BYTES = 4 * 2**20


@dataclass
class Block:
    """Some documents of a unit, in order, and what was left out beside them.

    `bad`: lines that are no documents. `lines` counts all lines, `blank` those of white space
    only, which are neither bad nor documents. `raw_bytes`: the uncompressed bytes consumed (of
    Parquet, those of the columns read). `unread`: how many chats hold something of a kind that
    was not read.
    """

    documents: Documents
    bad: list[BadLine]
    lines: int
    blank: int
    raw_bytes: int
    unread: Counter[str] = field(default_factory=Counter)


def read(
    unit: Unit,
    fields: Fields,
    *,
    storage_options: Mapping[str, Any] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Block]:
    """Yield the documents of a unit, in the order of the file, block by block.

    The blocks' texts are their own: they stay valid. Raises InputError, with file, place and
    remedy, for what cannot be skipped: a file that is damaged, cut (if compressed or Parquet) or
    not to be read; ConfigError for fields that do not go together.
    """
    if fields.split_words is not None and fields.template is not None:
        raise ConfigError("chats cannot be cut into pieces: leave out split_words or the template")
    for rows, taken in _read(unit, fields, storage_options, block_bytes):
        if fields.split_words is not None:
            # Its kernels need not be compiled for those who do not ask for it.
            from dataworth.corpus.read.pieces import split_words

            rows = split_words(rows, fields.split_words)
        rows.columns = with_folder_keys(rows.columns, unit.file.path, label_paths(fields))
        yield _block(rows, taken, unit)


def _read(
    unit: Unit, fields: Fields, options: Mapping[str, Any] | None, block_bytes: int
) -> Iterator[tuple[Rows, int]]:
    if unit.file.format == "parquet":
        return read_parquet(unit, fields, options=options, block_bytes=block_bytes)
    if unit.file.format == "txt":
        return read_text(unit, fields, options=options, block_bytes=block_bytes)
    return read_jsonl(unit, fields, options=options, block_bytes=block_bytes)


def _block(rows: Rows, taken: int, unit: Unit) -> Block:
    uid = uids(rows.data, rows.starts, rows.ends)
    documents = Documents(
        data=rows.data,
        starts=rows.starts,
        ends=rows.ends,
        uid=uid if rows.marks is None else marked(uid, rows.marks),
        file=np.full(len(rows.starts), unit.file_index, np.int32),
        offset=rows.offset,
        bytes=rows.bytes,
        columns=rows.columns,
        spans=rows.spans,
    )
    return Block(documents, rows.bad, rows.lines, rows.blank, taken, rows.unread)


def read_rows(
    unit: Unit,
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    *,
    fields: Fields,
    pieces: NDArray[np.int64] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[pa.LargeBinaryArray | pa.Table | list[bytes]]:
    """Chosen rows of a unit as they stand in the file, in the order given, in chunks.

    `offsets`, `sizes` int64 [k]: places as in `Documents`, ascending, each once. JSON lines come
    as their original bytes without line end, texts as theirs, Parquet rows as tables with all
    columns. With `fields.split_words`, `pieces` [k] has the pieces' numbers (places then ascend by
    offset and piece), and the chunks are lists of JSON rows, see `convert.piece_rows`: pieces are
    no rows of the file. Raises InputError if the file cannot be read or has become shorter.
    """
    if not len(offsets):
        return
    if fields.split_words is not None:
        if pieces is None:
            raise ConfigError("the documents are pieces of rows: name the pieces to read")
        yield from _read_pieces(unit, offsets, pieces, fields, storage_options, block_bytes)
    elif unit.file.format == "parquet":
        yield from read_parquet_rows(
            unit, offsets, text=fields.text, options=storage_options, block_bytes=block_bytes
        )
    else:
        yield from read_places(
            unit, offsets, sizes, options=storage_options, block_bytes=block_bytes
        )


def _read_pieces(
    unit: Unit,
    offsets: NDArray[np.int64],
    pieces: NDArray[np.int64],
    fields: Fields,
    options: Mapping[str, Any] | None,
    block_bytes: int,
) -> Iterator[list[bytes]]:
    wanted = set(zip(offsets.tolist(), np.asarray(pieces).tolist(), strict=True))
    for block in read(unit, fields, storage_options=options, block_bytes=block_bytes):
        documents = block.documents
        places = zip(documents.offset.tolist(), documents.columns[PIECE].to_pylist(), strict=True)
        rows = [row for row, place in enumerate(places) if place in wanted]
        if rows:
            texts = [
                documents.data[documents.starts[row] : documents.ends[row]].tobytes()
                for row in rows
            ]
            yield piece_rows(texts, unit.file.path, documents.offset[rows].tolist())
