"""Parquet: documents from the columns they need, and whole rows of the chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataworth.corpus.fields import Fields, RowError, chat_of, missing, paths_read
from dataworth.corpus.kernels.utf8 import valid_utf8
from dataworth.corpus.read.frames import check_names
from dataworth.corpus.read.rows import (
    SAMPLE_BYTES,
    BadLine,
    Rows,
    RowsBuilder,
    label_paths,
    labels_of,
)
from dataworth.corpus.read.streams import damage, open_raw
from dataworth.corpus.units import Unit
from dataworth.corpus.write.convert import as_text, plain_schema
from dataworth.errors import InputError

_EMPTY = np.zeros(0, np.uint8)
_MOST_ROWS = 2**16  # of a batch, whatever the footer says of their bytes
_DELTA_ROWS = 256  # of a batch whose values may begin as the ones before them
_DECODED_BYTES = 256 * 2**20  # of a batch, at most
_PAGE_BYTES = 2**16


@contextmanager
def _reading(unit: Unit, place: str) -> Iterator[None]:
    """Name the place in the file where reading fails."""
    with damage(unit.file.path, place):
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            # Arrow tells damage to the content as an OSError without a number.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(
                f"{unit.file.path}: the file is cut or damaged {place} "
                f"({said[0].rstrip('.')}); fetch it again, or leave it out"
            ) from error


@contextmanager
def _opened(unit: Unit, options: Mapping[str, Any] | None, **how: Any) -> Iterator[pq.ParquetFile]:
    with open_raw(unit.file, options) as raw:
        # The stream of a local file would go through Python for every read.
        source = raw if unit.file.is_url else unit.file.path
        with _reading(unit, "in its footer"):
            # Damage within a page is found where the file has checksums.
            file = pq.ParquetFile(
                source, pre_buffer=unit.file.is_url, page_checksum_verification=True, **how
            )
        with file:
            yield file


def _groups(file: pq.ParquetFile, unit: Unit) -> Iterator[tuple[int, int, int]]:
    """Yield the row groups of a unit: number, first row, row after the last."""
    start = 0
    for group in range(file.metadata.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        if unit.start <= start < unit.end:
            yield group, start, end
        start = end


def _batches(
    file: pq.ParquetFile,
    unit: Unit,
    options: Mapping[str, Any] | None,
    group: int,
    columns: list[str] | None,
    block_bytes: int,
) -> Iterator[pa.RecordBatch]:
    """Batches of a row group of about `block_bytes`, by its footer; never of much more.

    What is stored once may be there in every row: a dictionary of some kilobytes, or long common
    beginnings, decode to any size. So a batch has no more rows than its longest values allow.
    """
    about = file.metadata.row_group(group)
    wanted = {path.split(".")[0] for path in columns or ()}
    held = [
        column
        for column in map(about.column, range(about.num_columns))
        if columns is None or column.path_in_schema.split(".")[0] in wanted
    ]
    size = sum(column.total_uncompressed_size for column in held)
    count = min(max(1, about.num_rows * block_bytes // max(size, 1)), _MOST_ROWS)
    if any("DELTA_BYTE_ARRAY" in column.encodings for column in held):
        count = min(count, _DELTA_ROWS)
    # Of a dictionary, no value is longer than all that is stored of its column.
    dear = [
        column
        for column in held
        if column.physical_type == "BYTE_ARRAY"
        and column.has_dictionary_page
        and column.total_uncompressed_size * count > _DECODED_BYTES
    ]
    if dear:
        count = min(count, max(1, _DECODED_BYTES // max(1, _decoded(unit, options, group, dear))))
    yield from file.iter_batches(
        batch_size=min(count, about.num_rows) or 1,
        row_groups=[group],
        columns=columns,
        use_threads=False,
    )


def _longest(array: pa.Array) -> int:
    """Return the bytes of the longest value in the dictionaries of an array, however nested."""
    if pa.types.is_dictionary(array.type):
        if not _is_text(array.type.value_type) or not len(array.dictionary):
            return 0
        return int(pc.max(pc.binary_length(array.dictionary)).as_py() or 0)
    if pa.types.is_struct(array.type):
        return sum(_longest(array.field(place)) for place in range(array.type.num_fields))
    if pa.types.is_map(array.type):
        return _longest(array.keys) + _longest(array.items)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return _longest(array.values)
    return 0


def _decoded(unit: Unit, options: Mapping[str, Any] | None, group: int, held: list[Any]) -> int:
    """Return about the bytes of a row that has the longest values of all dictionaries."""
    paths = [column.path_in_schema for column in held]
    with _opened(unit, options, read_dictionary=paths, buffer_size=_PAGE_BYTES) as file:
        rows = max(1, file.metadata.row_group(group).num_rows)
        try:
            batch = next(file.iter_batches(1, row_groups=[group], columns=paths), None)
        except (pa.ArrowException, OSError):  # of a type without dictionaries, or damaged
            return _DECODED_BYTES // _DELTA_ROWS
        longest: int = 0 if batch is None else sum(map(_longest, batch.columns))
        repeats: int = max(-(-column.num_values // rows) for column in held)
        return longest * repeats


def read_parquet(
    unit: Unit,
    fields: Fields,
    *,
    options: Mapping[str, Any] | None = None,
    block_bytes: int,
) -> Iterator[tuple[Rows, int]]:
    """Yield a unit's rows, batch after batch, each with the bytes of Arrow data it came from."""
    paths = paths_read(fields)
    columns = None if paths is None else list(paths)
    with _opened(unit, options) as file:
        check_names(file.schema_arrow.names, f"{unit.file.path}: the file")
        for group, start, _ in _groups(file, unit):
            batches = _batches(file, unit, options, group, columns, block_bytes)
            at = start
            while True:
                with _reading(unit, f"in row group {group}"):
                    batch = next(batches, None)
                if batch is None:
                    break
                yield _rows(batch, fields, unit, at, file.schema_arrow.names), batch.nbytes
                at += batch.num_rows


def read_parquet_rows(
    unit: Unit,
    offsets: NDArray[np.int64],
    *,
    text: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    block_bytes: int,
) -> Iterator[pa.Table]:
    """Whole rows by their numbers in the file, ascending; only row groups that hold some.

    Columns named in `text` come as strings, see `convert.as_text`.
    """
    with _opened(unit, options) as file:
        for group, start, end in _groups(file, unit):
            low, high = np.searchsorted(offsets, (start, end))
            if low == high:
                continue
            batches = _batches(file, unit, options, group, None, block_bytes)
            at = start
            while True:
                with _reading(unit, f"in row group {group}"):
                    batch = next(batches, None)
                if batch is None:
                    break
                low, high = np.searchsorted(offsets, (at, at + batch.num_rows))
                if low < high:
                    with _reading(unit, f"in row group {group}"):
                        plain = batch.cast(plain_schema(batch.schema))
                    chosen = plain.take(pa.array(offsets[low:high] - at))
                    # Rows that are not chosen may hold bytes that are no text.
                    table = pa.Table.from_batches([chosen.cast(as_text(chosen.schema, text))])
                    yield table.replace_schema_metadata(file.schema_arrow.metadata)
                at += batch.num_rows


def _rows(
    batch: pa.RecordBatch, fields: Fields, unit: Unit, first: int, names: Sequence[str]
) -> Rows:
    """Return the documents of a batch. `names`: all columns of the file, for messages."""
    if len(fields.text) == 1 and fields.template is None:
        return _from_column(batch, fields, unit, first, names)
    return _row_by_row(batch, fields, unit, first)


def _column(batch: pa.RecordBatch, path: str) -> pa.Array | None:
    """The column at a dotted path, the longest name that fits first, as `fields.lookup` does."""
    if path in batch.schema.names:
        return batch.column(path)
    cut = path.rfind(".")
    while cut > 0:
        if path[:cut] in batch.schema.names:
            outer = batch.column(path[:cut])
            if pa.types.is_struct(outer.type):
                inner = _column(_children(outer), path[cut + 1 :])
                if inner is not None:
                    return inner
        cut = path.rfind(".", 0, cut)
    return None


def _children(array: pa.StructArray) -> pa.RecordBatch:
    """Return a struct's fields as columns, null where the struct is."""
    names = [array.type.field(i).name for i in range(array.type.num_fields)]
    return pa.RecordBatch.from_arrays(array.flatten(), names=names)


def _from_column(
    batch: pa.RecordBatch, fields: Fields, unit: Unit, first: int, names: Sequence[str]
) -> Rows:
    """Rows whose text is one column: without a copy where Arrow's layout allows it."""
    count = batch.num_rows
    reasons = np.full(count, "", object)
    data, starts, ends = _EMPTY, np.zeros(count, np.int64), np.zeros(count, np.int64)
    column = _column(batch, fields.text[0])
    detail = fields.text[0]
    if column is None:
        reasons[:] = "missing_field"
        detail = missing(names, detail)
    else:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if _is_text(column.type):
            data, starts, ends = _buffers(column)
            valid = np.empty(count, np.bool_)
            valid_utf8(data, starts, ends, valid)
            reasons[~valid] = "invalid_utf8"
            reasons[starts == ends] = "empty_text"
        else:
            detail = f"{detail} is of type {column.type}"
            reasons[:] = "text_not_a_string"
        reasons[~_there(column)] = "null_text"
    long = ends - starts > fields.max_line_bytes
    reasons[long & (reasons == "")] = "line_too_long"
    good = np.flatnonzero(reasons == "")
    rows = Rows(
        data=data,
        starts=starts[good],
        ends=ends[good],
        offset=first + good,
        bytes=ends[good] - starts[good],
        columns={
            name: _labels(_column(batch, path), count).take(pa.array(good))
            for name, path in label_paths(fields).items()
        },
        lines=count,
    )
    for row in np.flatnonzero(reasons != "").tolist():
        begin, end = int(starts[row]), int(ends[row])
        rows.bad.append(
            BadLine(
                file=unit.file.path,
                line=first + row + 1 - unit.start,
                offset=first + row,
                bytes=end - begin,
                reason=reasons[row],
                detail=detail,
                sample=data[begin : min(end, begin + SAMPLE_BYTES)].tobytes(),
            )
        )
    return rows


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
            pa.types.is_fixed_size_binary,
        )
    )


def _there(column: pa.Array) -> NDArray[np.bool_]:
    there: NDArray[np.bool_] = column.is_valid().to_numpy(zero_copy_only=False)
    return there


def _buffers(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Bytes, starts and ends of strings or binaries; a null has no length."""
    if not len(column):
        return _EMPTY, np.zeros(0, np.int64), np.zeros(0, np.int64)
    narrow = pa.types.is_string(column.type) or pa.types.is_binary(column.type)
    if not narrow and not pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    _, places, content = column.buffers()
    kind = np.dtype(np.int32 if narrow else np.int64)
    skip = column.offset * kind.itemsize
    offsets = np.frombuffer(places, kind, len(column) + 1, skip).astype(np.int64)
    data = _EMPTY if content is None else np.frombuffer(content, np.uint8)
    starts, ends = offsets[:-1], offsets[1:]
    return data, np.ascontiguousarray(starts), np.where(_there(column), ends, starts)


def _labels(column: pa.Array | None, count: int) -> pa.StringArray:
    """A label column: strings as they are, other values as JSON, as `fields.label_of` has it."""
    if column is None:
        return pa.nulls(count, pa.string())
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if _is_text(kind) and not _holds_bytes(kind):
        return column.cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pc.cast(column, pa.string())
    return pa.array([_label(value) for value in column.to_pylist()], pa.string())


def _holds_bytes(kind: pa.DataType) -> bool:
    return not (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _label(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return orjson.dumps(value, default=str).decode()


def _row_by_row(batch: pa.RecordBatch, fields: Fields, unit: Unit, first: int) -> Rows:
    """Rows whose text is put together from several values."""
    builder = RowsBuilder(fields)
    builder.lines = batch.num_rows
    for number, row in enumerate(batch.to_pylist()):
        row_number = first + number
        try:
            text, spans, unread = chat_of(row, fields)
            content = text.encode("utf-8")
            if len(content) > fields.max_line_bytes:
                raise RowError("line_too_long", f"{len(content):,} bytes of text")
            builder.add(
                content, row_number, len(content), labels_of(row, builder.paths), spans, unread
            )
        except RowError as error:
            line = row_number + 1 - unit.start
            sample = str(row).encode("utf-8", "replace")[:SAMPLE_BYTES]
            builder.bad.append(
                BadLine(unit.file.path, line, row_number, 0, error.reason, error.detail, sample)
            )
    return builder.rows()
