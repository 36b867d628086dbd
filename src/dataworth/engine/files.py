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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dataworth.corpus.files import flush, put, write_error
from dataworth.errors import ConfigError, DataworthError, RunError

_PREFIX = ".partial-"
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # a Path has one slash of a URL's two
_SAID = 200  # characters of what a reader says
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
        temporary.unlink(missing_ok=True)  # a link left there would be followed
        yield temporary
        flush(temporary)
        put(temporary, path)
    except OSError as error:
        _remove(temporary)
        raise write_error(path, error) from error
    except BaseException:
        _remove(temporary)
        raise


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
    """Yield a new, empty folder that takes the place of `path` once its content is on disk."""
    temporary = path.with_name(f"{_PREFIX}{path.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for item in (*temporary.rglob("*"), temporary):
            flush(item)
        shutil.rmtree(path, ignore_errors=True)
        put(temporary, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """JSON that a person can read; keys keep their order."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


REMEDY = "delete it and run the same command again"


@contextlib.contextmanager
def damaged(path: Path, remedy: str = REMEDY) -> Iterator[None]:
    """Raise RunError, one line with the file and the remedy, for what its reader fails with.

    Put around reading and checking alone: a file that is cut, doctored or of another kind makes
    its reader raise anything.
    """
    try:
        yield
    except DataworthError:
        raise
    except Exception as error:
        kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
        said = " ".join(f"{kind}{error}".split()).rstrip(".")
        if len(said) > _SAID:
            said = said[: _SAID - 1] + "…"
        raise RunError(f"{path}: cannot be read ({said}); {remedy}") from error


def read_json(path: Path, remedy: str = REMEDY) -> Any:
    """Return the JSON in a file; RunError names the file if it is damaged."""
    with damaged(path, remedy):
        return json.loads(path.read_text("utf-8"))


def read_object(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """Return the JSON object in a file; RunError names the file if it holds anything else."""
    found = read_json(path, remedy)
    if not isinstance(found, dict):
        raise RunError(f"{path}: cannot be read (it holds no JSON object); {remedy}")
    return found


def read_arrays(path: Path, remedy: str = REMEDY) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file, never pickles; RunError names the file if it is damaged."""
    with damaged(path, remedy), np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_array(path: Path, remedy: str = REMEDY, *, mapped: bool = False) -> NDArray[Any]:
    """The array of an `.npy` file, never a pickle; RunError names the file if it is damaged."""
    with damaged(path, remedy):
        array: Any = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it holds several arrays")
        return array


def check_array(array: NDArray[Any], kind: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Return an array as it is; ValueError if its type or shape is another (None: any length)."""
    fits = len(shape) == array.ndim and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if array.dtype != kind or not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"holds {array.dtype} {array.shape}, not {np.dtype(kind)} [{wanted}]")
    return array


def read_parquet(path: Path, columns: list[str] | None = None, remedy: str = REMEDY) -> pa.Table:
    """A Parquet file in memory; RunError names the file if it is damaged or lacks a column."""
    with damaged(path, remedy):
        # By a file object: a path with an "=" in a folder would add a column.
        table = pq.ParquetFile(path).read(columns=columns)
        missing = [name for name in columns or () if name not in table.column_names]
        if missing:
            raise ValueError(f"has no column {missing[0]!r}")
        return table


def write_parquet(path: Path, table: pa.Table) -> None:
    """One Parquet file, compressed lightly."""
    strings = [field.name for field in table.schema if pa.types.is_string(field.type)]
    with atomic(path) as temporary:
        pq.write_table(
            table, temporary, compression="lz4", use_dictionary=strings, write_statistics=False
        )
