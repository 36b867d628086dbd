"""The sources of a pool or a target: paths, globs, URLs, folders, datasets, iterables."""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from dataworth.corpus.read.find import URL, exists, find, is_glob, open_bytes, reading_from
from dataworth.corpus.read.formats import Compression, Format, SourceFile, format_of
from dataworth.corpus.read.frames import tables_of
from dataworth.corpus.read.spool import (
    is_dataset,
    is_dataset_dict,
    spool_dataset,
    spool_rows,
    spool_tables,
)
from dataworth.errors import InputError

__all__ = ["Compression", "Format", "SourceFile", "fingerprint", "resolve", "texts_of"]

FINGERPRINT_BYTES: Final = 65536


def resolve(
    source: Any,
    *,
    spool: Path | None,
    storage_options: Mapping[str, Any] | None = None,
    text_field: str = "text",
    out: Path | None = None,
) -> list[SourceFile]:
    """Return the files of a corpus, sorted by path, each once.

    `source`: a path, glob, folder or fsspec URL; a list of these; a HF `Dataset` or
    `IterableDataset`; a table (anything that exports Arrow data: pyarrow, pandas, polars); or any
    iterable of strings or dictionaries. Documents from memory are written to the folder `spool`
    (None: a temporary folder that goes when Python ends), and that is logged; strings become rows
    with the one field `text_field`.

    One string is always a path, glob or URL. In a list, strings that exist, hold glob characters
    in something like a path, begin as a URL or end as a data file are paths; if none does, they
    are documents. `storage_options` go to fsspec for URLs. Folders and globs leave out `out`, which
    is written to.

    Raises InputError when nothing matches, a folder holds no data, a file cannot be read or is of
    an unknown kind, or a list mixes paths and documents.
    """
    files: dict[str, SourceFile] = {}
    for file in _resolve(source, spool, storage_options or {}, text_field, out):
        files[file.path] = file
    if not files and out is not None:
        raise InputError(f"{out}: is written to and cannot be read from; name another folder")
    return [files[path] for path in sorted(files)]


def texts_of(source: Any) -> list[str] | None:
    """The texts of a list of strings that are documents and no paths; None for anything else."""
    if not isinstance(source, list | tuple) or not source:
        return None
    if not all(isinstance(item, str) for item in source) or _are_sources(source):
        return None
    return [str(item) for item in source]


def fingerprint(
    file: SourceFile, storage_options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return {"size", "modified", "hash"} of a file, which tell if it has changed.

    The hash is BLAKE2b (16 bytes, hexadecimal) of its first and last 64 KB as stored; the size is
    the file's own where it is local, else the one it was resolved with. Raises InputError.
    """
    digest = hashlib.blake2b(digest_size=16)
    with reading_from(file.path), open_bytes(file.path, storage_options or {}) as stream:
        size, modified = file.size, file.modified
        if not file.is_url:
            state = os.fstat(stream.fileno())
            size, modified = state.st_size, state.st_mtime
        digest.update(stream.read(FINGERPRINT_BYTES))
        if size > FINGERPRINT_BYTES:
            stream.seek(max(FINGERPRINT_BYTES, size - FINGERPRINT_BYTES))
            digest.update(stream.read(FINGERPRINT_BYTES))
    return {"size": size, "modified": modified, "hash": digest.hexdigest()}


def _resolve(
    source: Any, spool: Path | None, options: Mapping[str, Any], text_field: str, out: Path | None
) -> list[SourceFile]:
    if isinstance(source, str | os.PathLike):
        return find(_written(source), options, out)
    if is_dataset(source):
        return [_spooled(spool_dataset(source, _folder(spool)))]
    if is_dataset_dict(source) or isinstance(source, Mapping):
        keys = ", ".join(repr(key) for key in list(source)[:4])
        raise InputError(f"a dictionary ({keys}) is no corpus; give one of its values, or a list")
    if (tables := tables_of(source, text_field)) is not None:
        return [_spooled(spool_tables(tables, _folder(spool), "the table"))]
    if hasattr(source, "read") and hasattr(source, "readline"):
        name = getattr(source, "name", None)
        known = f" ({name})" if isinstance(name, str) else ""
        raise InputError(f"an open file is no corpus; give its path{known}")
    scalar = getattr(source, "ndim", 1) == 0
    if isinstance(source, bytes | bytearray) or scalar or not isinstance(source, Iterable):
        raise InputError(
            f"{type(source).__name__} is no corpus; give a path, a glob, a URL, a folder, a data "
            f"set, or strings or dictionaries"
        )
    if isinstance(source, set | frozenset):
        source = sorted(source, key=str)
    if isinstance(source, Sequence):
        if not source:
            raise InputError("an empty list was given: name at least one file or document")
        if _are_sources(source):
            parts = [_resolve(item, spool, options, text_field, out) for item in source]
            return [file for part in parts for file in part]
    return [_spooled(spool_rows(source, _folder(spool), text_field))]


def _are_sources(items: Sequence[Any]) -> bool:
    """Tell if a list's elements are sources, not documents. Raise InputError if it mixes both."""
    sources = documents = -1
    for number, item in enumerate(items):
        if isinstance(item, str):
            is_source = _looks_like_path(item)
        else:
            is_source = not isinstance(item, Mapping | pa.Scalar) or is_dataset_dict(item)
        if is_source and sources < 0:
            sources = number
        elif not is_source and documents < 0:
            documents = number
        if sources >= 0 and documents >= 0:
            raise InputError(
                f"the list mixes files and documents: element {sources} ({_shown(items[sources])}) "
                f"is a file, element {documents} ({_shown(items[documents])}) is not; give files "
                f"as pathlib.Path, documents as {{'text': …}}, and not both"
            )
    return sources >= 0


def _looks_like_path(text: str) -> bool:
    if URL.match(text) and not re.search(r"\s", text):
        return True
    if not re.search(r"\s", text) and (
        format_of(text) is not None or (is_glob(text) and ("/" in text or os.sep in text))
    ):
        return True
    return bool(text) and exists(text)


def _written(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not isinstance(text, str):
        text = os.fsdecode(text)
    if not text:
        raise InputError("an empty path was given: name a file, folder, glob or URL")
    return text


def _folder(spool: Path | None) -> Path:
    if spool is not None:
        return spool
    folder = Path(tempfile.mkdtemp(prefix="dataworth-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _spooled(path: Path) -> SourceFile:
    kind = format_of(path.name)
    assert kind is not None
    state = path.stat()
    return SourceFile(str(path.absolute()), kind[0], kind[1], state.st_size, state.st_mtime)


def _shown(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= 60 else f"{text[:20]} ... {text[-35:]}"
