"""From pool and targets to the table: survey, fit, annotate, each resumed where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.read.sources import fingerprint
from dataworth.engine.files import atomic_folder, read_object
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, DataworthError, InputError, RunError
from dataworth.flow import targets as target_files
from dataworth.flow.annotating import Annotate, Named, Spent, join_quarantine
from dataworth.flow.choosing import no_such_field
from dataworth.flow.cross_document import fit_cross_document, load_cross_document
from dataworth.flow.inspect import fields_there
from dataworth.flow.settings import ScoreSettings
from dataworth.mechanism.budget import parse_quotas
from dataworth.methods.base import Context, CrossDocument, Fitted, Targets
from dataworth.methods.registry import load_fitted, with_filters
from dataworth.table import survey as surveys
from dataworth.table.run import RunFolder
from dataworth.table.survey import Survey
from dataworth.table.table import Table, unit_file

BYTES_PER_TOKEN = 4
_ENOUGH = 1_000  # documents of the sample, to tell that none has a field
_TOKENIZED_BYTES = 2 * 2**20  # of the sample, to learn how many bytes a token has


@dataclass
class Scored:
    """A finished table and what it was made with."""

    corpus: Corpus
    survey: Survey
    targets: Targets
    fitted: tuple[Named, ...]
    table: Table
    tokens_per_byte: float


def input_record(corpus: Corpus) -> list[dict[str, Any]]:
    """Each file with its fingerprint."""
    options = corpus.storage_options
    return [
        {
            "path": file.path,
            "format": file.format,
            "compression": file.compression,
            **fingerprint(file, options),
        }
        for file in corpus.files
    ]


def inputs_of(corpus: Corpus, targets: Mapping[str, Corpus]) -> dict[str, list[dict[str, Any]]]:
    """The files of a run by what they are: the pool, and each target."""
    return {
        "pool": input_record(corpus),
        **{f"target {name}": input_record(target) for name, target in targets.items()},
    }


def run_scoring(
    run: RunFolder,
    corpus: Corpus,
    target_corpora: Mapping[str, Corpus],
    settings: ScoreSettings,
    engine: Engine,
    progress: Progress,
    quotas: Sequence[str] = (),
) -> Scored:
    """All that is missing of the run's table. Raises DataworthError for what cannot go on.

    `quotas`: those that are chosen with later; a field that no document has is told at once.
    """
    run.check_inputs(inputs_of(corpus, target_corpora))
    check_tokenizer(run, settings.tokenizer)
    if run.record.get("units", len(corpus.units)) != len(corpus.units):
        raise RunError(
            f"{run.folder}: was begun by a version of dataworth that divides the pool in another "
            "way; choose another folder, or start afresh with --overwrite (overwrite=True)"
        )
    fitted_folder = run.folder / "fitted"
    found = surveys.load(fitted_folder)
    if found is None:
        found = surveys.survey(
            corpus,
            engine,
            seed=settings.seed,
            sample_bytes=settings.sample_bytes,
            progress=progress,
        )
        surveys.save(found, fitted_folder)
    check_pool(found.bad, found.documents, corpus, settings.max_bad, whole=found.whole)
    _check_quotas(found, corpus, quotas)
    targets = target_files.read_targets(
        target_corpora, holdout=settings.holdout, max_bad=settings.max_bad, seed=settings.seed
    )
    if not (fitted_folder / "targets").is_dir():
        with atomic_folder(fitted_folder / "targets") as temporary:
            target_files.save(targets, temporary)
    ratio = tokens_per_byte(found, settings.tokenizer)
    run.update(
        tokens_per_byte=ratio, units=len(corpus.units), targets=targets.names, workers=engine.size
    )
    fitted = fit_steps(
        fitted_folder,
        corpus,
        targets,
        found,
        settings,
        engine,
        progress,
        partial(_note_fitting, run),
    )
    table = annotate_pool(run, corpus, fitted, ratio, engine, progress, max_bad=settings.max_bad)
    tally = table.tally
    check_pool(tally.bad, tally.documents, corpus, settings.max_bad, whole=True)
    return Scored(corpus, found, targets, fitted, table, ratio)


def check_tokenizer(run: RunFolder, path: str | None) -> None:
    """Record what the tokenizer's file holds, or compare it with what it held at the start."""
    if path is None:
        return
    try:
        mark = hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: the tokenizer cannot be read ({error.strerror})") from error
    if run.record.get("tokenizer_hash", mark) != mark:
        raise RunError(
            f"{path}: the tokenizer changed since this run began; choose another folder, or start "
            "afresh with --overwrite (overwrite=True)"
        )
    run.update(tokenizer_hash=mark)


def check_pool(
    bad: Counter[str], documents: int, corpus: Corpus, max_bad: float, *, whole: bool
) -> None:
    """Fail for an empty pool, or for more bad lines than allowed.

    Where only a part was read (not `whole`), fail for what is clearly too much.
    """
    wrong = bad.total()
    total = wrong + documents
    if whole and not total:
        paths = ", ".join(file.path for file in corpus.files[:3])
        raise InputError(f"the pool holds no document ({paths}): check the path")
    allowed = max_bad * total + (0 if whole else 5 * math.sqrt(max_bad * total + 1))
    if wrong > allowed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in bad.most_common())
        raise InputError(
            f"{wrong} of {total} lines of the pool are bad, more than the {max_bad:.2%} allowed: "
            f"{reasons}. {first_bad(corpus)} Mend the files, name the field that holds the text "
            "(--text-field), for chats and pairs a template (--template), or allow more (--max-bad)"
        )


def _check_quotas(found: Survey, corpus: Corpus, quotas: Sequence[str]) -> None:
    """Fail for a quota by a field that no document of the sample has, if that is enough to tell."""
    if not found.sample or (len(found.sample) < _ENOUGH and not found.complete):
        return
    for quota in parse_quotas(quotas):
        column = found.sample.columns.get(quota.field)
        if column is not None and column.null_count == len(column):
            raise ConfigError(no_such_field(quota.field, fields_there(corpus)))


def first_bad(corpus: Corpus) -> str:
    """One sentence about the first bad line, with file, line and what is wrong."""
    before: Counter[int] = Counter()  # lines of each file in the units that are behind
    for unit in corpus.units:
        lines = 0
        for block in corpus.blocks(unit):
            if block.bad:
                line = block.bad[0]
                number = line.line + before[unit.file_index]
                return f"The first: {line.file}, line {number}: {line.reason} ({line.detail})."
            lines += block.lines
        before[unit.file_index] += lines
    return ""


def tokens_per_byte(found: Survey, tokenizer: str | None) -> float:
    """How many tokens a byte of text has: by the tokenizer on the sample, or one in four."""
    if tokenizer is None:
        return 1 / BYTES_PER_TOKEN
    sample = found.sample
    few = max(1, int(np.count_nonzero(np.cumsum(sample.text_bytes) <= _TOKENIZED_BYTES)))
    documents = sample.take(np.arange(min(few, len(sample))))
    if not len(documents):
        return 1 / BYTES_PER_TOKEN
    counts = count_tokens(documents.texts(), tokenizer)
    return float(counts.sum()) / float(documents.text_bytes.sum())


def count_tokens(texts: list[str], tokenizer: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Tokens of each text by a Hugging Face `tokenizer.json`, int64 [n], at least 1."""
    from dataworth.features.tokenizers import load_tokenizer

    encoded = load_tokenizer(tokenizer).encode_batch_fast(texts, add_special_tokens=False)
    return np.fromiter((max(1, len(item)) for item in encoded), np.int64, len(encoded))


def fit_steps(
    folder: Path,
    corpus: Corpus,
    targets: Targets,
    found: Survey,
    settings: ScoreSettings,
    engine: Engine,
    progress: Progress,
    note: Callable[[str, float], None] | None = None,
) -> tuple[Named, ...]:
    """Fit the steps in order; each finished one is a folder, and is loaded if it is there.

    `note` is told each label and the seconds of a core that its fit took.
    """
    fitted: list[Named] = []
    own_filters = 0
    labels = iter(settings.labels)
    for number, (step, is_filter) in enumerate(with_filters(settings.steps)):
        label = step.name if is_filter else next(labels)
        place = folder / f"{number:02d}-{label}"
        before = tuple(fitted[: len(fitted) - own_filters])
        if isinstance(step, CrossDocument):
            scratch = folder.parent / "work" / place.name
            if not (place / "step.json").is_file():
                context = Context(engine, found, settings.seed, progress, before)
                start = time.process_time()
                fit_cross_document(step, corpus, targets, context, fitted, place, scratch)
                if note is not None:
                    note(label, time.process_time() - start)
            learned: Fitted = load_cross_document(step, place, scratch)
        elif (place / "step.json").is_file():
            learned = load_fitted(step, place)
        else:
            context = Context(engine, found, settings.seed, progress, before)
            start = time.process_time()
            learned = step.fit(corpus, targets, context)
            if note is not None:
                note(label, time.process_time() - start)
            with atomic_folder(place) as temporary:
                learned.save(temporary)
        fitted.append(Named(learned, label))
        own_filters = own_filters + 1 if is_filter else 0
    return tuple(fitted)


def load_steps(folder: Path, settings: ScoreSettings) -> tuple[Named, ...]:
    """The fitted steps of a finished run."""
    labels = iter(settings.labels)
    out = []
    for number, (step, is_filter) in enumerate(with_filters(settings.steps)):
        label = step.name if is_filter else next(labels)
        place = folder / f"{number:02d}-{label}"
        if isinstance(step, CrossDocument):
            scratch = folder.parent / "work" / place.name
            out.append(Named(load_cross_document(step, place, scratch), label))
        else:
            out.append(Named(load_fitted(step, place), label))
    return tuple(out)


def annotate_pool(
    run: RunFolder,
    corpus: Corpus,
    fitted: tuple[Named, ...],
    ratio: float,
    engine: Engine,
    progress: Progress,
    *,
    max_bad: float = 1.0,
) -> Table:
    """Write the table's missing files, then the bad lines of all of them."""
    folder = run.folder / "table"
    pieces = run.folder / "work" / "quarantine"
    table = Table(folder, len(corpus.units))
    missing = [unit for unit in corpus.units if not unit_file(folder, unit.index).is_file()]
    if missing:
        work = Annotate(corpus, fitted, folder, pieces, ratio, max_bad)
        spent = list(engine.map(work, missing, progress=progress, name="score"))
        _note_scoring(run, spent)
    if pieces.is_dir():
        joined = run.folder / "quarantine" / "bad-lines.jsonl"
        join_quarantine(pieces, corpus.units, table.tally.lines, joined)
        # Renamed first: what a kill leaves half removed must not be joined again.
        done = pieces.with_name("joined")
        shutil.rmtree(done, ignore_errors=True)
        pieces.replace(done)
        shutil.rmtree(done)
        with contextlib.suppress(OSError):  # not empty: there is other work under way
            done.parent.rmdir()
    return table


def _note_fitting(run: RunFolder, label: str, seconds: float) -> None:
    known = _costs(run)
    run.update(costs={**known, label: {"fit": round(seconds, 6), "score": 0.0, "documents": 0}})


def _costs(run: RunFolder) -> dict[str, dict[str, float]]:
    """Return what is noted so far; nothing where the record holds something else."""
    known: Any = run.record.get("costs")
    try:
        return {
            str(label): {
                "fit": float(cost["fit"]),
                "score": float(cost["score"]),
                "documents": int(cost["documents"]),
            }
            for label, cost in known.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def _note_scoring(run: RunFolder, spent: Sequence[Spent]) -> None:
    """Add what scoring took; units that were done before a kill are not in it."""
    costs = _costs(run)
    documents = sum(one.documents for one in spent)
    for label, cost in costs.items():
        seconds = sum(one.seconds.get(label, 0.0) for one in spent)
        costs[label] = {
            **cost,
            "score": round(cost["score"] + seconds, 6),
            "documents": cost["documents"] + documents,
        }
    run.update(costs=costs)


def costs_of(record: Mapping[str, Any], documents: int) -> dict[str, tuple[float, float]]:
    """Seconds of a core that each step took: label → (to fit, to score so many documents).

    Of a run that was killed, the time of what was done before is reckoned from the rest.
    """
    return {
        label: (cost["fit"], cost["score"] * documents / max(cost["documents"], 1))
        for label, cost in record.get("costs", {}).items()
    }


def read_record(folder: Path) -> dict[str, Any]:
    """run.json of a run that has a table."""
    record = read_object(folder / "run.json")
    if "units" not in record:
        raise DataworthError(
            f"{folder}: the run is not finished; run its command again, which goes on with it"
        )
    return record
