"""Folders that belong to one piece of work: what they hold, who works in them, what differs.

The same command goes on where it stopped; another one is refused with what differs. A lock keeps
two processes apart.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Self

from dataworth.corpus.files import write_error
from dataworth.errors import RunError

LOCK = ".lock"
_SHOWN = 10  # differences


class WorkFolder:
    """A folder with a record, locked while it is open. What kind it is, its class says.

    `noun`: what it holds, in words. `record_file` with the key `mark` tells a folder of this kind.
    `ours`, `our_files`: what the work makes. Starting afresh removes these alone, so that nothing
    else in a folder is lost. `early`: what may be there before the record is.
    """

    noun: ClassVar[str]
    record_file: ClassVar[str]
    mark: ClassVar[str]
    ours: ClassVar[tuple[str, ...]]
    our_files: ClassVar[tuple[str, ...]]
    early: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path, lock: IO[str]) -> None:
        self.folder = folder
        self._lock = lock

    @classmethod
    def locked(cls, folder: Path) -> Self:
        """Lock a folder that is empty or of this kind; it is made if it is not there.

        Raises RunError when it holds something else, or when another process works in it.
        """
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder}: is a file; choose another folder for the output")
        try:
            if folder.exists() and not (cls._is_ours(folder) or cls._is_free(folder)):
                raise RunError(
                    f"{folder}: is not empty and holds no {cls.noun} of dataworth; "
                    "choose another folder"
                )
        except OSError as error:
            raise write_error(folder, error) from error
        return cls(folder, lock_folder(folder, "working in this folder"))

    @classmethod
    def _is_ours(cls, folder: Path) -> bool:
        """Tell if the folder has a record of this kind, not just a file of that name."""
        try:
            record = json.loads((folder / cls.record_file).read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(record, dict) and cls.mark in record

    @classmethod
    def _is_free(cls, folder: Path) -> bool:
        """Tell if the folder is empty, but for what is left by work killed before its record."""
        known = {LOCK, *cls.early}
        return all(
            path.name in known or path.name.startswith(".partial-") for path in folder.iterdir()
        )

    def clear(self) -> None:
        """Remove what the work made; another part of the folder stays."""
        try:
            for name in self.ours:
                if (self.folder / name).is_dir():
                    shutil.rmtree(self.folder / name)
            # The record last: without it, what is left would be taken for someone else's.
            for name in (*self.our_files, self.record_file):
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from error

    def close(self) -> None:
        """Give the folder free."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lock_folder(folder: Path, doing: str) -> IO[str]:
    """Return the open lock of a folder, which is made. RunError if another process is `doing` so.

    What is in the file is neither read nor changed, and a link is not followed: a folder of
    someone else could name any file by it. The lock of a process that ended holds nobody up.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise RunError(
                f"{path}: is not the lock of a folder but a link, folder or device; "
                "remove it and run the same command again"
            )
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.fdopen(os.open(path, flags, 0o666), "r+")
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise RunError(f"{folder}: another process is {doing}") from error
    except OSError as error:
        lock.close()
        raise RunError(
            f"{folder}: cannot be locked ({error.strerror}); choose a folder on a local disk"
        ) from error
    return lock


def differing(folder: Path, what: str, changes: Sequence[str]) -> RunError:
    """The error for a folder that `what`, such as "holds another run", with the differences."""
    shown = list(changes[:_SHOWN])
    if len(changes) > _SHOWN:
        shown.append(f"… {len(changes) - _SHOWN} more")
    return RunError(
        f"{folder}: {what}:\n  "
        + "\n  ".join(shown)
        + "\nChoose another folder, or start afresh with --overwrite (overwrite=True)."
    )


def differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Yield the differences of two configurations, a line each: `budget: 10% → 5%`."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}, key=str):
            inner = f"{where}.{key}" if where else str(key)
            if key not in before:
                yield f"{inner}: not set → {now[key]!r}"
            elif key not in now:
                yield f"{inner}: {before[key]!r} → not set"
            else:
                yield from differences(before[key], now[key], inner)
    elif before != now:
        yield f"{where}: {before!r} → {now!r}"
