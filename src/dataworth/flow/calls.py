"""From the keyword options of a public function to settings, corpora and folders."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.sources import resolve
from dataworth.engine.files import local_path
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError
from dataworth.flow.mixtures import mixture_fields, mixture_text
from dataworth.flow.scores import as_tuple, excluded_paths, mechanism_text
from dataworth.flow.settings import ChoiceSettings, ScoreSettings, WriteSettings
from dataworth.flow.targets import called, named, open_targets
from dataworth.mechanism.budget import parse_budget, parse_quotas
from dataworth.methods.base import Step
from dataworth.methods.registry import check_steps, parse_step
from dataworth.table.run import RunFolder

READING_OPTIONS = ("join", "template", "split_words", "txt", "max_line_bytes")
"""Options of reading that are handed on to `Fields` as they are."""


def fields_of_both(
    text_field: Any,
    query_text_field: Any,
    further: Mapping[str, Any],
    query_template: str | None = None,
) -> tuple[Fields, Fields]:
    """How training documents and queries are read.

    Queries are read as the documents, but for a text field or a template of their own; `none` is
    no template. With another template than the documents', the text field is looked for anew.
    """
    check_reading(further, pieces=False)
    text = as_tuple(text_field)
    return Fields(text=text, **further), fields_beside(
        text, as_tuple(query_text_field), further, query_template
    )


def fields_beside(
    text: tuple[str, ...],
    own_text: tuple[str, ...],
    further: Mapping[str, Any],
    template: str | None,
) -> Fields:
    """Return how queries or targets are read beside documents whose text lies in the fields `text`.

    `own_text`, `template`: their own, if given; see `fields_of_both`.
    """
    same = template is None or template == (further.get("template") or "none")
    asked = {name: value for name, value in further.items() if name != "split_words"}
    if not same:
        asked["template"] = None if template == "none" else template
    return Fields(text=own_text or (text if same else ("text",)), **asked)


def engine_of(engine: Engine | int | None) -> Engine:
    """An engine, or that of so many workers; None: one for each core."""
    return engine if isinstance(engine, Engine) else Engine(workers=engine or 0)


def prepare(
    options: Mapping[str, Any],
) -> tuple[ScoreSettings, tempfile.TemporaryDirectory[str] | None, Path]:
    """(settings, temporary folder if there is no `out`, folder) from a call's options."""
    further = options["field_options"]
    check_reading(further)
    text = as_tuple(options["text_field"])
    fields = Fields(
        text=text, id=options["id_field"], groups=as_tuple(options["group_by"]), **further
    )
    own, template = as_tuple(options["target_text_field"]), options["target_template"]
    tokenizer = options["tokenizer"]
    sample = options["sample_bytes"]
    settings = ScoreSettings(
        steps=tuple(parse_step(step) for step in as_tuple(options["steps"])),
        fields=fields,
        target_fields=fields_beside(text, own, further, template),
        seed=options["seed"],
        holdout=options["holdout"],
        max_bad=options["max_bad"],
        tokenizer=None if tokenizer is None else str(Path(tokenizer).absolute()),
        **({} if sample is None else {"sample_bytes": sample}),
    )
    check_steps(settings.steps)
    if options["out"] is not None:
        return settings, None, local_path(options["out"]).absolute()
    keep = tempfile.TemporaryDirectory(prefix="dataworth-")
    return settings, keep, Path(keep.name) / "run"


def check_reading(given: Mapping[str, Any], *, pieces: bool = True) -> None:
    """That further options are options of reading, those for cutting into `pieces` too or not.

    Raises TypeError, as Python does for an argument that there is not.
    """
    known = [name for name in READING_OPTIONS if pieces or name != "split_words"]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; of reading: {', '.join(known)}")


def grouped(group_by: Any, quotas: Any, mixture: Any = None) -> tuple[str, ...]:
    """The fields to group by, those of the quotas and the mixture too."""
    fields = mixture_fields(mixture, as_tuple(group_by))
    return tuple(dict.fromkeys([*fields, *(quota.field for quota in parse_quotas(quotas))]))


def chosen_by(options: Mapping[str, Any]) -> tuple[ChoiceSettings, WriteSettings]:
    """How to choose and how to write, from a call's options."""
    write = WriteSettings(options["format"], options["shard_bytes"], options["order"])
    return choice_of(options), write


def choice_of(options: Mapping[str, Any]) -> ChoiceSettings:
    """Return how to choose, from a call's options."""
    mechanism = options["mechanism"]
    return ChoiceSettings(
        budget=str(parse_budget(options["budget"])),
        utility=options["utility"],
        scale=options["scale"],
        mechanism=None if mechanism is None else mechanism_text(mechanism),
        proportions=options["proportions"],
        quotas=tuple(str(quota) for quota in parse_quotas(options["quotas"])),
        max_repeat=options["max_repeat"],
        exclude=excluded_paths(options["exclude"]),
        duplicates=options["duplicates"],
        mixture=None if options["mixture"] is None else mixture_text(options["mixture"]),
        seed=options["seed"],
    )


def check_target(steps: Iterable[Step], target: Any) -> None:
    """Raise ConfigError for a step that needs a target where there is none."""
    for step in steps:
        if getattr(step, "needs_target", False) and not named(target):
            raise ConfigError(
                f"{step.name} needs a target: give examples of what the model should become good "
                "at (--target NAME=PATH)"
            )


def open_run(
    pool: Any,
    target: Any,
    settings: ScoreSettings,
    folder: Path,
    storage_options: Mapping[str, Any] | None,
    overwrite: bool,
    configuration: Mapping[str, Any],
) -> tuple[Corpus, dict[str, Corpus], RunFolder]:
    """Pool, targets and the locked folder of the run."""
    check_target(settings.steps, target)
    if overwrite:
        for source in (pool, *named(target).values()):
            _look_first(source, folder, storage_options)
    run = RunFolder.open(folder, configuration, overwrite=overwrite)
    try:
        spool = folder / "spool"
        targets = open_targets(named(target), settings.target_fields, spool, storage_options)
        corpus = Corpus.open(
            pool,
            fields=settings.fields,
            spool=spool / "pool",
            storage_options=storage_options,
            out=folder,
            others=called(targets),
        )
    except BaseException:
        run.close()
        raise
    return corpus, targets, run


def _look_first(source: Any, folder: Path, storage_options: Mapping[str, Any] | None) -> None:
    """Before a run is removed: that its successor's files are there, and not among its own."""
    paths = source if isinstance(source, list | tuple) else [source]
    if isinstance(source, str) or all(isinstance(path, Path) for path in paths):
        for file in resolve(source, spool=None, storage_options=storage_options, out=folder):
            if not file.is_url and Path(file.path).is_relative_to(folder):
                raise ConfigError(
                    f"{file.path}: is in the folder that is to be overwritten; choose another one"
                )
