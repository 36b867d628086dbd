"""Scoring for a comparison: the pool is read once for all step lists with the same filters.

Steps that may drop documents decide what the steps behind them see, so a list of steps up to its
last such one is a table of its own; the methods behind it stand side by side in it. What has a
`mechanism` to be chosen by is a method; the few documents that one of a table's methods cannot
score, those without a word, none of its candidates can choose.

Steps are fitted once, with one seed, on one half of each target: so what varies between the seeds
of a comparison is the noise of the mechanisms and of training, not the fit.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataworth.comparing.plan import CandidatePlan, ComparePlan
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.find import URL
from dataworth.engine.files import atomic_folder, read_object
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError
from dataworth.flow.scoring import Scored, inputs_of, run_scoring
from dataworth.flow.settings import ScoreSettings, fingerprint
from dataworth.flow.targets import called, open_targets
from dataworth.mechanism.base import needs_utility, split_name
from dataworth.mechanism.expression import Expression, parse_expression
from dataworth.mechanism.registry import DEFAULT, WITHOUT_UTILITY
from dataworth.mechanism.registry import parse as parse_mechanism
from dataworth.methods.base import JOINT, Needs, Step, survivors
from dataworth.methods.registry import shown
from dataworth.table.run import RunFolder

_MOST_DROPPED = 0.01  # of the documents, by a method that shares its table
_LOOKED_AT = 4000


@dataclass(frozen=True)
class Group:
    """Step lists that share a table: the steps that may drop documents, then all methods."""

    prefix: tuple[Step, ...]
    steps: tuple[Step, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """What the steps' columns are called by."""
        return ScoreSettings(self.steps).labels


@dataclass
class Table:
    """A group that was scored."""

    group: Group
    scored: Scored
    settings: ScoreSettings


@dataclass(frozen=True)
class Chooser:
    """How a candidate is chosen for one target: columns of its table and a mechanism.

    `target` is None where the choice is the same for all targets. `utility` is an expression over
    the table's columns, None where there is but one column, or none.
    """

    target: str | None
    columns: tuple[str, ...]
    utility: str | None
    mechanism: str


def groups_of(candidates: Sequence[CandidatePlan]) -> dict[str, Group]:
    """The group of each candidate that has to be chosen, by name."""
    prefixes: dict[str, tuple[Step, ...]] = {}
    keys: dict[str, tuple[str, ...]] = {}
    members: dict[tuple[str, ...], list[Step]] = {}
    for candidate in candidates:
        if candidate.source is not None:
            continue
        steps = candidate.steps
        last = max((i + 1 for i, step in enumerate(steps) if _may_drop(step)), default=0)
        wanted = {shown(need) for step in steps[last:] for need in _needs(step)}
        key = (*(shown(step) for step in steps[:last]), "|", *sorted(wanted))
        prefixes[candidate.name], keys[candidate.name] = steps[:last], key
        held = members.setdefault(key, list(steps[:last]))
        for step in steps[last:]:
            if step not in held[last:]:
                held.append(step)
    return {name: Group(prefixes[name], tuple(members[key])) for name, key in keys.items()}


def _may_drop(step: Step) -> bool:
    """Tell if a step is a filter: it names no mechanism and scores for no target."""
    return not (hasattr(step, "mechanism") or getattr(step, "needs_target", False))


def _needs(step: Step) -> tuple[Step, ...]:
    return step.filters if isinstance(step, Needs) else ()


def sources(paths: Sequence[str]) -> list[str | Path]:
    """Paths as paths, so that a missing one cannot be taken for a document's text."""
    return [path if URL.match(path) else Path(path) for path in paths]


def target_fields(plan: ComparePlan) -> Fields:
    """How the rows of targets and of finished selections are read."""
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


def score_group(
    plan: ComparePlan,
    group: Group,
    folder: Path,
    engine: Engine,
    progress: Progress,
    reuse: Sequence[Path] = (),
) -> Table:
    """The group's table, scored now as far as it is not there.

    `reuse`: such folders of other comparisons, whose table of the same group is taken over.
    """
    sample = plan.sample_bytes
    settings = ScoreSettings(
        steps=group.steps,
        fields=plan.fields,
        target_fields=target_fields(plan),
        seed=plan.score_seed,
        holdout=plan.holdout,
        max_bad=plan.max_bad,
        tokenizer=plan.tokenizer,
        **({} if sample is None else {"sample_bytes": sample}),
    )
    place = folder / fingerprint(settings.as_dict())
    examples = {name: sources(target.examples) for name, target in plan.targets.items()}
    held = {name: sources(item.validation) for name, item in plan.targets.items()}
    held = {name: source for name, source in held.items() if source}
    targets = open_targets(examples, settings.target_fields, None, None)
    validation = open_targets(held, settings.target_fields, None, None)
    corpus = Corpus.open(
        sources(plan.pool),
        fields=settings.fields,
        out=folder.parent,
        others=called(validation, "validation set") | called(targets),
    )
    for other in sorted(reuse, key=lambda other: -_scored(other / place.name)):
        _take_over(other / place.name, place, inputs_of(corpus, targets))
    run = RunFolder.open(place, {"score": settings.as_dict()}, overwrite=False)
    with run:
        scored = run_scoring(run, corpus, targets, settings, engine, progress)
    _check_sharing(group, scored)
    return Table(group, scored, settings)


def _scored(folder: Path) -> int:
    """Units of a table that are there: the fullest one leaves the least to do."""
    return sum(1 for _ in (folder / "table").glob("*.parquet"))


def _take_over(other: Path, place: Path, inputs: Mapping[str, Any]) -> None:
    """Copy a table, as far as it is there, if it is of the same files."""
    record = read_object(other / "run.json") if (other / "run.json").is_file() else {}
    if place.exists() or record.get("inputs") != inputs:
        return
    with atomic_folder(place) as temporary:
        shutil.copytree(other, temporary, ignore=links, dirs_exist_ok=True)


def links(folder: str, names: list[str]) -> list[str]:
    """Return the links among the names: what they point to is not of the folder that is copied."""
    return [name for name in names if (Path(folder) / name).is_symlink()]


def _check_sharing(group: Group, scored: Scored) -> None:
    """Raise ConfigError where a method drops so much that its table is no place for others."""
    before = len(group.prefix)
    methods = [fitted for fitted in scored.fitted if not _may_drop(fitted.step)]
    own = [fitted for fitted in methods if fitted.label not in group.labels[:before]]
    if len(own) < 2:  # nothing is shared, and steps before it may take long
        return
    few = scored.survey.sample.take(np.arange(min(_LOOKED_AT, len(scored.survey.sample))))
    filters = [fitted for fitted in scored.fitted if fitted not in own]
    kept = survivors(few, filters)
    for fitted in own:
        left = len(survivors(kept, [fitted]))
        if left < (1 - _MOST_DROPPED) * len(kept):
            raise ConfigError(
                f"{fitted.label} scores only {left} of {len(kept)} documents and drops the rest, "
                "so it cannot share a table: select with it by itself, and compare what it "
                "selected ('from: FOLDER')"
            )


def choosers(candidate: CandidatePlan, table: Table, targets: Sequence[str]) -> list[Chooser]:
    """How a candidate is chosen for each target, or once if the target makes no difference.

    Raises ConfigError for a utility that names what the candidate does not have.
    """
    labels = _labels(candidate, table.group)
    columns = _columns(table.scored)
    mechanism = candidate.mechanism
    random = mechanism is not None and not needs_utility(parse_mechanism(mechanism))
    scoring = [
        (step, labels[own])
        for step, own in zip(candidate.steps, candidate.labels, strict=True)
        if columns.get(labels[own])
    ]
    if candidate.utility is None and (random or not scoring):
        return [Chooser(None, (), None, mechanism or WITHOUT_UTILITY)]
    if candidate.utility is None:
        step, label = scoring[-1]
        expression = Expression(((1.0, label),))
        mechanism = mechanism or str(getattr(step, "mechanism", DEFAULT))
    else:
        expression = _translated(parse_expression(candidate.utility), labels, candidate.name)
        mechanism = mechanism or str(getattr(scoring[-1][0], "mechanism", DEFAULT))
    made = []
    for target in targets:
        terms = tuple(
            (weight, _column(name, columns, target, candidate.name))
            for weight, name in expression.terms
        )
        simple = len(terms) == 1 and terms[0][0] == 1 and candidate.scale == "raw"
        text = None if simple else str(Expression(terms))
        made.append(Chooser(target, tuple(name for _, name in terms), text, mechanism))
    if all(chooser.columns == made[0].columns for chooser in made[1:]) and (
        len(made) > 1 or not any(split_name(name)[1] == targets[0] for name in made[0].columns)
    ):
        return [dataclasses.replace(made[0], target=None)]
    return made


def labels_in(candidate: CandidatePlan, table: Table) -> list[str]:
    """What the columns of the candidate's steps are called by in its table."""
    return list(_labels(candidate, table.group).values())


def _labels(candidate: CandidatePlan, group: Group) -> dict[str, str]:
    """The candidate's own labels → the labels of the same steps in the group's table."""
    found = {}
    before = len(group.prefix)
    for place, (step, own) in enumerate(zip(candidate.steps, candidate.labels, strict=True)):
        start = place if place < before else before
        found[own] = group.labels[group.steps.index(step, start)]
    return found


def _columns(scored: Scored) -> dict[str, dict[str, str]]:
    """Of each step's label: target → utility column."""
    found: dict[str, dict[str, str]] = {}
    for fitted in scored.fitted:
        for column in fitted.columns:
            if column.name.startswith("utility:"):
                label, target = split_name(column.name)
                found.setdefault(label, {})[target] = column.name
    return found


def _translated(expression: Expression, labels: Mapping[str, str], name: str) -> Expression:
    terms = []
    for weight, text in expression.terms:
        own, colon, target = text.removeprefix("utility:").partition(":")
        if own not in labels:
            raise ConfigError(
                f"selections: {name}: its utility names {own!r}, but its steps are: "
                f"{', '.join(labels) or 'none'}"
            )
        terms.append((weight, labels[own] + colon + target))
    return Expression(tuple(terms))


def _column(name: str, columns: Mapping[str, Mapping[str, str]], target: str, where: str) -> str:
    """The column that a label, or a label and a target, stand for when choosing for `target`."""
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
