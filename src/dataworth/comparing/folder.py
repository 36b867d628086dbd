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

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataworth.comparing.plan import fixed
from dataworth.engine.files import read_object, sweep, write_json
from dataworth.table.folder import WorkFolder, differences, differing
from dataworth.table.run import machine
from dataworth.version import __version__

FILE = "plan.json"


class CompareFolder(WorkFolder):
    """A comparison's folder, locked while it is open."""

    noun = "comparison"
    record_file = FILE
    mark = "asked"
    ours = ("scores", "choices", "held_out", "bank", "trainings", "work")
    our_files = ("comparison.json", "report.html", "tokenizer.json")

    @staticmethod
    def open(folder: Path, *, overwrite: bool) -> CompareFolder:
        """Lock a folder that is empty or holds a comparison.

        Raises RunError when it holds something else, or when another process works in it.
        """
        opened = CompareFolder.locked(folder)
        try:
            if overwrite:
                opened.clear()
            sweep(folder)
        except BaseException:
            opened.close()
            raise
        return opened

    @property
    def record(self) -> dict[str, Any] | None:
        """The content of plan.json, None before it is there."""
        path = self.folder / FILE
        return read_object(path) if path.is_file() else None

    def begin(self, plan: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        """Record what was asked for, or check that it is what the folder was begun with.

        The resolved plan is as good as the one that was asked for. Labels may change, and there may
        be other selections, seeds, sizes and tokens. Raises RunError with the differences, those of
        the versions too: one comparison's models are trained by one program.
        """
        made_by = {"dataworth": __version__, **versions}
        record = self.record
        if record is None:
            self._write({"asked": dict(plan), "versions": made_by, "machine": machine()})
            return
        given = fixed(plan)
        changes = list(differences(fixed(record.get("asked", {})), given))
        if not changes and record["asked"] != plan:
            self._write({**record, "asked": dict(plan)})
        if "plan" in record and not list(differences(fixed(record["plan"]), given)):
            changes = []
        changes += differences(record.get("versions", {}), made_by, "version of")
        if changes and not any((self.folder / "trainings").glob("*/result.json")):
            self.clear()
            self._write({"asked": dict(plan), "versions": made_by, "machine": machine()})
        elif changes:
            raise differing(self.folder, "holds a comparison with another plan", changes)

    def resolve(self, plan: Mapping[str, Any], **facts: Any) -> None:
        """Record the resolved plan, which from now on is what is carried out."""
        made = {"plan": dict(plan), **facts}
        self._write(made | {k: v for k, v in (self.record or {}).items() if k not in made})

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Record digests of what is read beside the pool and its targets, or compare.

        Raises RunError that names what changed.
        """
        record = self.record or {}
        before = record.get("inputs", {})
        changes = list(
            differences(
                {k: v for k, v in before.items() if k in inputs},
                {k: v for k, v in inputs.items() if k in before},
            )
        )
        if changes:
            raise differing(self.folder, "the inputs changed since this comparison began", changes)
        if not inputs.keys() <= before.keys():
            self._write({**record, "inputs": {**before, **inputs}})

    def _write(self, record: Mapping[str, Any]) -> None:
        write_json(self.folder / FILE, record)
