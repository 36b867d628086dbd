"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataworth.errors import DataworthError

_PREFIX = ".partial-"


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends without an error.

    Raises DataworthError when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        raise write_error(path, error) from error
    except BaseException:
        _remove(temporary)
        raise


def write_error(path: Path, error: OSError) -> DataworthError:
    """The clear form of an error of writing."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataworthError(
            f"{path}: the disk is full; free some space there and run the same command again, "
            "which goes on where it stopped"
        )
    return DataworthError(f"{path}: cannot be written ({error.strerror or error})")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def sweep(folder: Path) -> None:
    """Remove what a killed run left under temporary names."""
    if folder.is_dir():
        for path in folder.rglob(f"{_PREFIX}*"):
            _remove(path)


def write_json(path: Path, value: Any) -> None:
    """JSON that a person can read; keys keep their order."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path) -> Any:
    """The JSON in a file; DataworthError names the file if it is damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataworthError(f"{path}: cannot be read ({error})") from error


def write_parquet(path: Path, table: pa.Table) -> None:
    """One Parquet file, compressed lightly."""
    strings = [field.name for field in table.schema if pa.types.is_string(field.type)]
    with atomic(path) as temporary:
        pq.write_table(
            table, temporary, compression="lz4", use_dictionary=strings, write_statistics=False
        )
