"""A run's columns as Dolma attributes: files of JSON lines beside the documents, for other tools.

Soldaini et al. 2024, arXiv 2402.00159, and the toolkit's format as it is remembered: for each file
of documents one of attributes, with a row for each document in the same order,
`{"id": …, "attributes": {NAME: [[start, end, value], …]}}`, in characters of the text. An attribute
of a whole document has one span, [0, length of the text, value].
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.files import replacing, writing_to
from dataworth.corpus.read.formats import COMPRESSIONS, FORMATS
from dataworth.errors import ConfigError, RunError
from dataworth.flow.scoring import Scored
from dataworth.flow.texts import check_files
from dataworth.methods.base import DROP

_SPANS = "spans:"
_ENDINGS = {*COMPRESSIONS, *FORMATS}


def default_columns(scored: Scored) -> list[str]:
    """Return the columns that are written unless others are named: utilities, spans and `drop`."""
    spans = [name for name in scored.table.names if name.startswith(_SPANS)]
    return [*scored.table.utilities, *spans, DROP]


def attribute_name(column: str) -> str:
    """Return what a column is called as an attribute, such as `dataworth__utility__dsir__math`."""
    parts = [re.sub(r"\W+", "_", part) for part in column.split(":") if part]
    return "__".join(["dataworth", *parts])


def attribute_files(scored: Scored) -> list[PurePosixPath]:
    """Return the name of the attributes of each of the pool's files, relative, by their common
    folder."""
    paths = [file.path for file in scored.corpus.files]
    common = os.path.commonpath([str(PurePosixPath(p).parent) for p in paths]) if paths else ""
    names = []
    for path in paths:
        name = PurePosixPath(os.path.relpath(path, common) if common else path)
        while name.suffix in _ENDINGS:
            name = name.with_suffix("")
        names.append(name.with_name(f"{name.name}.jsonl.gz"))
    if len(set(names)) < len(names):
        names = [name.with_name(f"{n:05d}-{name.name}") for n, name in enumerate(names)]
    return names


def write_attributes(scored: Scored, folder: Path, columns: Sequence[str] = ()) -> list[Path]:
    """Write the columns of a run as attributes of the pool's files, and return what was written.

    Parameters
    ----------
    scored
        The run; the pool is read once, for the lengths of its texts in characters.
    folder
        Files of the same names as the pool's are written there, `.jsonl.gz`; those there before are
        replaced.
    columns
        Columns of numbers or spans, and `drop`, which becomes an attribute of value 1 for each
        reason. Without any: the utilities, the spans and `drop`.

    Raises
    ------
    ConfigError
        For a column of another type. `RunError` for one that is not there, or a pool that changed.
    """
    wanted = list(columns) or default_columns(scored)
    for name in wanted:
        kind = scored.table.schema.field(name).type if name in scored.table.names else pa.float64()
        if not (name == DROP or name.startswith(_SPANS) or _is_number(kind)):
            raise ConfigError(
                f"attributes: the column {name!r} is of type {kind}; name columns of numbers or "
                f"of spans, or {DROP!r}"
            )
    written = []
    for number, relative in enumerate(attribute_files(scored)):
        path = folder / relative
        with (
            replacing(path) as raw,
            writing_to(path),
            gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=6) as file,
        ):
            for row in _rows(scored, number, wanted):
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        written.append(path)
    return written


def _rows(scored: Scored, file: int, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of one of the pool's files, by its number."""
    table, corpus = scored.table, scored.corpus
    named = ["id"] if "id" in table.names else []
    for unit in corpus.units:
        if unit.file_index != file:
            continue
        rows = np.arange(table.firsts[unit.index], table.firsts[unit.index + 1])
        known = table.rows(rows, ["uid", "file", *named, *columns])
        check_files(corpus, np.full(len(rows), unit.index), known)
        first = 0
        for block in corpus.blocks(unit):
            documents = block.documents
            own = known.slice(first, len(documents))
            first += len(documents)
            if not np.array_equal(np.asarray(own["uid"]), documents.uid):
                raise RunError(f"{unit.file.path}: changed since the run; score it again")
            ids = own["id"].to_pylist() if named else [f"{u:016x}" for u in documents.uid.tolist()]
            attributes = _attributes(documents, own, columns)
            for name, values in zip(ids, attributes, strict=True):
                yield {"id": name, "attributes": values}


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _attributes(
    documents: Documents, table: pa.Table, columns: Sequence[str]
) -> list[dict[str, list[list[float]]]]:
    """Return the attributes of each document by name; what is null or no number is left out."""
    one = documents.compact()
    characters = np.append(0, np.cumsum(one.data & 0xC0 != 0x80))
    first = characters[one.starts]
    whole = (characters[one.ends] - first).tolist()
    made: list[dict[str, list[list[float]]]] = [{} for _ in range(len(one))]
    for column in columns:
        name = attribute_name(column)
        for row, value in enumerate(table[column].to_pylist()):
            if value is None or (isinstance(value, float) and not np.isfinite(value)):
                continue
            if column == DROP:
                made[row][attribute_name(f"{DROP}:{value}")] = [[0, whole[row], 1.0]]
            elif isinstance(value, list) and not value:
                continue
            elif isinstance(value, list):
                ends = characters[one.starts[row] + np.array(value, np.int64)] - first[row]
                made[row][name] = _spans(ends)
            else:
                made[row][name] = [[0, whole[row], float(value)]]
    return made


def _spans(ends: NDArray[np.int64]) -> list[list[float]]:
    return [[start, end, 1.0] for start, end in ends.reshape(-1, 2).tolist()]
