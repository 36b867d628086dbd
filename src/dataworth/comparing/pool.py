"""Scoring for a comparison: one pass over the pool for the steps of all candidates.

Each candidate's steps are a list of their own, as in `select`; columns that two lists have in
common are made once, and those of other comparisons on the same pool are taken over.

Steps are fitted once, with one seed, on one half of each target: so what varies between the seeds
of a comparison is the noise of the mechanisms and of training, not the fit.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dataworth.comparing.plan import CandidatePlan, ComparePlan
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.find import URL
from dataworth.engine.files import atomic_folder, damaged, read_object
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError
from dataworth.flow.scoring import Scored, documents_folder, input_record, score_lists
from dataworth.flow.settings import ScoreSettings
from dataworth.flow.targets import called, open_targets
from dataworth.mechanism.base import needs_utility, split_name
from dataworth.mechanism.expression import Expression, parse_expression
from dataworth.mechanism.registry import DEFAULT, WITHOUT_UTILITY
from dataworth.mechanism.registry import parse as parse_mechanism
from dataworth.methods.base import JOINT
from dataworth.table.columns import copy_columns
from dataworth.table.run import RunFolder


@dataclass(frozen=True)
class Chooser:
    """The choice of a candidate for one target: columns of its table and a mechanism.

    `target` is None where the choice is the same for all targets. `utility` is an expression over
    the table's columns, None where there is but one column, or none.
    """

    target: str | None
    columns: tuple[str, ...]
    utility: str | None
    mechanism: str


def sources(paths: Sequence[str]) -> list[str | Path]:
    """Return paths as `Path`, so that a missing one cannot be taken for a document's text."""
    return [path if URL.match(path) else Path(path) for path in paths]


def target_fields(plan: ComparePlan) -> Fields:
    """Return how the rows of targets and of finished selections are read."""
    asked = plan.target_template
    template = plan.fields.template if asked is None else None if asked == "none" else asked
    own = plan.fields.text if template == plan.fields.template else ("text",)
    return dataclasses.replace(
        plan.fields,
        text=plan.target_text_field or own,
        template=template,
        id=None,
        groups=(),
        split_words=None,
    )


def score_candidates(
    plan: ComparePlan,
    folder: Path,
    engine: Engine,
    progress: Progress,
    reuse: Sequence[Path] = (),
) -> dict[str, Scored]:
    """Return the table of each candidate that has to be chosen; what is missing is scored now.

    `reuse`: such folders of other comparisons, whose columns of the same pool are taken over.
    """
    sample = plan.sample_bytes
    common = ScoreSettings(
        steps=(),
        fields=plan.fields,
        target_fields=target_fields(plan),
        seed=plan.score_seed,
        holdout=plan.holdout,
        max_bad=plan.max_bad,
        tokenizer=plan.tokenizer,
        **({} if sample is None else {"sample_bytes": sample}),
    )
    chosen = [candidate for candidate in plan.candidates if candidate.source is None]
    lists = list(dict.fromkeys(candidate.steps for candidate in chosen))
    examples = {name: sources(target.examples) for name, target in plan.targets.items()}
    held = {name: sources(item.validation) for name, item in plan.targets.items()}
    held = {name: source for name, source in held.items() if source}
    targets = open_targets(examples, common.target_fields, None, None)
    validation = open_targets(held, common.target_fields, None, None)
    corpus = Corpus.open(
        sources(plan.pool),
        fields=common.fields,
        out=folder.parent,
        others=called(validation, "validation set") | called(targets),
    )
    with RunFolder.open(folder, {"score": common.as_dict()}, overwrite=False) as run:
        files = input_record(corpus)
        for other in reuse:
            _take_over(other, run, files, documents_folder(corpus, files))
        settings = [dataclasses.replace(common, steps=steps) for steps in lists]
        scored = score_lists(run, corpus, targets, settings, engine, progress)
    return {candidate.name: scored[lists.index(candidate.steps)] for candidate in chosen}


def _take_over(
    other: Path, run: RunFolder, files: Sequence[Mapping[str, Any]], documents: str
) -> None:
    """Copy columns, and what was learned, of another comparison on the same documents.

    Files that were written again since are not taken for the same: their middle is not known.
    """
    if not (other / "table" / documents).is_dir() or not (other / "run.json").is_file():
        return
    record = read_object(other / "run.json")
    with damaged(other / "run.json"):
        theirs = [item["modified"] for item in record["inputs"]["pool"]]
    if theirs != [item["modified"] for item in files]:
        return
    for folder in sorted((other / "fitted").iterdir()):
        place = run.folder / "fitted" / folder.name
        if folder.is_dir() and not folder.is_symlink() and not place.exists():
            with atomic_folder(place) as temporary:
                shutil.copytree(folder, temporary, ignore=links, dirs_exist_ok=True)
    for folder in sorted((other / "table").iterdir()):
        copy_columns(folder, run.folder / "table" / folder.name)
    costs = record.get("costs")
    if isinstance(costs, dict):
        run.update(costs={**costs, **run.record.get("costs", {})})


def links(folder: str, names: list[str]) -> list[str]:
    """Return the links among the names: what they point to is not of the folder that is copied."""
    return [name for name in names if (Path(folder) / name).is_symlink()]


def choosers(candidate: CandidatePlan, scored: Scored, targets: Sequence[str]) -> list[Chooser]:
    """Return how a candidate is chosen for each target, or once if the target makes no difference.

    Raises ConfigError for a utility that names what the candidate does not have.
    """
    columns = _columns(scored)
    mechanism = candidate.mechanism
    random = mechanism is not None and not needs_utility(parse_mechanism(mechanism))
    scoring = [
        (step, label)
        for step, label in zip(candidate.steps, candidate.labels, strict=True)
        if columns.get(label)
    ]
    if candidate.utility is None and (random or not scoring):
        return [Chooser(None, (), None, mechanism or WITHOUT_UTILITY)]
    if candidate.utility is None:
        step, label = scoring[-1]
        expression = Expression(((1.0, label),))
        mechanism = mechanism or str(getattr(step, "mechanism", DEFAULT))
    else:
        expression = _checked(parse_expression(candidate.utility), candidate)
        mechanism = mechanism or str(getattr(scoring[-1][0], "mechanism", DEFAULT))
    made = []
    for target in targets:
        column = partial(_column, columns=columns, target=target, where=candidate.name)
        own = expression.renamed(column)
        simple = own.weighted == [(1.0, own.names[0])] and candidate.scale == "raw"
        text = None if simple else str(own)
        made.append(Chooser(target, tuple(own.names), text, mechanism))
    if all(chooser.columns == made[0].columns for chooser in made[1:]) and (
        len(made) > 1 or not any(split_name(name)[1] == targets[0] for name in made[0].columns)
    ):
        return [dataclasses.replace(made[0], target=None)]
    return made


def _columns(scored: Scored) -> dict[str, dict[str, str]]:
    """Return the utility columns by the step's label and the target."""
    found: dict[str, dict[str, str]] = {}
    for fitted in scored.fitted:
        for column in fitted.columns:
            if column.name.startswith("utility:"):
                label, target = split_name(column.name)
                found.setdefault(label, {})[target] = column.name
    return found


def _checked(expression: Expression, candidate: CandidatePlan) -> Expression:
    """Return the expression without prefixes of columns; ConfigError if it names other steps."""

    def known(text: str) -> str:
        name = text.removeprefix("utility:")
        if name.partition(":")[0] not in candidate.labels:
            raise ConfigError(
                f"selections: {candidate.name}: its utility names {name.partition(':')[0]!r}, but "
                f"its steps are: {', '.join(candidate.labels) or 'none'}"
            )
        return name

    return expression.renamed(known)


def _column(name: str, columns: Mapping[str, Mapping[str, str]], target: str, where: str) -> str:
    """Return the column that a label, alone or with a target, means when choosing for `target`."""
    label, _, given = name.partition(":")
    of = columns.get(label, {})
    for key in (given,) if given else (target, JOINT, ""):
        if key in of:
            return of[key]
    # A step may name a joint utility by the targets that it is for.
    joint = [column for key, column in of.items() if target in key.split("+")]
    if joint and not given:
        return joint[0]
    raise ConfigError(f"selections: {where}: {label} has no utility for {given or target!r}")
