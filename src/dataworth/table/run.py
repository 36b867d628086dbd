"""The folder of a run: what was asked for, on which inputs, and how far it came.

A folder belongs to one configuration on one state of the inputs.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dataworth.engine.files import damaged, read_object, sweep, write_json
from dataworth.table.folder import WorkFolder, differences, differing
from dataworth.version import __version__

FILE = "run.json"
_REMEDY = "start afresh with --overwrite (overwrite=True)"


def machine() -> dict[str, Any]:
    """Where a run ran, for the record: it changes no result."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }


class RunFolder(WorkFolder):
    """A run's folder, locked while it is open."""

    noun = "run"
    record_file = FILE
    mark = "configuration"
    ours = ("fitted", "table", "quarantine", "selections", "data", "work", "spool")
    our_files = ("report.html", "README.md")

    @staticmethod
    def open(folder: Path, configuration: Mapping[str, Any], *, overwrite: bool) -> RunFolder:
        """Start a run, or go on with it.

        Raises RunError when the folder holds another configuration (with the differences), when it
        holds something that is no run, or when another process works in it.
        """
        run = RunFolder.locked(folder)
        try:
            run._begin(configuration, overwrite)
        except BaseException:
            run.close()
            raise
        return run

    def _begin(self, configuration: Mapping[str, Any], overwrite: bool) -> None:
        if overwrite or (not self._has_scores and any(self._changes(configuration))):
            self.clear()
        sweep(self.folder)
        if not (self.folder / FILE).is_file():
            made_by = {"dataworth": __version__, **machine()}
            write_json(self.folder / FILE, {"configuration": configuration, "made_by": made_by})
            return
        changes = list(self._changes(configuration))
        if changes:
            raise differing(self.folder, "holds a run with another configuration", changes)

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
        with damaged(self.folder / FILE, _REMEDY):
            version = record.get("made_by", {}).get("dataworth", __version__)
        yield from differences(version, __version__, "version of dataworth")

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json."""
        return read_object(self.folder / FILE, _REMEDY)

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
        with damaged(self.folder / FILE, _REMEDY):
            changes = list(_changed_inputs(before, inputs))
        if changes and not self._has_scores:
            shutil.rmtree(self.folder / "fitted", ignore_errors=True)
            known = self.record
            kept = {name: known[name] for name in ("configuration", "made_by") if name in known}
            write_json(self.folder / FILE, {**kept, "inputs": inputs})
        elif changes:
            raise differing(self.folder, "the inputs changed since this run began", changes)


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
