"""The folder of a run: what was asked for, on which inputs, and how far it came.

A folder belongs to one state of one pool; whatever is computed on it becomes further columns.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from dataworth.engine.files import damaged, read_object, sweep, write_json
from dataworth.errors import RunError
from dataworth.table.folder import WorkFolder, differences, differing
from dataworth.version import __version__

FILE = "run.json"
Deciding = Callable[[Mapping[str, Any]], dict[str, Any]]
_REMEDY = "start afresh with --overwrite (overwrite=True)"


def machine() -> dict[str, Any]:
    """Return the machine's versions and CPUs, for the record: they change no result."""
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
    ours: ClassVar[tuple[str, ...]] = (
        *("fitted", "table", "lists", "quarantine", "selections", "rounds", "data"),
        *("work", "spool"),
    )
    our_files = ("report.html", "README.md", "attribution.json", "attribution.html")
    # Answers cost money: starting afresh removes none.
    early: ClassVar[tuple[str, ...]] = ("answers",)

    @classmethod
    def open(
        cls,
        folder: Path,
        configuration: Mapping[str, Any],
        *,
        overwrite: bool,
        deciding: Deciding = dict,
    ) -> Self:
        """Start a run, or go on with it. `deciding`: see `changes_of`.

        Raises RunError when the folder holds another configuration (with the differences), when it
        holds something that is no run, or when another process works in it.
        """
        run = cls.locked(folder)
        try:
            run._begin(configuration, overwrite, deciding)
        except BaseException:
            run.close()
            raise
        return run

    beside: ClassVar[bool] = False
    """True where other work is done beside what is selected or scored, which stays as it is."""
    _selects = False
    """True where the folder was opened to select, and not to score alone."""
    _again = False
    """True where a selection was begun here before."""

    def _begin(self, configuration: Mapping[str, Any], overwrite: bool, deciding: Deciding) -> None:
        self._selects = "choose" in configuration
        changes = [] if overwrite else list(changes_of(self.folder, configuration, deciding))
        if overwrite or (changes and not self._has_scores):
            self.clear()
        sweep(self.folder)
        if not (self.folder / FILE).is_file():
            made_by = {"dataworth": __version__, **machine()}
            write_json(self.folder / FILE, {"configuration": configuration, "made_by": made_by})
            return
        check_layout(self.folder)
        if changes:
            raise differing(self.folder, "holds a run with another configuration", changes)
        self._again = "choose" in self.record["configuration"]
        if not (self._again or self.beside):
            self.update(configuration=configuration)

    @property
    def _has_scores(self) -> bool:
        return has_scores(self.folder)

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json."""
        return read_object(self.folder / FILE, _REMEDY)

    def update(self, **facts: Any) -> None:
        """Add facts to run.json."""
        write_json(self.folder / FILE, {**self.record, **facts})

    def finish(self, name: str, **facts: Any) -> None:
        """Record the list of steps that was scored last, and further facts."""
        self.update(list=name, **facts)

    def check_inputs(self, inputs: Mapping[str, list[dict[str, Any]]]) -> list[int]:
        """Compare the inputs' fingerprints with those of the run's start.

        Return the pool's files, by their number, that were written again since, though they begin,
        end and are as long as they were; `keep_inputs` is called once they are known to be the
        same. Raises RunError that names the files that changed.
        """
        before = self.record.get("inputs")
        if before is None:
            return []
        with damaged(self.folder / FILE, _REMEDY):
            # What a run selected is of its targets too; columns of other targets are further ones.
            whole = self._again and self._selects
            changes: list[str] = []
            for role in sorted({*before, *inputs}) if whole else ["pool"]:
                changes += _changed_files(before.get(role, []), inputs.get(role, []))
        if changes and self._has_scores:
            raise differing(self.folder, "the inputs changed since this run began", changes)
        if changes:
            shutil.rmtree(self.folder / "fitted", ignore_errors=True)
            known = {name: self.record[name] for name in ("configuration", "made_by")}
            write_json(self.folder / FILE, known)
            return []
        pairs = enumerate(zip(before["pool"], inputs["pool"], strict=True))
        return [n for n, (one, other) in pairs if one["modified"] != other["modified"]]

    def keep_inputs(self, inputs: Mapping[str, list[dict[str, Any]]]) -> None:
        """Record the inputs; beside a selection of other targets, the pool alone."""
        own = self._selects or not (self._again or self.beside)
        before = self.record.get("inputs", {})
        self.update(inputs=inputs if own else {**before, "pool": inputs["pool"]})


def has_scores(folder: Path) -> bool:
    """Tell if there is work to lose. A first attempt that failed over an option has none."""
    parts = (folder / "table").glob("**/[0-9]*.parquet")
    return any(parts) or any((folder / name).exists() for name in ("selections", "data"))


def changes_of(
    folder: Path, configuration: Mapping[str, Any], deciding: Deciding = dict
) -> Iterator[str]:
    """Yield what cannot be done in the folder of a run, if it is one, a line each.

    `deciding` leaves of a configuration what can change a result.

    Other steps, targets, seeds and labels make further columns. Other documents do not fit, nor a
    second selection beside that which the run wrote; another version may compute otherwise.
    """
    if not (folder / FILE).is_file():
        return
    record = read_object(folder / FILE, _REMEDY)
    with damaged(folder / FILE, _REMEDY):
        before = dict(record.get("configuration", {}))
        if not has_scores(folder) or ("choose" in before and "choose" in configuration):
            yield from differences(deciding(before), deciding(configuration))
        else:
            yield from differences(_reading(before), _reading(configuration))
        version = record.get("made_by", {}).get("dataworth", __version__)
    yield from differences(version, __version__, "version of dataworth")


def check_layout(folder: Path) -> None:
    """Raise RunError for a run of a version that kept its table in another way."""
    earlier = ("table/[0-9]*.parquet", "fitted/*/arrays.npz")
    if any(any(folder.glob(pattern)) for pattern in earlier):
        raise RunError(
            f"{folder}: holds a run of an earlier version of dataworth, which cannot be read; "
            "choose another folder, or start afresh with --overwrite (overwrite=True)"
        )


def _reading(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return how documents are read, of a configuration."""
    fields = dict(configuration.get("score", {}).get("fields", {}))
    return {name: value for name, value in fields.items() if name not in ("id", "groups")}


def _content(item: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(item[name] for name in ("format", "compression", "size", "hash"))


def _changed_files(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what differs in content, a line each; files that only lie elsewhere do not."""
    if [_content(item) for item in before] == [_content(item) for item in now]:
        return
    old = {item["path"]: item for item in before}
    new = {item["path"]: item for item in now}
    for path in sorted({*old, *new}):
        if path not in new:
            yield f"{path}: is gone"
        elif path not in old:
            yield f"{path}: is new"
        elif _content(old[path]) != _content(new[path]):
            keys = [key for key in old[path] if old[path][key] != new[path].get(key)]
            yield f"{path}: changed ({', '.join(keys)})"
    if {*old} == {*new} and [*old] != [*new]:
        yield "the files are given in another order"
