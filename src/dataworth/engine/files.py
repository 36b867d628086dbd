"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataworth.corpus.files import write_error
from dataworth.errors import ConfigError, DataworthError

_PREFIX = ".partial-"
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # a Path has one slash of a URL's two
_TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")  # as `corpus.files` names its own


def local_path(path: str | Path) -> Path:
    """Return where results go. Raise ConfigError for a URL: they are written to this machine."""
    if _REMOTE.match(str(path)):
        raise ConfigError(
            f"{path}: results cannot be written to a URL; name a local folder and copy it there "
            "when it is done"
        )
    return Path(path)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends without an error.

    Raises DataworthError when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        if os.name == "posix":
            _flush(path.parent)
    except OSError as error:
        _remove(temporary)
        raise write_error(path, error) from error
    except BaseException:
        _remove(temporary)
        raise


def _flush(path: Path) -> None:
    """Hand a file's bytes, or a folder's names, to the disk: a power cut then loses neither."""
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def sweep(folder: Path) -> None:
    """Remove what a killed run left under temporary names."""
    if folder.is_dir():
        for path in sorted(folder.rglob(".*")):
            if not (path.name.startswith(_PREFIX) or _TEMPORARY.fullmatch(path.name)):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                _remove(path)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """As `atomic`, for a folder: a new and empty one."""
    temporary = path.with_name(f"{_PREFIX}{path.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """JSON that a person can read; keys keep their order."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path) -> Any:
    """The JSON in a file; DataworthError names the file if it is damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataworthError(f"{path}: cannot be read ({error})") from error


def write_parquet(path: Path, table: pa.Table) -> None:
    """One Parquet file, compressed lightly."""
    strings = [field.name for field in table.schema if pa.types.is_string(field.type)]
    with atomic(path) as temporary:
        pq.write_table(
            table, temporary, compression="lz4", use_dictionary=strings, write_statistics=False
        )
