"""The work of `score`, `select` and those around them, from a call's options on. The flow:

pool ──▶ survey ──▶ fit steps ──▶ score every document ──▶ choose ──▶ write and report
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.read.sources import resolve
from dataworth.engine.files import local_path
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, RunError
from dataworth.flow.given import as_tuple, engine_of, fields_beside, fields_of
from dataworth.flow.inspect import Inspection, inspect_corpus
from dataworth.flow.loop import LoopSettings, run_loop
from dataworth.flow.mixtures import mixture_fields
from dataworth.flow.plan import Plan, make_plan
from dataworth.flow.recipe import recorded_choice
from dataworth.flow.rounds import (
    budgets_of,
    check_rounds,
    check_trainer,
    filled,
    steps_of_rounds,
    trainer_of,
)
from dataworth.flow.scores import Scores, choice_settings, load_scores
from dataworth.flow.scoring import run_scoring
from dataworth.flow.selection import Selection, write_selection
from dataworth.flow.settings import ChoiceSettings, ScoreSettings, WriteSettings, deciding
from dataworth.flow.targets import called, named, open_targets
from dataworth.mechanism.budget import parse_quotas
from dataworth.methods.base import Step
from dataworth.methods.places import placed
from dataworth.methods.registry import DEFAULT, check_steps, parse_step
from dataworth.options.calls import (
    ExplainOptions,
    InspectOptions,
    LoadOptions,
    LoopOptions,
    PlanOptions,
    ScoreOptions,
    SelectOptions,
)
from dataworth.results.selection import Explanation
from dataworth.table.run import RunFolder
from dataworth.table.survey import SAMPLE_BYTES


def score_settings(options: Any, groups: tuple[str, ...], steps: Any) -> ScoreSettings:
    """Return how to score by a call's options, once its steps have all that they need."""
    fields = fields_of(options, groups)
    settings = ScoreSettings(
        steps=tuple(placed(parse_step(step), Path()) for step in as_tuple(steps)),
        fields=fields,
        target_fields=fields_beside(fields, options.target_text_field, options.target_template),
        seed=options.seed,
        holdout=options.holdout,
        max_bad=options.max_bad,
        tokenizer=None if options.tokenizer is None else str(Path(options.tokenizer).absolute()),
        sample_bytes=SAMPLE_BYTES if options.sample_bytes is None else options.sample_bytes,
    )
    check_steps(settings.steps)
    return settings


def folder_of(
    out: str | Path | None,
) -> tuple[tempfile.TemporaryDirectory[str] | None, Path]:
    """Return a run's folder, and the temporary one that it lies in if there is no `out`."""
    if out is not None:
        return None, local_path(out).absolute()
    keep = tempfile.TemporaryDirectory(prefix="dataworth-")
    return keep, Path(keep.name) / "run"


def grouped(group_by: Any, quotas: Any, mixture: Any = None) -> tuple[str, ...]:
    """Return the fields to group by, those of the quotas and the mixture too."""
    fields = mixture_fields(mixture, as_tuple(group_by))
    return tuple(dict.fromkeys([*fields, *(quota.field for quota in parse_quotas(quotas))]))


def check_target(steps: Iterable[Step], target: Any) -> None:
    """Raise ConfigError for a step that needs a target where there is none."""
    for step in steps:
        if getattr(step, "needs_target", False) and not named(target):
            raise ConfigError(
                f"{step.name} needs a target: give examples of what the model should become good "
                "at (--target NAME=PATH)"
            )


def open_run(
    options: Any, settings: ScoreSettings, folder: Path, configuration: Mapping[str, Any]
) -> tuple[Corpus, dict[str, Corpus], RunFolder]:
    """Open the pool, the targets and the run's folder, which is locked."""
    check_target(settings.steps, options.target)
    storage = options.storage_options
    if options.overwrite:
        for source in (options.pool, *named(options.target).values()):
            _look_first(source, folder, storage)
    run = RunFolder.open(folder, configuration, overwrite=options.overwrite, deciding=deciding)
    try:
        spool = folder / "spool"
        targets = open_targets(named(options.target), settings.target_fields, spool, storage)
        corpus = Corpus.open(
            options.pool,
            fields=settings.fields,
            spool=spool / "pool",
            storage_options=storage,
            out=folder,
            others=called(targets),
        )
    except BaseException:
        run.close()
        raise
    return corpus, targets, run


def _look_first(source: Any, folder: Path, storage_options: Mapping[str, Any] | None) -> None:
    """Check before a run is removed that its successor's files exist and are not among its own."""
    paths = source if isinstance(source, list | tuple) else [source]
    if isinstance(source, str) or all(isinstance(path, Path) for path in paths):
        for file in resolve(source, spool=None, storage_options=storage_options, out=folder):
            if not file.is_url and Path(file.path).is_relative_to(folder):
                raise ConfigError(
                    f"{file.path}: is in the folder that is to be overwritten; choose another one"
                )


def run_score(options: ScoreOptions) -> Scores:
    """Score every document; see `dataworth.score`."""
    settings = score_settings(options, as_tuple(options.group_by), _steps(options))
    keep, folder = folder_of(options.out)
    engine, progress = engine_of(options.engine), options.progress or Progress()
    corpus, targets, run = open_run(options, settings, folder, {"score": settings.as_dict()})
    with run:
        scored = run_scoring(run, corpus, targets, settings, engine, progress)
    return Scores(folder, scored, settings, engine=engine, progress=progress, keep=keep)


def run_select(options: SelectOptions) -> Selection:
    """Score, choose and write; see `dataworth.select`."""
    settings, choice, write, configuration = _configured(options)
    keep, folder = folder_of(options.out)
    engine, progress = engine_of(options.engine), options.progress or Progress()
    corpus, targets, run = open_run(options, settings, folder, configuration)
    with run:
        scored = run_scoring(run, corpus, targets, settings, engine, progress, choice.quotas)
        scores = Scores(folder, scored, settings, engine=engine, progress=progress, keep=keep)
        scores.command = _command()
        selection = scores.choose_settings(choice)
        if options.out is not None:
            finish(run, selection, write)
    return selection


def _steps(options: ScoreOptions | SelectOptions | LoopOptions) -> Any:
    return DEFAULT if options.steps is None else options.steps


def _configured(
    options: SelectOptions,
) -> tuple[ScoreSettings, ChoiceSettings, WriteSettings, dict[str, Any]]:
    """Return the settings to score, choose and write by, and all of them as a run's record."""
    groups = grouped(options.group_by, options.quotas, options.mixture)
    settings = score_settings(options, groups, _steps(options))
    choice = choice_settings(options, options.seed)
    write = WriteSettings(options.format, options.shard_bytes, options.order)
    configuration = {"score": settings.as_dict(), "choose": choice.as_dict()}
    return settings, choice, write, {**configuration, "write": write.as_dict()}


def finish(run: RunFolder, selection: Selection, settings: WriteSettings) -> None:
    """Write the run's own selection, its metrics and its report, unless they are there."""
    written = run.record.get("selection")
    if written == selection.folder.name:
        return
    if written is not None:
        raise RunError(
            f"{run.folder}: the tokenizer, what is to be excluded, or what the mixture learns from "
            "changed since this run chose; choose another folder, or start afresh with "
            "--overwrite (overwrite=True)"
        )
    write_selection(selection, run.folder, settings, overwrite=True)
    selection.save_metrics()
    selection.report(run.folder / "report.html")
    run.update(selection=selection.folder.name)


def run_rounds(options: LoopOptions) -> list[Selection]:
    """Select, train and score again; see `dataworth.loop`."""
    rounds, start = options.rounds, options.start
    if options.out is None:
        raise ConfigError("a loop needs a folder for its rounds: give one (--out, out=FOLDER)")
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ConfigError(f"rounds is a whole number of at least 1, not {rounds!r}")
    trainer, name = trainer_of(options.train)
    check_trainer(trainer)
    first = None if start is None else Path(start).absolute()
    if first is not None and not first.is_dir():
        raise ConfigError(f"start: {first} is no folder of a model")
    lists = steps_of_rounds(_steps(options), rounds)
    check_target([step for one in lists for step in one], options.target)
    check_rounds(lists, first)
    groups = grouped(options.group_by, options.quotas, options.mixture)
    settings = score_settings(options, groups, ())
    choices = tuple(
        choice_settings(dataclasses.replace(options, budget=budget), options.seed + number)
        for number, budget in enumerate(budgets_of(options.budget, rounds))
    )
    engine, progress = engine_of(options.engine), options.progress or Progress()
    steps = tuple(filled(step, str(first)) for step in lists[0])
    configuration = {"score": dataclasses.replace(settings, steps=steps).as_dict()}
    _, folder = folder_of(options.out)
    corpus, targets, run = open_run(options, settings, folder, configuration)
    with run:
        loop_settings = LoopSettings(tuple(lists), settings, choices, trainer, name, first)
        return run_loop(run, corpus, targets, loop_settings, engine, progress)


def run_load(options: LoadOptions) -> Scores:
    """Open a finished run; see `dataworth.load`."""
    return load_scores(
        Path(options.folder),
        engine=engine_of(options.engine),
        progress=options.progress,
        storage_options=options.storage_options,
    )


def run_explain(options: ExplainOptions) -> Explanation:
    """Explain what a run did with a document; see `dataworth.explain`."""
    folder = Path(options.folder)
    chosen = recorded_choice(folder, options.choice)
    scores = load_scores(folder, storage_options=options.storage_options, steps=chosen.steps)
    return scores.choose_settings(chosen.settings).explain(options.document)


def run_plan(options: PlanOptions) -> Plan:
    """Tell what `select`, or `score` for the budget None, would do; see `dataworth.plan`."""
    choice = None
    if options.budget is None:
        groups = grouped(options.group_by, options.quotas, options.mixture)
        settings = score_settings(options, groups, _steps(options))
        configuration = {"score": settings.as_dict()}
    else:
        settings, choice, _, configuration = _configured(options)
    folder = None if options.out is None else folder_of(options.out)[1]
    storage = options.storage_options
    targets = open_targets(named(options.target), settings.target_fields, None, storage)
    corpus = Corpus.open(
        options.pool,
        fields=settings.fields,
        storage_options=storage,
        out=folder,
        others=called(targets),
    )
    return make_plan(
        corpus,
        targets,
        settings,
        choice,
        configuration,
        folder=folder,
        overwrite=options.overwrite,
        engine=engine_of(options.engine),
    )


def run_inspect(options: InspectOptions) -> Inspection:
    """Look at a corpus; see `dataworth.inspect`."""
    corpus = Corpus.open(
        options.source, fields=fields_of(options), storage_options=options.storage_options
    )
    return inspect_corpus(
        corpus,
        text_given=options.text_field is not None,
        sample=options.sample,
        engine=engine_of(options.engine),
        progress=options.progress or Progress(),
    )


def _command() -> str:
    """Return the command line if dataworth was started by one, else ""."""
    name = Path(sys.argv[0]).name if sys.argv else ""
    return " ".join([name, *sys.argv[1:]]) if name == "dataworth" else ""
