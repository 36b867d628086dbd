"""Tables of other libraries as Arrow tables, told by what they offer, without importing any."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.interchange

from dataworth.errors import InputError

_FAILURES: Any = Exception
"""Each library raises errors of its own kinds while it exports a table."""


def tables_of(source: Any, text_field: str) -> Iterable[pa.Table] | None:
    """Return the batches of a table of any library; None if it is no table.

    A single column is no table: its elements are the documents. Values of an object column that
    have no common type become JSON, strings stay; the column `text_field` must be of strings alone.
    Raises InputError naming the column.
    """
    if hasattr(source, "collect_schema") and not hasattr(source, "__arrow_c_stream__"):
        try:
            source = source.collect()  # a plan of a table
        except _FAILURES as error:
            raise InputError(f"the table's plan cannot be run ({_line(error)})") from error
    if type(source).__module__.startswith("pyarrow._dataset") and hasattr(source, "head"):
        source = (
            source.to_reader() if hasattr(source, "to_reader") else source.scanner().to_reader()
        )
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    if hasattr(source, "__arrow_c_stream__"):
        check_names(_names(source))
        try:
            reader = pa.RecordBatchReader.from_stream(source)
        except _FAILURES as error:
            if _is_pandas(source):
                return [_from_pandas(source, text_field)]
            if not _is_frame(source):
                return None
            raise _refused(source, error) from error
        check_names(reader.schema.names)
        return _batches(reader, source)
    if hasattr(source, "__dataframe__"):
        try:
            table = pa.interchange.from_dataframe(source)
        except _FAILURES as error:
            raise _refused(source, error) from error
        check_names(table.column_names)
        return [table]
    return None


def check_names(names: Iterable[object], what: str = "the table") -> None:
    """Raise InputError if two columns have one name."""
    for name, count in Counter(map(str, names)).items():
        if count > 1:
            raise InputError(
                f"{what} has {count} columns named {name!r}; rename or drop all but one"
            )


def _batches(reader: pa.RecordBatchReader, source: Any) -> Iterator[pa.Table]:
    try:
        for batch in reader:
            yield pa.Table.from_batches([batch], reader.schema)
    except _FAILURES as error:
        raise _refused(source, error) from error


def _is_frame(source: Any) -> bool:
    """Return whether this has named columns; a lone column has none."""
    return hasattr(source, "columns") or isinstance(source, pa.Table | pa.RecordBatchReader)


def _names(source: Any) -> list[Any]:
    """Return the names of a frame's columns; none for Arrow's own tables, which list arrays."""
    return [] if isinstance(source, pa.Table) else list(getattr(source, "columns", ()))


def _is_pandas(source: Any) -> bool:
    return any(
        kind.__module__.partition(".")[0] == "pandas" and kind.__name__ == "DataFrame"
        for kind in type(source).__mro__
    )


def _from_pandas(frame: Any, text_field: str) -> pa.Table:
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    check_names(names)
    if text_field in names:
        _check_texts(frame.iloc[:, names.index(text_field)], text_field)
    columns = [_column(frame.iloc[:, number], name) for number, name in enumerate(names)]
    return pa.Table.from_arrays(columns, names=names)


def _check_texts(series: Any, name: str) -> None:
    """Raise InputError for a text that is no string."""
    for row, (value, there) in enumerate(zip(series, series.notna().tolist(), strict=True)):
        if there is True and not isinstance(value, str | bytes):
            raise InputError(
                f"column {name!r} of the table, the text, holds a value of type "
                f"{type(value).__name__} (row {row}); turn it into a string, or drop the row"
            )


def _column(series: Any, name: str) -> Any:
    try:
        return pa.array(series, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        there = series.notna()
    try:
        values = [
            None if there is False else value if isinstance(value, str) else _json(value)
            for value, there in zip(series, there.tolist(), strict=True)
        ]
        return pa.array(values, pa.large_string())
    except (TypeError, ValueError) as error:
        raise InputError(
            f"column {name!r} of the table holds values that are neither of one type nor can be "
            f"written as JSON ({_line(error)}); turn them into strings, or drop the column"
        ) from error


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, datetime.timedelta | decimal.Decimal | uuid.UUID | PurePath):
        return str(value)
    raise TypeError(f"type {type(value).__name__}")


def _refused(source: Any, error: BaseException) -> InputError:
    return InputError(
        f"{_at_fault(source)} cannot be read as Arrow data ({_line(error)}); turn it into strings, "
        f"or drop it"
    )


def _at_fault(source: Any) -> str:
    """Return the name of the first column that cannot be read alone, for messages."""
    for name in _names(source):
        try:
            pa.RecordBatchReader.from_stream(source[[name]]).read_all()
        except _FAILURES:
            return f"column {str(name)!r} of the table"
    return f"the table ({type(source).__module__}.{type(source).__name__})"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
