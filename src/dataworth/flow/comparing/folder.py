"""The folder of a comparison: its resolved plan, and where all that it makes is kept.

plan.json      the plan with every value, what it gave up, versions, fingerprints of the inputs
scores/        a run for each list of filters: the documents tables
choices/       each choice's documents and cheap numbers
held_out/      documents that no selection holds and that losses are measured on
bank/          text and tokens of every document that was chosen, each once
trainings/     one folder for each model trained
comparison.json, report.html
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from dataworth.corpus.files import write_error
from dataworth.engine.files import read_json, sweep, write_json
from dataworth.engine.run import LOCK, differences, machine
from dataworth.errors import RunError
from dataworth.flow.comparing.plan import unlabelled
from dataworth.version import __version__

FILE = "plan.json"
OURS = ("scores", "choices", "held_out", "bank", "trainings", "work")
OUR_FILES = ("comparison.json", "report.html", "tokenizer.json", FILE)


class CompareFolder:
    """A comparison's folder, locked while it is open."""

    def __init__(self, folder: Path, lock: IO[str]) -> None:
        self.folder = folder
        self._lock = lock

    @staticmethod
    def open(folder: Path, *, overwrite: bool) -> CompareFolder:
        """Lock a folder that is empty or holds a comparison.

        Raises RunError when it holds something else, or when another process works in it.
        """
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder}: is a file; choose another folder for the output")
        try:
            if folder.exists() and not (_is_comparison(folder) or _is_free(folder)):
                raise RunError(
                    f"{folder}: is not empty and holds no comparison; choose another folder"
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
        opened = CompareFolder(folder, lock)
        try:
            if overwrite:
                opened._clear()
            sweep(folder)
        except BaseException:
            opened.close()
            raise
        return opened

    @property
    def record(self) -> dict[str, Any] | None:
        """The content of plan.json, None before it is there."""
        path = self.folder / FILE
        return dict(read_json(path)) if path.is_file() else None

    def begin(self, plan: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        """Record what was asked for, or check that it is what the folder was begun with.

        The resolved plan is as good as the one that was asked for, and labels may change. Raises
        RunError with the differences, those of the versions too: one comparison's models are
        trained by one program.
        """
        made_by = {"dataworth": __version__, **versions}
        record = self.record
        if record is None:
            self._write({"asked": dict(plan), "versions": made_by, "machine": machine()})
            return
        given = unlabelled(plan)
        changes = list(differences(unlabelled(record.get("asked", {})), given))
        if not changes and record["asked"] != plan:  # other labels
            self._write({**record, "asked": dict(plan)})
        if "plan" in record and not list(differences(unlabelled(record["plan"]), given)):
            changes = []
        changes += differences(record.get("versions", {}), made_by, "version of")
        if changes and not any((self.folder / "trainings").glob("*/result.json")):
            self._clear()
            self._write({"asked": dict(plan), "versions": made_by, "machine": machine()})
        elif changes:
            raise RunError(
                f"{self.folder}: holds a comparison with another plan:\n  "
                + "\n  ".join(changes)
                + "\nChoose another folder, or start afresh with --overwrite (overwrite=True)."
            )

    def resolve(self, plan: Mapping[str, Any], **facts: Any) -> None:
        """Record the resolved plan, which from now on is what is carried out."""
        made = {"plan": dict(plan), **facts}
        self._write(made | {k: v for k, v in (self.record or {}).items() if k not in made})

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Record the fingerprints of what is read beside the pool and its targets, or compare.

        Raises RunError that names what changed.
        """
        record = self.record or {}
        if "inputs" not in record:
            self._write({**record, "inputs": dict(inputs)})
            return
        changes = list(differences(record["inputs"], dict(inputs)))
        if changes:
            raise RunError(
                f"{self.folder}: the inputs changed since this comparison began:\n  "
                + "\n  ".join(changes[:10])
                + "\nChoose another folder, or start afresh with --overwrite (overwrite=True)."
            )

    def _write(self, record: Mapping[str, Any]) -> None:
        write_json(self.folder / FILE, record)

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

    def __enter__(self) -> CompareFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_comparison(folder: Path) -> bool:
    try:
        record = json.loads((folder / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and "asked" in record


def _is_free(folder: Path) -> bool:
    """Whether the folder is empty, but for what a comparison leaves that was killed at once."""
    return all(path.name == LOCK or path.name.startswith(".partial-") for path in folder.iterdir())
