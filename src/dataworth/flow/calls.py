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
from dataworth.flow.mixtures import mixture_fields
from dataworth.flow.scores import as_tuple
from dataworth.flow.settings import ScoreSettings, deciding
from dataworth.flow.targets import called, named, open_targets
from dataworth.mechanism.budget import parse_quotas
from dataworth.methods.base import Step
from dataworth.methods.places import placed
from dataworth.methods.registry import check_steps, parse_step
from dataworth.table.run import RunFolder
from dataworth.table.survey import SAMPLE_BYTES


def fields_beside(fields: Fields, own_text: Any, template: str | None) -> Fields:
    """Return how targets or queries are read, beside documents that are read by `fields`.

    They are read as the documents, but whole, and with a text field or a template of their own if
    these are given; `none` is no template. With another template than the documents', the text
    field is looked for anew.
    """
    same = template is None or template == (fields.template or "none")
    return Fields(
        text=as_tuple(own_text) or (fields.text if same else ("text",)),
        join=fields.join,
        template=fields.template if same else (None if template == "none" else template),
        txt=fields.txt,
        max_line_bytes=fields.max_line_bytes,
    )


def engine_of(engine: Engine | int | None) -> Engine:
    """An engine, or that of so many workers; None: one for each core."""
    return engine if isinstance(engine, Engine) else Engine(workers=engine or 0)


def score_settings(
    steps: Any,
    fields: Fields,
    target_fields: Fields,
    *,
    seed: int,
    holdout: float,
    sample_bytes: int | None,
    max_bad: float,
    tokenizer: str | Path | None,
) -> ScoreSettings:
    """Return the settings of a call's options, once its steps have all that they need."""
    settings = ScoreSettings(
        steps=tuple(placed(parse_step(step), Path()) for step in as_tuple(steps)),
        fields=fields,
        target_fields=target_fields,
        seed=seed,
        holdout=holdout,
        max_bad=max_bad,
        tokenizer=None if tokenizer is None else str(Path(tokenizer).absolute()),
        sample_bytes=SAMPLE_BYTES if sample_bytes is None else sample_bytes,
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
    """The fields to group by, those of the quotas and the mixture too."""
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
    run = RunFolder.open(folder, configuration, overwrite=overwrite, deciding=deciding)
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
