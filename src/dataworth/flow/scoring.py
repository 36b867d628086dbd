"""From pool and targets to the table: survey, fit, annotate, each resumed where it stopped."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.read.sources import fingerprint
from dataworth.corpus.units import parts_of
from dataworth.engine.files import (
    atomic,
    atomic_folder,
    check_array,
    damaged,
    read_arrays,
    read_object,
    write_json,
)
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, DataworthError, InputError
from dataworth.flow import targets as target_files
from dataworth.flow.annotating import (
    Annotate,
    CheckPart,
    Spent,
    document_columns,
    label_columns,
    label_names,
)
from dataworth.flow.choosing import no_such_field
from dataworth.flow.cross_document import fit_cross_document, load_learned
from dataworth.flow.identity import column_record, documents_record, fit_record, target_record
from dataworth.flow.inspect import fields_there
from dataworth.flow.quarantine import join_quarantine
from dataworth.flow.settings import ScoreSettings, deciding
from dataworth.mechanism.budget import parse_quotas
from dataworth.methods.base import CrossDocument, Pool, Targets, kept_by
from dataworth.methods.fitted import Fitted, learn
from dataworth.methods.registry import with_filters
from dataworth.table import survey as surveys
from dataworth.table.columns import ColumnFolder, declare
from dataworth.table.keys import canonical, folder_digest, key_of
from dataworth.table.run import RunFolder
from dataworth.table.survey import Survey
from dataworth.table.table import Layout, Source, Table, folder_name

BYTES_PER_TOKEN = 4
_ENOUGH = 1_000  # documents of the sample, to tell that none has a field
_TOKENIZED_BYTES = 2 * 2**20  # of the sample, to learn how many bytes a token has


@dataclass
class Scored:
    """A finished table and what it was made with."""

    corpus: Corpus
    survey: Survey
    targets: Targets
    fitted: tuple[Fitted, ...]
    table: Table
    tokens_per_byte: float
    list: str


def input_record(corpus: Corpus) -> list[dict[str, Any]]:
    """Return each file of a corpus with its fingerprint."""
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
    """Return the files of a run by their role: the pool, and each target."""
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
    """Compute all that the run's table lacks. Raises DataworthError for what cannot go on.

    `quotas`: those that are chosen with later; a field that no document has is told at once.
    """
    (scored,) = score_lists(run, corpus, target_corpora, [settings], engine, progress, quotas)
    return scored


def score_lists(
    run: RunFolder,
    corpus: Corpus,
    target_corpora: Mapping[str, Corpus],
    lists: Sequence[ScoreSettings],
    engine: Engine,
    progress: Progress,
    quotas: Sequence[str] = (),
    targets: Targets | None = None,
) -> list[Scored]:
    """Score several lists of steps, which differ in these alone, with one pass over the text.

    Columns that are there are not made again, whichever list asked for them. `targets`: those of
    `target_corpora`, where they were read. See `run_scoring`.
    """
    settings = lists[0]
    inputs = inputs_of(corpus, target_corpora)
    documents = documents_record(corpus, inputs["pool"])
    key = key_of(documents)
    touched = run.check_inputs(inputs)
    if touched:
        _check_touched(run.folder, corpus, key, touched, engine, progress)
    run.keep_inputs(inputs)
    found = survey_of(run, corpus, key, settings, engine, progress)
    check_pool(found.bad, found.documents, corpus, settings.max_bad, whole=found.whole)
    _check_quotas(found, corpus, quotas)
    targets = targets or target_files.read_targets(
        target_corpora, holdout=settings.holdout, max_bad=settings.max_bad, seed=settings.seed
    )
    target_folder = _keep_targets(run.folder / "fitted", targets)
    ratio = tokens_per_byte(found, settings.tokenizer)
    layouts, fits = [], []
    known: dict[str, Fitted] = {}
    for one in lists:
        note = partial(_note_fitting, run)
        fitted = fit_steps(
            run.folder / "fitted", corpus, targets, found, one, engine, progress, note, key, known
        )
        sources = tuple(Source(named.label, named.step.name, named.folder) for named in fitted)
        fits.append(fitted)
        layouts.append(Layout(f"documents-{key}", _labels_folder(corpus, key), sources, 0, ratio))
    layouts = annotate_pool(
        run, corpus, documents, tuple(fits), layouts, engine, progress, max_bad=settings.max_bad
    )
    made = []
    for one, fitted, layout in zip(lists, fits, layouts, strict=True):
        table = Table(run.folder / "table", layout)
        tally = table.tally
        check_pool(tally.bad, tally.documents, corpus, settings.max_bad, whole=True)
        table.layout = replace(layout, dropped=dict(tally.dropped))
        kept = (target_folder, targets.names)
        name = keep_list(run.folder, one, table.layout, fitted, kept, _sample_folder(key, one))
        made.append(Scored(corpus, found, targets, fitted, table, ratio, name))
    run.finish(made[-1].list, units=len(corpus.units), workers=engine.size)
    return made


def _check_touched(
    folder: Path,
    corpus: Corpus,
    documents: str,
    touched: Sequence[int],
    engine: Engine,
    progress: Progress,
) -> None:
    """Read files again that were written since; RunError if their documents are other ones."""
    known = ColumnFolder(folder / "table" / f"documents-{documents}", None)
    files = set(touched)
    parts = [
        part
        for part in parts_of(corpus.units)
        if known.has(part.index) and files & {unit.file_index for unit in part.units}
    ]
    for _ in engine.map(CheckPart(corpus, known), parts, progress=progress, name="check"):
        pass


def documents_folder(corpus: Corpus, files: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of the folder that says where a pool's documents lie.

    `files`: as `input_record` gives them.
    """
    return f"documents-{key_of(documents_record(corpus, files))}"


def _sample_folder(documents: str, settings: ScoreSettings) -> str:
    fields = [settings.fields.id, *settings.fields.groups]
    return f"sample-{key_of([documents, settings.seed, settings.sample_bytes, fields])}"


def survey_of(
    run: RunFolder,
    corpus: Corpus,
    documents: str,
    settings: ScoreSettings,
    engine: Engine,
    progress: Progress,
) -> Survey:
    """Load the pool's random sample, or draw it; `documents`: the key of these."""
    folder = run.folder / "fitted" / _sample_folder(documents, settings)
    sample = surveys.load(folder)
    if sample is None:
        sample = surveys.survey(
            corpus,
            engine,
            seed=settings.seed,
            sample_bytes=settings.sample_bytes,
            progress=progress,
        )
        surveys.save(sample, folder)
    return sample


def _keep_targets(folder: Path, targets: Targets) -> str:
    """Keep a copy of the targets, so that choosing again needs the run's folder alone."""
    held = Targets(targets.held_out)
    name = f"targets-{key_of([target_record(targets), target_record(held)])}"
    if not (folder / name).is_dir():
        with atomic_folder(folder / name) as temporary:
            target_files.save(targets, temporary)
    return name


def _labels_folder(corpus: Corpus, documents: str) -> str | None:
    names = label_names(corpus)
    if not names:
        return None
    return f"labels-{key_of([documents, corpus.fields.id, corpus.fields.groups])}"


@dataclass(frozen=True)
class Listed:
    """A list of steps as it was scored: `layout` of its table, and names of folders in `fitted`."""

    layout: Layout
    fitted: tuple[str, ...]
    targets: str
    sample: str
    record: dict[str, Any]


def keep_list(
    folder: Path,
    settings: ScoreSettings,
    layout: Layout,
    fitted: Sequence[Fitted],
    targets: tuple[str, list[str]],
    sample: str,
) -> str:
    """Write what a list of steps is made of, by which its table is opened; return its name."""
    record = {
        "settings": settings.as_dict(),
        "layout": layout.as_dict(),
        "fitted": [named.place.name for named in fitted if named.place is not None],
        "targets": targets[0],
        "names": targets[1],
        "sample": sample,
    }
    name = key_of({**record, "settings": deciding(settings.as_dict())})
    path = folder / "lists" / f"{name}.json"
    # Run again on another device, say, it is another record under the same name.
    if not path.is_file() or canonical(read_object(path)) != canonical(record):
        write_json(path, record)
    return name


def load_list(folder: Path, name: str) -> Listed:
    """Load a list of steps by its name. RunError for a damaged one."""
    path = folder / "lists" / f"{name}.json"
    record = read_object(path)
    with damaged(path):
        fitted = tuple(folder_name(name) for name in record["fitted"])
        targets, sample = folder_name(record["targets"]), folder_name(record["sample"])
        return Listed(Layout.from_dict(record["layout"]), fitted, targets, sample, record)


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
    """Return a sentence about the first bad line, with file, line and what is wrong."""
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
    """Return tokens per byte of text: by the tokenizer on the sample, or one in four."""
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
    """Count the tokens of each text by a Hugging Face `tokenizer.json`, int64 [n], at least 1."""
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
    documents: str = "",
    known: dict[str, Fitted] | None = None,
) -> tuple[Fitted, ...]:
    """Fit the steps in order; each finished one is a folder, and is loaded if it is there.

    `note` is told the folder of a step's columns and the seconds of a core that its fit took.
    `documents`: the key of the pool's documents, empty for a plan. `known`: steps by the folder of
    what they learned, which other lists hold already; it grows.
    """
    fitted: list[Fitted] = []
    sample = folder / _sample_folder(documents, settings)
    known = {} if known is None else known
    texts = target_record(targets)
    own_filters = 0
    labels = iter(settings.labels)
    for step, is_filter in with_filters(settings.steps):
        label = step.name if is_filter else next(labels)
        spent = None
        own = 0 if getattr(step, "filters_first", False) else own_filters
        before = tuple(fitted[: len(fitted) - own])
        dropping = [named.folder for named in before if named.drops]
        name = f"{step.name}-{key_of(fit_record(step, settings, documents, texts, dropping))}"
        if name in known:
            learned = known[name]
        elif (folder / name / "step.json").is_file():
            learned = load_learned(step, folder / name)
        else:
            start = time.process_time()
            kept = partial(_kept, sample, found.sample, before)
            home = folder.parent if documents else None
            pool = Pool(corpus, found, engine, settings.seed, progress, before, kept, home)
            if isinstance(step, CrossDocument):
                scratch = folder.parent / "work" / name
                fit_cross_document(step, pool, targets, fitted, folder / name, scratch)
                learned = load_learned(step, folder / name)
            else:
                learned = learn(step, pool, targets)
                with atomic_folder(folder / name) as temporary:
                    learned.save(temporary)
            spent = time.process_time() - start
        digest = known[name].digest if name in known else folder_digest(folder / name)
        columns = f"{step.name}-{key_of(column_record(step, documents, digest))}"
        named = learned.called(label, columns, folder / name, digest)
        if name not in known and spent is not None and note is not None:
            note(columns, spent)
        known.setdefault(name, named)
        fitted.append(named)
        own_filters = own_filters + 1 if is_filter else 0
    return tuple(fitted)


def _kept(folder: Path, sample: Documents, steps: Sequence[Fitted]) -> NDArray[np.bool_]:
    """Return which documents of the pool's sample some steps keep, bool [n].

    What a step said is kept beside the sample, so that it is not asked again for another list.
    """
    alive = np.ones(len(sample), np.bool_)
    for step in steps:
        if not step.drops:
            continue
        path = folder / f"{step.folder}.npz"
        known = read_arrays(path) if path.is_file() else {}
        none = np.zeros(len(sample), np.bool_)
        with damaged(path):
            asked, kept = (
                check_array(known.get(name, none), np.bool_, none.shape).copy()
                for name in ("asked", "kept")
            )
        new = alive & ~asked
        if new.any():
            kept[new] = kept_by(step.compute(sample.take(new)))
            with atomic(path) as temporary, temporary.open("wb") as file:
                np.savez(file, asked=asked | new, kept=kept)
        alive &= kept
    return alive


def load_steps(
    folder: Path, settings: ScoreSettings, layout: Layout, names: Sequence[str]
) -> tuple[Fitted, ...]:
    """Load the fitted steps of a list; `names`: of the folders of what they learned."""
    steps = [step for step, _ in with_filters(settings.steps)]
    return tuple(
        load_learned(step, folder / name).called(source.label, source.folder, folder / name)
        for step, source, name in zip(steps, layout.sources, names, strict=True)
    )


def annotate_pool(
    run: RunFolder,
    corpus: Corpus,
    documents: Mapping[str, Any],
    lists: tuple[tuple[Fitted, ...], ...],
    layouts: Sequence[Layout],
    engine: Engine,
    progress: Progress,
    *,
    max_bad: float = 1.0,
) -> list[Layout]:
    """Write the columns that are missing, then the bad lines of all documents."""
    table = run.folder / "table"
    pieces = run.folder / "work" / "quarantine"
    parts = parts_of(corpus.units)
    key = key_of(documents)
    declare(table / layouts[0].documents, documents, document_columns(corpus))
    labels = layouts[0].labels
    if labels is not None:
        record = {"documents": key, "names": label_names(corpus)}
        declare(table / labels, record, label_columns(corpus))
    for named in {named.folder: named for steps in lists for named in steps}.values():
        record = column_record(named.step, key, named.digest)
        declare(table / named.folder, record, named.raw)
    work = Annotate(corpus, lists, table, layouts[0].documents, labels, pieces, max_bad)
    missing = [part for part in parts if not work.is_done(part)]
    if missing:
        # Where there are fewer parts than workers, several work on one.
        work = replace(work, threads=max(1, engine.size // len(missing)))
        _note_scoring(run, list(engine.map(work, missing, progress=progress, name="score")))
    whole = [replace(layout, parts=len(parts)) for layout in layouts]
    if pieces.is_dir():
        joined = run.folder / "quarantine" / "bad-lines.jsonl"
        lines = Table(table, whole[0]).lines
        join_quarantine(pieces, corpus.units, lines, joined)
        # Renamed first: what a kill leaves half removed must not be joined again.
        done = pieces.with_name("joined")
        shutil.rmtree(done, ignore_errors=True)
        pieces.replace(done)
        shutil.rmtree(done)
        with contextlib.suppress(OSError):  # not empty: there is other work under way
            done.parent.rmdir()
    return whole


def _note_fitting(run: RunFolder, folder: str, seconds: float) -> None:
    known = _costs(run)
    cost = known.get(folder, {"fit": 0.0, "score": 0.0, "documents": 0})
    run.update(costs={**known, folder: {**cost, "fit": round(cost["fit"] + seconds, 6)}})


def _costs(run: RunFolder) -> dict[str, dict[str, float]]:
    """Return what is noted so far; nothing where the record holds something else."""
    known: Any = run.record.get("costs")
    try:
        return {
            str(folder): {
                "fit": float(cost["fit"]),
                "score": float(cost["score"]),
                "documents": int(cost["documents"]),
            }
            for folder, cost in known.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def _note_scoring(run: RunFolder, spent: Sequence[Spent]) -> None:
    """Add what scoring took; parts that were done before a kill are not in it."""
    costs = _costs(run)
    for folder in {name for one in spent for name in one.seconds}:
        cost = costs.get(folder, {"fit": 0.0, "score": 0.0, "documents": 0})
        mine = [one for one in spent if folder in one.seconds]
        seconds = sum(one.seconds[folder] for one in mine)
        documents = sum(one.documents for one in mine)
        costs[folder] = {
            **cost,
            "score": round(cost["score"] + seconds, 6),
            "documents": cost["documents"] + documents,
        }
    run.update(costs=costs)


def costs_of(
    record: Mapping[str, Any], fitted: Sequence[Fitted], documents: int
) -> dict[str, tuple[float, float]]:
    """Return seconds of a core by step: label → (to fit, to score so many documents).

    Of a run that was killed, the time of what was done before is reckoned from the rest.
    """
    costs = record.get("costs", {})
    return {
        named.label: (cost["fit"], cost["score"] * documents / max(cost["documents"], 1))
        for named in fitted
        if (cost := costs.get(named.folder)) is not None
    }


def read_record(folder: Path) -> dict[str, Any]:
    """Return run.json of a run that has a table. DataworthError if it has none."""
    record = read_object(folder / "run.json")
    if "list" not in record and "attribution" in record:
        raise DataworthError(
            f"{folder}: holds attributions alone; select or score the same documents into it first"
        )
    if "list" not in record:
        raise DataworthError(
            f"{folder}: the run is not finished; run its command again, which goes on with it"
        )
    return record
