"""Files behind a path, a glob, a folder or a URL."""

from __future__ import annotations

import glob
import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import fsspec
import orjson

from dataworth.corpus.read.formats import (
    KNOWN,
    SourceFile,
    extension_of,
    format_of,
)
from dataworth.corpus.read.kinds import HEAD_BYTES, RAW_BYTES, check_compressed, check_kind, head_of
from dataworth.errors import DataworthError, InputError, MissingExtra

URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[^\s]+)?://")
"""How a URL begins, chained ones ("zip::s3://…") included."""

log = logging.getLogger("dataworth")

_EXTRAS = {"s3": "s3", "s3a": "s3", "hf": "hf"}
_METADATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
_OWN = "{}: left out of what is read, it is written to"
_RUN_PARTS = ("table/", "fitted/", "selections/", "quarantine/")


@dataclass(frozen=True)
class Entry:
    """A file as its store lists it: `name` is its path relative to the folder asked for."""

    path: str
    name: str
    size: int | None
    modified: float | None


def is_glob(text: str) -> bool:
    """Tell if a path holds glob characters; `?` in a web address starts its query."""
    web = text.startswith(("http://", "https://"))
    return any(mark in text for mark in ("*" if web else "*?["))


def find(
    place: str, storage_options: Mapping[str, Any], out: Path | None = None
) -> list[SourceFile]:
    """Return the files behind one path, glob, folder or URL, in no order.

    Folders are read recursively: files with another extension and hidden ones are left out, and
    of a run's folder only the selection it wrote is taken. Runs that lie below a folder with other
    data, and the folder `out`, which is written to, are left out, which is said. Raises InputError.
    """
    if place.startswith(("file://", "local://")):
        place = place.partition("://")[2]
    if URL.match(place):
        return _find_remote(place, dict(storage_options))
    return _find_local(place, out)


@cache
def say_once(text: str) -> None:
    """Log a line, unless it was logged before: one place is often looked at more than once."""
    log.warning("%s", text)


def open_bytes(path: str, storage_options: Mapping[str, Any]) -> BinaryIO:
    """Return a file or URL opened for reading its bytes as stored."""
    if URL.match(path):
        place = fsspec.open(path, "rb", **storage_options)
        opened: Any = place.open()
        if "::" in path:
            opened.place = place  # an archive is closed once nothing refers to it
        file: BinaryIO = opened
        return file
    return Path(path).open("rb")


@contextmanager
def reading_from(place: str) -> Iterator[None]:
    """Turn what the system or a remote store says about `place` into an InputError."""
    try:
        yield
    except DataworthError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{place}: no such file or folder; check the path") from error
    except PermissionError as error:
        raise InputError(
            f"{place}: cannot be read, permission denied; check its rights or your credentials"
        ) from error
    except ImportError as error:
        protocol = re.split(r"::|://", place)[0].lower()
        if protocol in _EXTRAS:
            raise MissingExtra(f"{place}: reading {protocol}:// URLs", _EXTRAS[protocol]) from error
        raise InputError(f"{place}: {error}") from error
    except Exception as error:  # a store's client raises errors of its own kinds
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{place}: cannot be read ({type(error).__name__}: {said}); check the address, the "
            f"connection and the storage options"
        ) from error


def exists(text: str) -> bool:
    """Tell if a string is an existing path of the local file system; never raise."""
    if len(text) > 4096:
        return False
    try:
        return _path(text).exists()
    except (OSError, ValueError):
        return False


def _path(place: str) -> Path:
    path = Path(place)
    return (path.expanduser() if place == "~" or place.startswith("~/") else path).absolute()


def _find_local(place: str, out: Path | None) -> list[SourceFile]:
    if out is not None and _path(place) == out:  # as a shell expands pool/*
        say_once(_OWN.format(out))
        return []
    if out is not None and _path(place).is_relative_to(out):
        out = None  # it is what was asked for
    if exists(place):
        path = _path(place)
        if path.is_dir():
            with reading_from(place):
                return _from_folder(place, _walk(path, out), {})
        return [_named(_local_entry(path, path.name), {})]
    if is_glob(place):
        # Relative to the working folder, whose own name may hold glob characters.
        pattern = str(_path(place)) if place.startswith("~") else place
        paths = [Path(name).absolute() for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207
        if out is not None and any(item.is_relative_to(out) for item in paths):
            say_once(_OWN.format(out))
            paths = [item for item in paths if not item.is_relative_to(out)]
        entries = [_local_entry(item, item.name) for item in paths if not item.is_dir()]
        if "**" not in place:  # which finds the files in the folders itself
            for folder in filter(Path.is_dir, paths):
                with reading_from(str(folder)):
                    entries += _selection_only(_visible(_walk(folder, out)))
        return _from_glob(place, entries, {})
    texts = len(place.split()) > 3
    hint = "to give texts themselves, pass a list of strings" if texts else "check the path"
    raise InputError(f"{_short(place)}: no such file or folder; {hint}")


def _local_entry(path: Path, name: str) -> Entry:
    with reading_from(str(path)):
        state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise InputError(
            f"{path}: is not a plain file; dataworth reads its input more than once, so write it "
            f"to a file first"
        )
    return Entry(str(path), name, state.st_size, state.st_mtime)


def _walk(folder: Path, out: Path | None) -> Iterator[Entry]:
    """All files below a folder but those in `out`; links to folders are followed, each once."""

    def refuse(error: OSError) -> None:
        raise error

    seen: set[str] = set()
    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        if out is not None and real == os.path.realpath(out):
            say_once(_OWN.format(out))
            folders.clear()
            continue
        folders[:] = sorted(item for item in folders if not item.startswith("."))
        for name in names:
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            if format_of(name) or name == "run.json":
                yield _local_entry(path, relative)
            else:
                yield Entry(str(path), relative, None, None)


def _find_remote(url: str, options: dict[str, Any]) -> list[SourceFile]:
    web = url.startswith(("http://", "https://"))
    with reading_from(url):
        system, path = fsspec.core.url_to_fs(url, **options)
        system.invalidate_cache()
        if "::" in url:
            if is_glob(url):
                raise InputError(f"{url}: chained URLs cannot hold a glob; name each file")
            return [_named(_remote_entry(url, url, system.info(path)), options)]
        if is_glob(url):
            matches = system.glob(path, detail=True)
            fixed = re.split(r"[*?\[]", path)[0].rpartition("/")[0]
            entries = [
                _remote_entry(system.unstrip_protocol(name), name.removeprefix(fixed), info)
                for name, info in matches.items()
                if info["type"] == "file"
            ]
            hidden = "/." in path.removeprefix(fixed)
            return _from_glob(url, entries if hidden else _visible(entries), options)
        info = system.info(path)
        if web or info["type"] == "file":
            return [_named(_remote_entry(url, url, info), options)]
        base = path.rstrip("/")
        entries = [
            _remote_entry(system.unstrip_protocol(name), name.removeprefix(base).lstrip("/"), info)
            for name, info in system.find(path, detail=True).items()
        ]
        return _from_folder(url, entries, options)


def _remote_entry(url: str, name: str, info: Mapping[str, Any]) -> Entry:
    modified = None
    for key in ("mtime", "LastModified", "last_modified", "updated", "modified", "created"):
        value = info.get(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(value, datetime):
            value = value.timestamp()
        if isinstance(value, int | float):
            modified = float(value)
            break
    return Entry(url, name, info.get("size"), modified)


def _from_folder(
    place: str, entries: Iterable[Entry], options: Mapping[str, Any]
) -> list[SourceFile]:
    """Return the data files of a folder's listing."""
    listed = _visible(entries)
    in_data = _selection_only(listed)
    runs = len(in_data) < len(listed)
    kept = [entry for entry in in_data if format_of(entry.name) and not _is_metadata(entry.name)]
    files = _checked(kept, options)
    if files:
        return files
    if runs:
        raise InputError(
            f"{place}: is the folder of a run that wrote no selection; write it first "
            f"(dataworth choose --write), or name the files"
        )
    raise InputError(
        f"{place}: the folder holds no file that dataworth reads ({KNOWN}){_others(listed)}"
    )


def _from_glob(
    place: str, entries: Iterable[Entry], options: Mapping[str, Any]
) -> list[SourceFile]:
    listed = list(entries)
    kept = [entry for entry in listed if format_of(entry.path) and not _is_metadata(entry.path)]
    files = _checked(kept, options)
    if files:
        return files
    if not listed:
        raise InputError(f"{place}: no file matches; check the pattern and quote it in the shell")
    raise InputError(f"{place}: no match is a file that dataworth reads ({KNOWN}){_others(listed)}")


def _visible(entries: Iterable[Entry]) -> list[Entry]:
    """Return the listing without hidden files and folders."""
    return [e for e in entries if not any(part.startswith(".") for part in e.name.split("/"))]


def _selection_only(entries: list[Entry]) -> list[Entry]:
    """Return the listing without what runs of dataworth left in it, except for the data they wrote.

    Runs below a folder that holds other data too are left out whole: they are no part of it.
    """
    roots = {entry.name[: -len("run.json")] for entry in entries if _base(entry) == "run.json"}
    runs = {
        root
        for root in roots
        if any(
            entry.name.startswith(tuple(root + step for step in _RUN_PARTS)) for entry in entries
        )
    }
    if not runs:
        return entries
    others = [entry for entry in entries if not entry.name.startswith(tuple(runs))]
    if any(format_of(entry.name) and not _is_metadata(entry.name) for entry in others):
        for entry in entries:
            if _base(entry) == "run.json" and entry not in others:
                run = entry.path.removesuffix("/run.json")
                say_once(f"{run}: left out, it is a run of dataworth; name its data/ to read it")
        return others
    return [
        entry
        for entry in entries
        if not any(
            entry.name.startswith(r) and not entry.name.startswith(f"{r}data/") for r in runs
        )
    ]


def _checked(entries: Iterable[Entry], options: Mapping[str, Any]) -> list[SourceFile]:
    """The files that can be read; JSON that is not made of lines is left out, and that is said."""
    files = []
    for entry in entries:
        file = _lines_only(entry, options)
        if file is None:
            log.warning("%s: left out, it is JSON but not one object a line", entry.path)
        else:
            files.append(file)
    return files


def _named(entry: Entry, options: Mapping[str, Any]) -> SourceFile:
    """Return a file that the user named: it must be one that dataworth reads."""
    if format_of(_data_name(entry.path)) is None:
        extension = extension_of(_data_name(entry.path))
        raise InputError(
            f"{entry.path}: {extension} is not a kind of file that dataworth reads ({KNOWN}); "
            f"convert it, or rename it if it is one of these"
        )
    file = _lines_only(entry, options)
    if file is None:
        raise InputError(
            f"{entry.path}: is one JSON value, not one object a line; convert it, for instance "
            f"with: jq -c '.[]' FILE.json > FILE.jsonl"
        )
    return file


def _lines_only(entry: Entry, options: Mapping[str, Any]) -> SourceFile | None:
    """Return the file, checked to be readable; None if it is JSON that is not made of lines."""
    kind = format_of(_data_name(entry.path))
    assert kind is not None
    readable = entry.path.encode("utf-8", "backslashreplace").decode()
    if readable != entry.path:
        raise InputError(f"{readable}: its name is not UTF-8, as records of runs are; rename it")
    if entry.size is None:
        raise InputError(f"{entry.path}: the server does not tell its size; download it first")
    with reading_from(entry.path):
        with open_bytes(entry.path, options) as file:
            raw = file.read(RAW_BYTES)
        check_compressed(entry.path, raw, kind[1])
        head = head_of(raw, kind[1])
    check_kind(entry.path, head, kind)
    lined = True
    if re.search(r"\.json(\.\w+)?$", _data_name(entry.path), re.I):
        lined = _is_lines(head)
    if not lined:
        return None
    return SourceFile(entry.path, kind[0], kind[1], entry.size, entry.modified)


def _is_lines(head: bytes) -> bool:
    """Tell from the beginning of a JSON file if it is JSON lines: one object on each line."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        return True
    if not text.startswith(b"{"):
        return False
    lines = text.split(b"\n")
    if len(lines) == 1 and len(head) >= HEAD_BYTES:
        return True
    return any(_is_object(line) for line in lines)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _is_metadata(name: str) -> bool:
    return name.rpartition("/")[2] in _METADATA


def _base(entry: Entry) -> str:
    return entry.name.rpartition("/")[2]


def _others(entries: list[Entry]) -> str:
    counts = Counter(extension_of(entry.name) for entry in entries)
    if not counts:
        return "; it is empty"
    said = ", ".join(f"{count} with {name}" for name, count in counts.most_common(4))
    return f"; it holds {said}"


def _data_name(path: str) -> str:
    """Return the part of a path or URL that names the data: no query, the first link of a chain."""
    if "::" in path and URL.match(path):
        path = next(link for link in path.split("::") if "://" in link)
    if path.startswith(("http://", "https://")):
        return re.split(r"[?#]", path)[0]
    return path


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:117]}..."
