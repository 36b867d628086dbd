"""A finished table as an object: choose from it, look at it, apply its steps elsewhere."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.read.find import URL
from dataworth.corpus.read.formats import COMPRESSIONS, FORMATS
from dataworth.corpus.read.sources import SourceFile
from dataworth.corpus.units import split
from dataworth.engine.files import damaged, local_path
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import DataworthError
from dataworth.flow import targets as target_files
from dataworth.flow.attributes import write_attributes
from dataworth.flow.choosing import choose_rows
from dataworth.flow.exclusion import excluded_documents
from dataworth.flow.given import as_tuple
from dataworth.flow.identity import choice_key
from dataworth.flow.inspect import fields_there
from dataworth.flow.mixtures import mixture_text
from dataworth.flow.passing import Passing, passing
from dataworth.flow.scoring import (
    Scored,
    count_tokens,
    load_list,
    load_steps,
    read_record,
)
from dataworth.flow.selection import Selection
from dataworth.flow.settings import ChoiceSettings, ScoreSettings, fields_from, fingerprint
from dataworth.flow.targets import check_name
from dataworth.flow.texts import texts_of
from dataworth.mechanism.base import split_name
from dataworth.mechanism.budget import parse_budget, parse_quotas
from dataworth.mechanism.expression import parse_expression
from dataworth.mechanism.registry import DEFAULT, WITHOUT_UTILITY
from dataworth.mechanism.registry import parse as parse_mechanism
from dataworth.methods.fitted import Fitted
from dataworth.methods.registry import parse_step, with_filters
from dataworth.options import public
from dataworth.options.calls import ChooseOptions, Choosing, Duplicates, Scale
from dataworth.results import selection as model
from dataworth.table import survey as surveys
from dataworth.table.run import check_layout, machine
from dataworth.table.table import Table
from dataworth.version import __version__

_OVERWRITE = "run the run's command again with --overwrite"


class Scores:
    """Every document's scores, in a folder; a selection is chosen from them in seconds."""

    def __init__(
        self,
        folder: Path,
        scored: Scored,
        settings: ScoreSettings,
        *,
        engine: Engine | None = None,
        progress: Progress | None = None,
        keep: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.folder = folder
        self.scored = scored
        self.settings = settings
        self.engine = engine or Engine()
        self.progress = progress or Progress()
        self.command = ""
        self._keep = keep  # a folder without a name goes when this object does

    def __repr__(self) -> str:
        return f"Scores({len(self.table):,} documents, {', '.join(self.table.utilities)})"

    @property
    def table(self) -> Table:
        """The documents table, read from disk by the column."""
        return self.scored.table

    def to_arrow(self) -> pa.Table:
        """Return the whole table in memory."""
        return self.table.to_arrow()

    @cached_property
    def steps(self) -> dict[str, Fitted]:
        """The fitted steps by label; each can annotate other documents, or `datasets.map`."""
        return {fitted.label: fitted for fitted in self.scored.fitted}

    @property
    def default_utilities(self) -> tuple[str, ...]:
        """The utilities of the last step that has any: what is chosen by unless said otherwise."""
        for fitted in reversed(self.scored.fitted):
            names = tuple(c.name for c in fitted.columns if c.name.startswith("utility:"))
            if names:
                return names
        return ()

    def default_mechanism(self, utility: str | None = None) -> str:
        """Return how the last step that `utility` names, or that is chosen by, is chosen."""
        names = [] if utility is None else parse_expression(utility).names
        labels = {fitted.label for fitted in self.scored.fitted}
        named = {name if name in labels else name.rpartition(":")[0] for name in names}
        for fitted in reversed(self.scored.fitted):
            if named and fitted.label not in named:
                continue
            if any(c.name.startswith("utility:") for c in fitted.columns):
                return str(getattr(fitted.step, "mechanism", DEFAULT))
        return WITHOUT_UTILITY

    @public(ChooseOptions, "dataworth.flow.scores:run_choose")
    def choose(
        self,
        budget: str | int = "10%",
        *,
        utility: str | None = None,
        scale: Scale = "raw",
        mechanism: Any = None,
        proportions: Mapping[str, float] | None = None,
        quotas: Any = None,
        max_repeat: int = 1,
        exclude: Any = (),
        duplicates: Duplicates = "drop",
        seed: int | None = None,
        mixture: Any = None,
    ) -> Selection:
        """Choose documents for a budget; the pool's text is not read. See `dataworth.select`."""
        raise NotImplementedError  # never run: `public` hands the call on

    def choose_settings(self, settings: ChoiceSettings) -> Selection:
        """Choose as settings say; the chosen rows are kept in the folder."""
        corpus, max_bad = self.scored.corpus, self.settings.max_bad
        excluded = excluded_documents(settings.exclude, corpus, max_bad, self.folder)
        choice = choose_rows(
            self.table,
            settings,
            default_mechanism=self.default_mechanism(settings.utility),
            default_utilities=self.default_utilities,
            sample=self.scored.survey.sample,
            targets=self.scored.targets,
            excluded=excluded,
            exact_tokens=self._exact_tokens if self.settings.tokenizer else None,
            fields_there=partial(fields_there, self.scored.corpus),
            grouped=self.settings.fields.groups,
        )
        name = fingerprint([choice_key(settings), self.scored.list])
        if len(excluded):  # which is not in the settings, only where it comes from
            name = fingerprint([name, excluded.digest])
        selection = Selection(self, choice, self.folder / "selections" / name)
        selection.save()
        return selection

    def _exact_tokens(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the tokens of some documents with the tokenizer."""
        assert self.settings.tokenizer is not None
        step = 2048
        return np.concatenate(
            [
                count_tokens(texts_of(self.scored, rows[at : at + step]), self.settings.tokenizer)
                for at in range(0, len(rows), step)
            ]
        )

    def run_facts(self, selection: Selection) -> model.Run:
        """Return the report's facts about the run: title, settings, machine, phases."""
        phases = self.progress.phases
        # Wall time since the command began, so that what lies between the phases is in it.
        seconds = time.perf_counter() - self.progress.born
        raw = self.table.tally.raw_bytes
        budget = selection.choice.settings.budget
        towards = ", ".join(self.scored.targets.names)
        facts: model.Run = {
            "title": f"{in_words(budget)} of the pool" + (f" towards {towards}" if towards else ""),
            "version": __version__,
            "seed": self.settings.seed,
            "settings": {
                "score": self.settings.as_dict(),
                "choose": {
                    **selection.choice.settings.as_dict(),
                    "resolved": selection.choice.mechanism_text,
                },
            },
            "machine": {**machine(), "workers": self.engine.size},
            "phases": [
                {
                    "name": phase.name,
                    "seconds": phase.seconds,
                    "documents": phase.documents,
                    "megabytes": phase.megabytes,
                }
                for phase in phases
            ],
            "inputs": [
                {
                    "path": file.path,
                    "role": "pool",
                    "format": file.format,
                    "compression": file.compression,
                    "bytes": file.size,
                }
                for file in self.scored.corpus.files
            ],
            "output": str(self.folder),
        }
        if self.command:
            facts["command"] = self.command
        if any(phase.name == "score" for phase in phases):
            facts["seconds"] = seconds
            facts["megabytes_per_second"] = raw / 1e6 / seconds
        return facts

    def facts(self) -> dict[str, Any]:
        """Return the counts of documents read, dropped and eligible, as JSON."""
        tally = self.table.tally
        codes, reasons = self.table.codes("drop")
        counts = np.bincount(codes, minlength=len(reasons)).tolist()
        dropped = {r: n for r, n in zip(reasons, counts, strict=False) if r is not None}
        return {
            "folder": str(self.folder),
            "documents": tally.documents,
            "blank": tally.blank,
            "bad": dict(tally.bad.most_common()),
            "dropped": dropped,
            "eligible": tally.documents - sum(dropped.values()),
            "utilities": self.utility_names(),
        }

    def pass_rates(self) -> list[Passing]:
        """Return of each rule the share of the pool that passes it by itself, and what it removed.

        By itself is measured on up to 5,000 documents of the pool's random sample.
        """
        return passing(self.scored)

    def write_attributes(self, folder: str | Path, columns: Sequence[str] = ()) -> list[Path]:
        """Write columns as Dolma attributes: a file of JSON lines for each file of the pool.

        Without `columns`: the utilities, the spans and the reasons of dropping. The pool is read.
        """
        return write_attributes(self.scored, local_path(folder), columns)

    def utility_names(self) -> list[str]:
        """Return the utilities as `step:target`, which `--utility` may name."""
        return [":".join(split_name(name)) for name in self.table.utilities]


def in_words(budget: str) -> str:
    """Return a budget with its unit: `1M tokens`, `1k-docs`, `10%`."""
    return f"{budget} tokens" if parse_budget(budget).unit == "tokens" else budget


def run_choose(scores: Scores, options: ChooseOptions) -> Selection:
    """Choose from scores; see `Scores.choose`."""
    seed = scores.settings.seed if options.seed is None else options.seed
    return scores.choose_settings(choice_settings(options, seed))


def choice_settings(options: Choosing, seed: int) -> ChoiceSettings:
    """Return how to choose by a call's options: all as text and JSON."""
    values = {field.name: getattr(options, field.name) for field in fields(Choosing)}
    mechanism, mixture = options.mechanism, options.mixture
    values |= {
        "budget": str(parse_budget(options.budget)),
        "mechanism": None if mechanism is None else mechanism_text(mechanism),
        "quotas": tuple(str(quota) for quota in parse_quotas(options.quotas)),
        "exclude": excluded_paths(options.exclude),
        "mixture": None if mixture is None else mixture_text(mixture),
    }
    return ChoiceSettings(**values, seed=seed)


def mechanism_text(mechanism: Any) -> str:
    """Return a mechanism as text: objects are written out, text is checked."""
    from dataworth.config import describe
    from dataworth.mechanism.registry import MECHANISMS

    return describe(parse_mechanism(mechanism), MECHANISMS)


def settings_from(record: Mapping[str, Any]) -> ScoreSettings:
    """Return the settings of a run, from its record. Raises anything for a record that is none."""
    score = record["settings"]
    return ScoreSettings(
        steps=tuple(parse_step(step) for step in score["steps"]),
        fields=fields_from(score["fields"]),
        target_fields=fields_from(score["target_fields"]),
        seed=score["seed"],
        holdout=score["holdout"],
        sample_bytes=score["sample_bytes"],
        max_bad=score["max_bad"],
        tokenizer=score["tokenizer"],
    )


def corpus_from(record: Mapping[str, Any], settings: ScoreSettings, options: Any) -> Corpus:
    """Return the pool of a run, as it was. Raises anything for a record that is none."""
    files = tuple(_file_from(item) for item in record["inputs"]["pool"])
    units = tuple(split(files, txt=settings.fields.txt, storage_options=options))
    if len(units) != record["units"]:
        raise DataworthError(
            f"the pool's files are not what they were: {record['units']} units then, "
            f"{len(units)} now; put them back, or score again"
        )
    return Corpus(files, settings.fields, units, options)


def _file_from(item: Mapping[str, Any]) -> SourceFile:
    """Return a file as it was recorded, with the hash by which it is known again."""
    path, form, compression = str(item["path"]), item["format"], item["compression"]
    if form not in FORMATS.values() or compression not in (None, *COMPRESSIONS.values()):
        raise ValueError(f"{path!r} is of no known format")
    if not (URL.match(path) or Path(path).is_absolute()) or "\0" in path:
        raise ValueError(f"{path!r} is not the whole path of a file")
    modified = None if item["modified"] is None else float(item["modified"])
    return SourceFile(path, form, compression, int(item["size"]), modified, str(item["hash"]))


def load_scores(
    folder: Path,
    *,
    engine: Engine | None = None,
    progress: Progress | None = None,
    storage_options: Mapping[str, Any] | None = None,
    steps: str | None = None,
) -> Scores:
    """Load a finished run from its folder. Raises DataworthError if it is none, or not finished.

    `steps`: the name of a list of steps in `lists`; None for the one that was scored last.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise DataworthError(f"{folder}: holds no run of dataworth (there is no run.json)")
    check_layout(folder)
    record = read_record(folder)
    with damaged(path, _OVERWRITE):
        name = str(record["list"] if steps is None else steps)
        if not re.fullmatch("[0-9a-f]{16}", name):
            raise ValueError(f"{name!r} is no name of a list of steps")
    listed = load_list(folder, name)
    with damaged(folder / "lists" / f"{name}.json", _OVERWRITE):
        settings = settings_from(listed.record)
        names = [check_name(name) for name in listed.record["names"]]
        steps_there = len(with_filters(settings.steps))
        if not steps_there == len(listed.fitted) == len(listed.layout.sources):
            raise ValueError("its steps are not those of its table")
    with damaged(path, _OVERWRITE):
        corpus = corpus_from(record, settings, dict(storage_options) if storage_options else None)
    found = surveys.load(folder / "fitted" / listed.sample)
    if found is None:
        raise DataworthError(f"{folder}: the run is not finished; run its command again")
    scored = Scored(
        corpus,
        found,
        target_files.load(folder / "fitted" / listed.targets, names),
        load_steps(folder / "fitted", settings, listed.layout, listed.fitted),
        Table(folder / "table", listed.layout),
        listed.layout.tokens_per_byte,
        name,
    )
    scored.table.check()  # fails here, with the file's name, if a part of the table is missing
    return Scores(folder, scored, settings, engine=engine, progress=progress)


def excluded_paths(exclude: Any) -> tuple[str, ...]:
    """Return one path or URL or several, absolute."""
    paths = [str(path) for path in as_tuple(exclude)]
    return tuple(path if URL.match(path) else str(Path(path).absolute()) for path in paths)
