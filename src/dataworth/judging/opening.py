"""Inputs of a judgement, opened: the selection, the pool, targets and validation sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.read.find import URL
from dataworth.corpus.read.sources import resolve
from dataworth.engine.files import read_json
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError
from dataworth.flow.given import as_tuple, fields_beside, fields_of
from dataworth.flow.selection import Selection
from dataworth.flow.settings import fields_dict
from dataworth.flow.targets import called, named, open_targets, read_documents, read_targets
from dataworth.judging.look import Look, Looked, look
from dataworth.judging.measures import Pool
from dataworth.judging.subject import Subject, open_subject, paths_in
from dataworth.methods.base import Targets
from dataworth.options import check
from dataworth.options.calls import JudgeOptions, same
from dataworth.results.selection import Input
from dataworth.table import survey as surveys


@dataclass(frozen=True)
class JudgeSettings:
    """Settings of a judgement. None: the run's own, or else the default of `dataworth.judge`."""

    fields: Fields | None = None
    target_fields: Fields | None = None
    groups: tuple[str, ...] | None = None
    seed: int | None = same(JudgeOptions, "seed")
    holdout: float | None = same(JudgeOptions, "holdout")
    max_bad: float = same(JudgeOptions, "max_bad")

    def __post_init__(self) -> None:
        check(self)


def settings_of(options: JudgeOptions) -> JudgeSettings:
    """Return the settings of a call's options; how to read is None where nothing says it."""
    asked = (options.join, options.template, options.txt, options.max_line_bytes)
    fields = target_fields = None
    if as_tuple(options.text_field) or any(value is not None for value in asked):
        fields = fields_of(options)
    own = options.target_text_field, options.target_template
    if as_tuple(own[0]) or own[1] is not None or fields is not None:
        target_fields = fields_beside(fields or Fields(), *own)
    groups = None if options.group_by is None else as_tuple(options.group_by)
    return JudgeSettings(
        fields, target_fields, groups, options.seed, options.holdout, options.max_bad
    )


@dataclass
class Opening:
    """Inputs of a judgement, opened in turn; `inputs` lists the files."""

    settings: JudgeSettings
    options: Mapping[str, Any] | None
    engine: Engine
    progress: Progress
    inputs: list[Input] = field(default_factory=list)
    seed: int = 0
    holdout: float = 0.5
    fields: Fields = field(default_factory=Fields)
    target_fields: Fields = field(default_factory=Fields)
    groups: tuple[str, ...] = ()

    def settle(self, subject: Subject) -> None:
        """Take settings that were not given from the run, if it is one of ours."""
        given = self.settings
        run = subject.selection.scores.settings if subject.selection is not None else None
        self.seed, self.holdout = (run.seed, run.holdout) if run else (0, 0.5)
        own = (run.fields, run.target_fields) if run else (Fields(), None)
        self.fields = given.fields or replace(own[0], groups=(), id=None)
        self.target_fields = given.target_fields or own[1] or replace(self.fields, split_words=None)
        self.groups = own[0].groups if given.groups is None else given.groups
        if given.seed is not None:
            self.seed = given.seed
        if given.holdout is not None:
            self.holdout = given.holdout

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON."""
        return {
            "holdout": self.holdout,
            "max_bad": self.settings.max_bad,
            "fields": fields_dict(self.fields),
            "target_fields": fields_dict(self.target_fields),
            "group_by": list(self.groups),
        }

    def open(self, source: Any) -> Subject:
        """Open a selection."""
        fields = self.settings.fields or Fields()
        return open_subject(
            source,
            fields,
            storage_options=self.options,
            engine=self.engine,
            progress=self.progress,
        )

    def with_groups(self, subject: Subject) -> Subject:
        """Return the subject with the fields that the composition is by, read from its rows."""
        groups = self.groups
        if subject.selection is not None:
            table, pool = subject.selection.scores.table, subject.selection.scores.scored.corpus
            groups = tuple(name for name in groups if name not in table.names)
            if groups and not subject.masked:  # written rows need not have the pool's fields
                subject = replace(subject, corpus=pool, masked=True)
        fields = replace(subject.corpus.fields, groups=groups)
        return replace(subject, corpus=replace(subject.corpus, fields=fields))

    def note_inputs(self, role: str, corpus: Corpus) -> None:
        """Record the files of a corpus as read, for the report."""
        for file in corpus.files:
            self.inputs.append(
                {
                    "path": file.path,
                    "role": role,
                    "format": file.format,
                    "compression": file.compression,
                    "bytes": file.size,
                }
            )

    def pool(
        self, given: Any, subject: Subject, target: Any = None, validation: Any = None
    ) -> Pool | None:
        """Open the pool: the run's unless another one is given, without the files of the rest."""
        chosen = subject.selection
        if chosen is not None and (given is None or self._same_files(given, chosen)):
            scored = chosen.scores.scored
            self.note_inputs("pool", scored.corpus)
            missing = tuple(name for name in self.groups if name not in scored.table.names)
            groups = {
                name: groups_of(chosen, name, pool=True)
                for name in self.groups
                if name not in missing
            }
            if missing:
                corpus = replace(
                    scored.corpus, fields=replace(scored.corpus.fields, groups=missing)
                )
                groups |= self._scan(Subject("the pool", None, corpus)).groups
            return Pool(
                _pool_name(scored.corpus),
                scored.survey.sample,
                scored.table.column("uid"),
                scored.table.column("text_bytes"),
                int(chosen.choice.tokens.sum()),
                groups,
            )
        if given is None:
            return None
        fields = replace(self.fields, groups=self.groups, id=None)
        others = {} if subject.masked else {"the selection": subject.corpus}
        for what, source in (("validation set", validation), ("target", target)):
            files = {name: item for name, item in named(source).items() if paths_in(item)}
            opened = open_targets(files, self.target_fields, None, self.options)
            others |= called(opened, what)
        corpus = Corpus.open(given, fields=fields, storage_options=self.options, others=others)
        self.note_inputs("pool", corpus)
        found = self._scan(Subject("the pool", None, corpus))
        plain = replace(corpus, fields=replace(fields, groups=()))
        sample = surveys.survey(plain, self.engine, seed=self.seed, progress=self.progress).sample
        return Pool(
            _pool_name(corpus),
            sample,
            found.uid,
            found.text_bytes,
            int(found.tokens.sum()),
            found.groups,
        )

    def _scan(self, subject: Subject) -> Looked:
        return look(
            Look(subject, text=False),
            self.engine,
            max_bad=self.settings.max_bad,
            progress=self.progress,
            name="pool",
            role="the pool",
        )

    def _same_files(self, given: Any, chosen: Selection) -> bool:
        """Tell if the pool that is given is the run's own: then its table is used."""
        own = {(file.path, file.size) for file in chosen.scores.scored.corpus.files}
        if self.settings.fields is not None or not paths_in(given):
            return False
        folder = chosen.scores.folder
        files = resolve(given, spool=None, storage_options=self.options, out=folder)
        inputs = read_json(folder / "run.json").get("inputs", {})
        apart = {file["path"] for role in inputs if role != "pool" for file in inputs[role]}
        return own == {(file.path, file.size) for file in files if file.path not in apart}

    def targets(self, given: Any, subject: Subject, pool: Pool | None) -> Targets:
        """Return both halves of each target: those of the run, unless others are given."""
        if given is None:
            if subject.selection is not None:
                return subject.selection.scores.scored.targets
            return Targets({}, {})
        if pool is None:
            raise ConfigError(
                "nearness to a target is measured against the pool: name the one that was "
                "selected from (--pool PATH)"
            )
        corpora = open_targets(named(given), self.target_fields, None, self.options)
        for name, corpus in corpora.items():
            self.note_inputs(f"target {name}", corpus)
        return read_targets(
            corpora, holdout=self.holdout, max_bad=self.settings.max_bad, seed=self.seed
        )

    def validation(self, given: Any) -> dict[str, Documents]:
        """Read the validation sets, whole."""
        out = {}
        corpora = open_targets(named(given), self.target_fields, None, self.options)
        for name, corpus in corpora.items():
            self.note_inputs(f"validation {name}", corpus)
            out[name] = read_documents(
                f"validation set {name!r}", corpus, max_bad=self.settings.max_bad
            )
        return out


def groups_of(chosen: Selection, name: str, *, pool: bool) -> dict[str | None, tuple[int, int]]:
    """Sum documents and tokens by a field of the table."""
    codes, values = chosen.scores.table.codes(name)
    many = np.ones(len(codes)) if pool else chosen.choice.counts.astype(np.float64)
    tokens = chosen.choice.tokens * many
    counts = np.bincount(codes, many, minlength=len(values))
    sums = np.bincount(codes, tokens, minlength=len(values))
    return {value: (int(counts[i]), int(sums[i])) for i, value in enumerate(values) if counts[i]}


def _pool_name(corpus: Corpus) -> str:
    """Return the name of the folder of its files, or of the one file."""
    paths = [file.path for file in corpus.files]
    if len(paths) == 1:
        return Path(paths[0]).name
    folder = paths[0].rpartition("/")[0]
    while folder and not all(path.startswith(folder + "/") for path in paths):
        folder = folder.rpartition("/")[0]
    return f"{folder.rpartition('/')[2] or folder}/" if not URL.match(folder) else folder
