"""The folder of a run: what was asked for, on which inputs, and how far it came.

A folder belongs to one configuration on one state of the inputs. The same command goes on where it
stopped; another one is refused with what differs. A lock keeps two processes apart.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from dataworth.corpus.files import write_error
from dataworth.engine.files import read_json, sweep, write_json
from dataworth.errors import DataworthError, RunError
from dataworth.version import __version__

FILE = "run.json"
# What a run makes. `--overwrite` removes these alone, so that nothing else in a folder is lost.
OURS = ("fitted", "table", "quarantine", "selections", "data", "work", "spool")
OUR_FILES = ("report.html", "README.md", FILE)
LOCK = ".lock"


def machine() -> dict[str, Any]:
    """Where a run ran, for the record: it changes no result."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }


class RunFolder:
    """A run's folder, locked while it is open."""

    def __init__(self, folder: Path, lock: IO[str]) -> None:
        self.folder = folder
        self._lock = lock

    @staticmethod
    def open(folder: Path, configuration: Mapping[str, Any], *, overwrite: bool) -> RunFolder:
        """Start a run, or go on with it.

        Raises RunError when the folder holds another configuration (with the differences), when it
        holds something that is no run, or when another process works in it.
        """
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder}: is a file; choose another folder for the output")
        try:
            if folder.exists() and not (_is_run(folder) or _is_free(folder)):
                raise RunError(
                    f"{folder}: is not empty and holds no run of dataworth; choose another folder"
                )
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / LOCK).open("w")
        except OSError as error:
            raise write_error(folder, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise RunError(f"{folder}: another process is working in this folder") from error
        run = RunFolder(folder, lock)
        try:
            run._begin(configuration, overwrite)
        except BaseException:
            run.close()
            raise
        return run

    def _begin(self, configuration: Mapping[str, Any], overwrite: bool) -> None:
        if overwrite or (not self._has_scores and any(self._changes(configuration))):
            self._clear()
        sweep(self.folder)
        if not (self.folder / FILE).is_file():
            made_by = {"dataworth": __version__, **machine()}
            write_json(self.folder / FILE, {"configuration": configuration, "made_by": made_by})
            return
        changes = list(self._changes(configuration))
        if changes:
            raise RunError(
                f"{self.folder}: holds a run with another configuration:\n  "
                + "\n  ".join(changes)
                + "\nChoose another folder, or start afresh with --overwrite (overwrite=True)."
            )

    @property
    def _has_scores(self) -> bool:
        """Whether there is work to lose. A first attempt that failed over an option has none."""
        parts = (self.folder / "table").glob("[0-9]*.parquet")
        return any(parts) or any((self.folder / name).exists() for name in ("selections", "data"))

    def _changes(self, configuration: Mapping[str, Any]) -> Iterator[str]:
        """What differs from the run that is here, if there is one; its version counts too."""
        if not (self.folder / FILE).is_file():
            return
        record = self.record
        yield from differences(record.get("configuration", {}), configuration)
        version = record.get("made_by", {}).get("dataworth", __version__)
        yield from differences(version, __version__, "version of dataworth")

    def _clear(self) -> None:
        try:
            for name in OURS:
                if (self.folder / name).is_dir():
                    shutil.rmtree(self.folder / name)
            # The record last: without it, what is left would be taken for someone else's.
            for name in OUR_FILES:
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from error

    def close(self) -> None:
        """Give the folder free."""
        self._lock.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json."""
        record = read_json(self.folder / FILE)
        if not isinstance(record, dict):
            raise DataworthError(f"{self.folder / FILE}: is not the record of a run")
        return record

    def update(self, **facts: Any) -> None:
        """Add facts to run.json."""
        write_json(self.folder / FILE, {**self.record, **facts})

    def check_inputs(self, inputs: Mapping[str, list[dict[str, Any]]]) -> None:
        """Record the inputs' fingerprints, or compare them with those of the run's start.

        Raises RunError that names the files that changed.
        """
        before = self.record.get("inputs")
        if before is None:
            self.update(inputs=inputs)
            return
        changes = list(_changed_inputs(before, inputs))
        if changes and not self._has_scores:
            shutil.rmtree(self.folder / "fitted", ignore_errors=True)
            known = self.record
            kept = {name: known[name] for name in ("configuration", "made_by") if name in known}
            write_json(self.folder / FILE, {**kept, "inputs": inputs})
        elif changes:
            shown = "\n  ".join(
                changes[:10] + [f"… {len(changes) - 10} more"] * (len(changes) > 10)
            )
            raise RunError(
                f"{self.folder}: the inputs changed since this run began:\n  {shown}\n"
                "Choose another folder, or start afresh with --overwrite (overwrite=True)."
            )


def _is_run(folder: Path) -> bool:
    """Whether the folder has the record of a run, and not just a file of that name."""
    try:
        record = json.loads((folder / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and "configuration" in record


def _is_free(folder: Path) -> bool:
    """Whether the folder is empty, but for what a run leaves that was killed before its record."""
    return all(path.name == LOCK or path.name.startswith(".partial-") for path in folder.iterdir())


def differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """What differs between two configurations, a line each: `budget: 10% → 5%`."""
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


def _changed_inputs(
    before: Mapping[str, list[dict[str, Any]]], now: Mapping[str, list[dict[str, Any]]]
) -> Iterator[str]:
    for role in sorted({*before, *now}):
        old = {item["path"]: item for item in before.get(role, [])}
        new = {item["path"]: item for item in now.get(role, [])}
        for path in sorted({*old, *new}):
            if path not in new:
                yield f"{path}: is gone"
            elif path not in old:
                yield f"{path}: is new"
            elif old[path] != new[path]:
                keys = [key for key in old[path] if old[path][key] != new[path].get(key)]
                yield f"{path}: changed ({', '.join(keys)})"
