"""Rows of one format as rows of another: Parquet, JSON lines, plain text."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataworth.corpus.read.find import open_bytes, reading_from
from dataworth.corpus.read.formats import SourceFile
from dataworth.errors import InputError

_JSONL = "write the selection as jsonl.zst instead"


def json_lines(table: pa.Table) -> list[bytes]:
    """Return the rows of a table as JSON, without line ends.

    Times become ISO 8601 strings, durations seconds, decimals strings; NaN and infinity null.
    Raises InputError for binary columns, which JSON cannot hold.
    """
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        binary = _find_type(column.type, _is_binary)
        if binary is not None:
            raise InputError(
                f"column {name!r} is of type {column.type}, and JSON cannot hold bytes; write the "
                f"selection as parquet, or leave the column out of the pool"
            )
        columns.append(_plain_times(column).to_pylist())
    names = table.column_names
    rows = zip(*columns, strict=True)
    try:
        return [
            orjson.dumps(dict(zip(names, row, strict=True)), default=_json_value) for row in rows
        ]
    except TypeError as error:
        raise InputError(
            f"a row cannot be written as JSON ({error}); write the selection as parquet instead"
        ) from error


def text_rows(texts: Iterable[bytes], path: str) -> list[bytes]:
    """Documents of a text file as JSON rows: {"text", "source"}."""
    return [orjson.dumps({"text": text.decode("utf-8"), "source": path}) for text in texts]


def piece_rows(texts: Sequence[bytes], path: str, offsets: Sequence[int]) -> list[bytes]:
    """Pieces of documents as JSON rows: {"text", "source", "source_offset"}.

    `offsets`: where the row that a piece was cut from begins in its file.
    """
    return [
        orjson.dumps({"text": text.decode("utf-8"), "source": path, "source_offset": int(offset)})
        for text, offset in zip(texts, offsets, strict=True)
    ]


def infer_schema(lines: Iterable[bytes]) -> tuple[pa.Schema, dict[str, tuple[int, int]]]:
    """Return the Arrow schema that JSON rows have together, and where each field comes first.

    A place is the number of the row and that of the key in it.
    Fields are in the order of their appearance. Strings stay strings, whatever they look like.
    Raises InputError when the values of a field are of different kinds.
    """
    rows = [orjson.loads(line) for line in lines]
    first: dict[str, tuple[int, int]] = {}
    for number, row in enumerate(rows):
        for key, name in enumerate(row):
            first.setdefault(name, (number, key))
    fields = []
    for name in first:
        try:
            column = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise _no_type(name, error) from error
        fields.append(pa.field(name, column.type))
    return pa.schema(fields), first


def table_of(lines: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    """JSON rows as a table of a schema; what a row does not have is null. Raises InputError."""
    rows = [orjson.loads(line) for line in lines]
    columns = []
    for field in schema:
        try:
            columns.append(pa.array([row.get(field.name) for row in rows], field.type))
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise _no_type(field.name, error) from error
    return pa.Table.from_arrays(columns, schema=schema)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table's columns in the order and of the types of a wider schema, missing ones null."""
    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
            continue
        column = table.column(field.name)
        if column.type != field.type:
            column = _widen(column, field.type)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def unify(named: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    """One schema that holds the rows of all, each schema given with the name of what has it.

    Fields keep the order of their first appearance; numbers widen. The metadata is kept where all
    have the same. Raises InputError naming the field and both places where types do not fit.
    """
    merged = named[0][1]
    for origin, schema in named[1:]:
        if schema.equals(merged):
            continue
        try:
            merged = pa.unify_schemas([merged, schema], promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise _conflict(named, origin, schema) from error
    metadata = named[0][1].metadata
    if any(schema.metadata != metadata for _, schema in named):
        metadata = None
    everywhere = set.intersection(*(set(schema.names) for _, schema in named))
    fields = [
        field.with_nullable(field.nullable or field.name not in everywhere) for field in merged
    ]
    return pa.schema(fields, metadata)


def parquet_schema(
    files: Sequence[SourceFile],
    storage_options: Mapping[str, Any] | None = None,
    text: Sequence[str] = (),
) -> pa.Schema | None:
    """The schema that holds the rows of all Parquet files among these; None if there is none.

    The columns `text` are strings, see `as_text`.

    Raises InputError when a file cannot be read or when types of two files do not fit.
    """
    named = []
    for file in files:
        if file.format != "parquet":
            continue
        with (
            reading_from(file.path),
            open_bytes(file.path, storage_options or {}) as stream,
        ):
            named.append((file.path, as_text(pq.ParquetFile(stream).schema_arrow, text)))
    return unify(named) if named else None


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema with views, which few kernels take, as strings and binaries; no run ends."""
    fields = [field.with_type(_plain_type(field.type)) for field in schema]
    return pa.schema(fields, schema.metadata)


def plain_table(table: pa.Table) -> pa.Table:
    """Return a table without views and run ends. Raises pa.ArrowException."""
    schema = plain_schema(table.schema)
    columns = [
        pa.chunked_array([_plain_array(chunk, field.type) for chunk in column.chunks], field.type)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _plain_array(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    if pa.types.is_dictionary(array.type) and _is_view(array.type.value_type):
        # Arrow has no kernel that looks views up.
        values = array.dictionary.cast(_plain_type(array.type.value_type))
        array = pa.DictionaryArray.from_arrays(array.indices, values)
    return array.cast(kind)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return a type without views, at any depth; types without any stay as they are."""
    if _find_type(kind, _is_view) is None:
        return kind
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_map(kind):
        return pa.map_(_plain_type(kind.key_type), _plain_type(kind.item_type), kind.keys_sorted)
    inner = [
        kind.field(number).with_type(_plain_type(kind.field(number).type))
        for number in range(kind.num_fields)
    ]
    if pa.types.is_struct(kind):
        return pa.struct(inner)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(inner[0], kind.list_size)
    large = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
    return pa.large_list(inner[0]) if large else pa.list_(inner[0])


def _is_view(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (
            pa.types.is_string_view,
            pa.types.is_binary_view,
            pa.types.is_list_view,
            pa.types.is_large_list_view,
            pa.types.is_run_end_encoded,
        )
    )


def as_text(schema: pa.Schema, paths: Sequence[str]) -> pa.Schema:
    """Return a schema without views, in which the columns at `paths` are strings, not bytes.

    Parquet files of many writers hold text without saying that it is.
    """
    schema = plain_schema(schema)
    for path in paths:
        at = schema.get_field_index(path)
        kind = schema.field(at).type if at >= 0 else pa.null()
        if _is_binary(kind.value_type if pa.types.is_dictionary(kind) else kind):
            schema = schema.set(at, schema.field(at).with_type(pa.large_string()))
    return schema


def check_writable(schema: pa.Schema) -> None:
    """Raise InputError for what Parquet cannot hold: objects that are always empty."""
    for field in schema:
        empty = _find_type(field.type, lambda kind: pa.types.is_struct(kind) and not len(kind))
        if empty is not None:
            raise InputError(
                f"field {field.name!r} holds an object that is always empty, which Parquet cannot "
                f"hold; {_JSONL}"
            )


def _widen(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        # Objects that gain fields: not every version of pyarrow casts them.
        return pa.chunked_array([pa.array(column.to_pylist(), kind)])


def _conflict(named: Sequence[tuple[str, pa.Schema]], place: str, schema: pa.Schema) -> InputError:
    for other, earlier in named:
        for field in schema:
            if field.name not in earlier.names:
                continue
            kind = earlier.field(field.name).type
            pair = [pa.schema([(field.name, kind)]), pa.schema([(field.name, field.type)])]
            try:
                pa.unify_schemas(pair, promote_options="permissive")
            except (pa.ArrowTypeError, pa.ArrowInvalid):
                return InputError(
                    f"field {field.name!r} is of type {kind} in {other} and {field.type} in "
                    f"{place}, which no Parquet column holds together; {_JSONL}, or convert one"
                )
    return InputError(f"the fields of {place} do not fit those of the files before; {_JSONL}")


def _no_type(name: str, error: Exception) -> InputError:
    said = " ".join(str(error).split())
    return InputError(
        f"field {name!r} has values of different kinds, which no Parquet column holds together "
        f"({said[:200]}); {_JSONL}"
    )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _find_type(kind: pa.DataType, wanted: Any) -> pa.DataType | None:
    """Return the first type within a type, itself included, that is wanted."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if wanted(kind):
        return kind
    if pa.types.is_dictionary(kind):
        return _find_type(kind.value_type, wanted)
    for number in range(kind.num_fields):
        found = _find_type(kind.field(number).type, wanted)
        if found is not None:
            return found
    return None


def _plain_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Nanosecond times as ISO strings where Python's own types would cut them short."""
    kind = column.type
    if not pa.types.is_timestamp(kind) or kind.unit != "ns":
        return column
    try:
        return column.cast(pa.timestamp("us", kind.tz))
    except pa.ArrowInvalid:
        text = pa.compute.strftime(column, format="%Y-%m-%dT%H:%M:%S")
        if kind.tz is None:
            return text
        return pa.compute.binary_join_element_wise(
            text, pa.compute.strftime(column, format="%z"), ""
        )


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime.datetime):  # pandas' own, which holds nanoseconds
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    raise TypeError(f"type {type(value).__name__}")
