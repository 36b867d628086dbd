"""Documents that lie in memory or come from an iterator, written to files that can be read twice.

Spooled files are named after their content, so that the same documents give the same file, left as
it is, and a run that resumes finds its input unchanged.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from dataworth.corpus.files import (
    flush,
    open_for_writing,
    parquet_writer,
    put,
    readable,
    temporary_name,
    writing_to,
)
from dataworth.corpus.read.frames import check_names
from dataworth.corpus.write.convert import plain_table
from dataworth.errors import InputError

log = logging.getLogger("dataworth")

ROW_GROUP_BYTES: Final = 32 * 2**20
_BATCH = 1000


def is_dataset(source: object) -> bool:
    """Tell if this is a HF `Dataset` or `IterableDataset`, without importing `datasets`."""
    return _hf_class(source) in ("Dataset", "IterableDataset")


def is_dataset_dict(source: object) -> bool:
    """Tell if this is a HF `DatasetDict`: several datasets by split."""
    return _hf_class(source) in ("DatasetDict", "IterableDatasetDict")


def _hf_class(source: object) -> str | None:
    for kind in type(source).__mro__:
        if kind.__module__.partition(".")[0] == "datasets":
            return kind.__name__
    return None


def spool_dataset(dataset: Any, folder: Path) -> Path:
    """Write a HF dataset: a `Dataset` as Parquet with its types, a stream as JSON lines."""
    if _hf_class(dataset) == "IterableDataset":
        return spool_rows(dataset, folder, "text")
    if dataset.format["type"] == "custom":  # a transform, which another format would leave out
        return spool_rows(dataset, folder, "text")
    tables = dataset.with_format("arrow").iter(batch_size=_BATCH)
    return spool_tables(tables, folder, "the dataset")


def spool_tables(tables: Iterable[pa.Table], folder: Path, what: str) -> Path:
    """Write Arrow tables of one schema as a Parquet file; return its path. Raises InputError."""
    remaining = iter(tables)
    first = next(remaining, None)
    if first is None or len(first.schema) == 0:
        raise InputError(f"{what} holds no rows")
    check_names(first.schema.names)
    first = _plain_table(first, what)
    for field in first.schema:
        _check_parquet(field, what)
    rows = 0
    with _by_content(folder, ".parquet") as (file, result):
        with parquet_writer(file, first.schema, folder) as out:
            plain = (_plain_table(table, what) for table in remaining)
            for group in _row_groups(itertools.chain([first], plain)):
                try:
                    with writing_to(folder):
                        out.write_table(group, row_group_size=max(1, len(group)))
                except pa.ArrowException as error:
                    said = " ".join(str(error).split())[:300]
                    raise InputError(
                        f"{what} cannot be written as Parquet ({said}); turn the column at fault "
                        f"into strings, or drop it"
                    ) from error
                rows += len(group)
        if not rows:
            raise InputError(f"{what} holds no rows")
    return _said(result[0], rows)


def _plain_table(table: pa.Table, what: str) -> pa.Table:
    try:
        return plain_table(table)
    except pa.ArrowException as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"{what} cannot be read ({said}); turn the column at fault into strings, or drop it"
        ) from error


def _check_parquet(field: pa.Field, what: str) -> None:
    """Raise InputError for a column of a type that Parquet does not have."""
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
    except pa.ArrowException as error:
        raise InputError(
            f"column {field.name!r} of {what} is of the type {field.type}, which Parquet does not "
            "have; turn it into strings, or drop it"
        ) from error


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += table.nbytes
        if size >= ROW_GROUP_BYTES:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)


def spool_rows(rows: Iterable[Any], folder: Path, text_field: str) -> Path:
    """Write strings (as {text_field: …}) and dictionaries as JSON lines; return the file's path.

    Raises InputError, naming the element, for anything else and for what JSON cannot hold, and
    when there is no element.
    """
    count = 0
    with _by_content(folder, ".jsonl") as (file, result):
        for batch in _batches(rows):
            lines = [_line(row, count + at, text_field) for at, row in enumerate(batch)]
            count += len(lines)
            with writing_to(folder):
                file.write(b"".join(lines))
        if not count:
            raise InputError("no documents: the iterable given is empty")
    return _said(result[0], count)


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch


def _line(row: Any, number: int, text_field: str) -> bytes:
    """One JSON line, with its line end."""
    if isinstance(row, pa.Scalar):
        row = row.as_py()
    if isinstance(row, str):
        if number == 0:
            _check_no_row(row, text_field)
        row = {text_field: row}
    elif not isinstance(row, Mapping):
        raise InputError(
            f"document {number} is of type {type(row).__name__}; give strings or dictionaries"
        )
    try:
        options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
        return orjson.dumps(row, option=options, default=_plain)
    except TypeError as error:
        try:
            # Lone surrogates: written as escapes, so that the reader counts the row as bad.
            return json.dumps(row, default=_plain).encode() + b"\n"
        except (TypeError, ValueError):
            raise InputError(
                f"document {number} holds a value that JSON cannot ({error}); turn it into a "
                f"string or leave it out"
            ) from error


def _check_no_row(text: str, text_field: str) -> None:
    """Raise InputError for a text that is a row written as JSON, such as the line of a file."""
    if text.lstrip().startswith("{"):
        with suppress(orjson.JSONDecodeError):
            if text_field in orjson.loads(text):
                raise InputError(
                    f"document 0 is a string that holds a row as JSON, with the field "
                    f"{text_field!r}; give the rows decoded (json.loads), or the path of the file"
                )


def _plain(value: Any) -> Any:
    """Values that orjson does not know, as ones it does."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray):  # not contiguous, or of strings
        return value.tolist()
    raise TypeError(f"type {type(value).__name__}")


@contextmanager
def _by_content(folder: Path, extension: str) -> Iterator[tuple[BinaryIO, list[Path]]]:
    """Yield a file to write, and a list that holds its path once it is named after its content."""
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(folder / f"documents{extension}")
        file = open_for_writing(temporary)
    result: list[Path] = []
    try:
        with file:
            yield file, result
        with temporary.open("rb") as whole:
            digest = hashlib.file_digest(whole, "blake2b").hexdigest()[:16]
        path = folder / f"documents-{digest}{extension}"
        if not path.exists():
            with writing_to(path):
                flush(temporary)
                put(temporary, path)
        result.append(path)
    finally:
        temporary.unlink(missing_ok=True)


def _said(path: Path, rows: int) -> Path:
    size = readable(path.stat().st_size)
    log.info("wrote %d documents given in memory to %s (%s), to be read again", rows, path, size)
    return path
