"""The judgement: in which order things are read, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.engine.files import local_path, read_json, write_json
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, DataworthError
from dataworth.flow.choosing import Choice
from dataworth.flow.given import as_tuple, engine_of
from dataworth.flow.inspect import fields_there
from dataworth.flow.metrics import SelectionText, gain_on, ngrams_of, part_for, utility_facts
from dataworth.judging import measures
from dataworth.judging.look import Groups, Look, Looked, look
from dataworth.judging.measures import Pool
from dataworth.judging.opening import JudgeSettings, Opening, groups_of, settings_of
from dataworth.judging.subject import Subject, chosen_uids
from dataworth.measures.contamination import index as index_of
from dataworth.methods.base import Targets
from dataworth.options.calls import JudgeOptions
from dataworth.results import doubts
from dataworth.results import judgement as model
from dataworth.results.plain import plain
from dataworth.version import __version__

METRICS = "metrics.json"
REPORT = "report.html"


class Judgement:
    """Judgement of a selection: its numbers, `metrics`, and ways to keep and show them."""

    def __init__(self, metrics: model.Metrics) -> None:
        self.metrics = metrics

    def __repr__(self) -> str:
        said = [f"{self.metrics['selection']['documents']:,} documents"]
        mean = self.metrics.get("mean")
        if mean is not None and mean["value"] is not None:
            said.append(f"gain {mean['value']:.3f} nats per word")
        return f"Judgement({', '.join(said)})"

    def save(self, folder: str | Path) -> Path:
        """Write `metrics.json` and `report.html` into a folder; an earlier judgement is replaced.

        Raises ConfigError for a folder that holds something else under these names.
        """
        path = local_path(folder)
        check_folder(path)
        write_json(path / METRICS, self.metrics)
        self.report(path / REPORT)
        return path

    def report(self, file: str | Path) -> Path:
        """Write the HTML report: one file that needs nothing else."""
        from dataworth.report import judgement_page

        path = local_path(file)
        judgement_page.write(self.metrics, path)
        return path


def check_folder(folder: Path) -> None:
    """Raise ConfigError unless the folder is free or holds an earlier judgement."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; name a folder for the judgement")
    if (folder / "run.json").exists():
        raise ConfigError(
            f"{folder}: holds a run, whose report would be overwritten; choose another folder"
        )
    if not (folder / METRICS).exists():
        return
    try:
        known = read_json(folder / METRICS)
    except DataworthError:
        known = None
    if not isinstance(known, dict) or "judgement_version" not in known:
        raise ConfigError(
            f"{folder / METRICS}: is not of a judgement, and would be overwritten; choose another "
            "folder"
        )


def run_judge(options: JudgeOptions) -> Judgement:
    """Judge a selection; see `dataworth.judge`."""
    folder = None if options.out is None else local_path(options.out)
    if folder is not None:
        check_folder(folder)
    judgement = Judgement(_measure(options, settings_of(options)))
    if folder is not None:
        judgement.save(folder)
    return judgement


def _measure(options: JudgeOptions, settings: JudgeSettings) -> model.Metrics:
    """Compute all measures of a selection."""
    selection, target, pool = options.selection, options.target, options.pool
    engine, progress = engine_of(options.engine), options.progress or Progress()
    judge = Opening(settings, options.storage_options, engine, progress)
    subject = judge.open(selection)
    judge.settle(subject)
    subject = judge.with_groups(subject)
    judge.note_inputs("selection", subject.corpus)
    others = [judge.open(other) for other in as_tuple(options.against)]
    checks = judge.validation(options.validation)
    if target is not None and pool is None and subject.selection is None:
        judge.targets(target, subject, None)  # raises, before anything large is read
    whole = judge.pool(pool, subject, target, options.validation)
    targets = judge.targets(target, subject, whole)
    indexes = {name: index_of(documents) for name, documents in checks.items()}
    if whole is not None:
        for index in indexes.values():
            index.leave_out_common(whole.sample)
    looked = look(
        Look(subject, seed=judge.seed, indexes=indexes),
        engine,
        max_bad=settings.max_bad,
        progress=progress,
        name="selection",
        role="the selection",
    )
    groups = _own_groups(subject, looked, judge.groups)
    text = measures.text_of(looked)
    chosen = None if subject.selection is None else subject.selection.choice
    metrics: model.Metrics = {
        "judgement_version": model.JUDGEMENT_VERSION,
        "title": f"Is {subject.name} any good?",
        "version": __version__,
        "seed": judge.seed,
        "settings": judge.as_dict(),
        "inputs": judge.inputs,
        "selection": measures.judged(subject, looked),
        "pool": None if whole is None else measures.of_pool(whole, looked),
        "targets": _targets(targets, checks, text, chosen, whole, judge.seed),
        "utilities": _utilities(subject),
        "composition": measures.compositions(
            judge.groups,
            groups,
            None if whole is None else whole.groups,
        ),
        "lengths": measures.lengths(looked, whole),
        "ngrams": ngrams_of(whole.sample, text) if whole is not None else None,
        "duplicates": measures.duplicates(subject, looked, whole),
        "diversity": measures.diversity(text, whole),
        "overlap": [
            measures.overlap(subject, looked.uid, other, _uids(judge, other), whole)
            for other in others
        ],
        "contamination": measures.contamination(indexes, looked, whole),
    }
    metrics["mean"] = _mean(metrics["targets"])
    metrics["warnings"] = [*doubts.judged(metrics), *_without_values(subject, groups)]
    metrics["notes"] = _notes(metrics)
    made: model.Metrics = plain(metrics)
    return made


def _without_values(subject: Subject, groups: Groups) -> list[str]:
    """Return a line for each field to group by that no document has: it may be misspelt."""
    empty = [name for name, values in groups.items() if set(values) == {None}]
    there = fields_there(subject.corpus) if empty else ""
    return [f"No document has a value in the field {name!r}{there}." for name in empty]


def _uids(judge: Opening, other: Subject) -> NDArray[np.uint64]:
    if other.selection is not None:
        return chosen_uids(other.selection)[0]
    judge.note_inputs(f"against {other.name}", other.corpus)
    return look(
        Look(other, text=False),
        judge.engine,
        max_bad=judge.settings.max_bad,
        progress=judge.progress,
        name="against",
        role=f"the selection {other.name}",
    ).uid


def _own_groups(subject: Subject, looked: Looked, groups: tuple[str, ...]) -> Groups:
    """Return the selection's documents and tokens by each field."""
    out = dict(looked.groups)
    if subject.selection is not None:
        for name in groups:
            if name not in out and name in subject.selection.scores.table.names:
                out[name] = groups_of(subject.selection, name, pool=False)
    return out


def _utilities(subject: Subject) -> list[Any]:
    if subject.selection is None:
        return []
    scored, choice = subject.selection.scores.scored, subject.selection.choice
    return [utility_facts(scored, choice, column) for column in choice.view.utilities]


def _targets(
    targets: Targets,
    checks: Mapping[str, Documents],
    text: SelectionText,
    choice: Choice | None,
    pool: Pool | None,
    seed: int,
) -> list[model.Target]:
    out = []
    for name in targets.names:
        fit, held = targets.fit[name], targets.held_out.get(name)
        used = fit if held is None else held
        many = sum(len(part) for part in (fit, held) if part is not None)
        size = sum(int(part.text_bytes.sum()) for part in (fit, held) if part is not None)
        made: model.Target = {"name": name, "documents": many, "bytes": size}
        if pool is not None and len(text.documents):
            part = text if choice is None else part_for(choice, name, text)
            made["gain"] = gain_on(used, pool.sample, part, seed=seed, held_out=held is not None)
            if name in checks:
                made["validation"] = {
                    "documents": len(checks[name]),
                    "gain": gain_on(checks[name], pool.sample, part, seed=seed, held_out=True),
                }
        out.append(made)
    return out


def _mean(targets: list[model.Target]) -> model.Mean | None:
    known = [made for target in targets if (made := target.get("gain")) is not None]
    if not known:
        return None
    return {
        "value": float(np.mean([made["value"] for made in known])),
        "bound": float(np.mean([made["bound"] for made in known])),
        "targets": len(known),
    }


def _notes(metrics: model.Metrics) -> list[str]:
    """Return what is good to know."""
    found = []
    selection, targets = metrics["selection"], metrics.get("targets", [])
    if selection["kind"] == "files" and any(
        (made := target.get("gain")) and made.get("held_out") for target in targets
    ):
        found.append(
            "The held-out half of a target is the one of seed "
            f"{metrics.get('seed', 0)}. If the selection was made with all of the target, measure "
            "it on other text (--validation NAME=PATH)."
        )
    if not targets:
        found.append("No target: nothing here says how near the selection is to what it is for.")
    if not metrics.get("contamination"):
        found.append("No validation set: contamination was not looked for.")
    if metrics.get("pool") is None:
        found.append("No pool: nothing is compared with what was there to choose from.")
    return found
