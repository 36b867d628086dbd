"""Estimates of what a run would read and need, for `--dry-run`. Its folder is left as it is.

The estimates come from a small part of the pool that is really read, fitted on and scored. They
are right within a factor of two where the files are alike.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.read.reader import Block
from dataworth.corpus.read.sources import SourceFile
from dataworth.corpus.read.streams import open_raw
from dataworth.corpus.units import Unit
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.flow.cross_document import scratch_of
from dataworth.flow.scoring import count_tokens, fit_steps, tokens_per_byte
from dataworth.flow.settings import ChoiceSettings, ScoreSettings, deciding
from dataworth.flow.targets import read_targets
from dataworth.mechanism.budget import parse_budget
from dataworth.methods.base import Targets, apply_steps
from dataworth.methods.fitted import Fitted
from dataworth.table.run import FILE, changes_of, check_layout
from dataworth.table.survey import Survey, share_read

BASE_BYTES = 300e6  # of a process with its libraries
WORKER_BYTES = 60e6  # of blocks under way, a worker
CHOOSING_BYTES = 41  # a document, while choosing
TABLE_BYTES = 60  # a document
STARTING = 1.0  # seconds
CHOOSING = 2e-6  # seconds a document
WRITING = 5e-9  # seconds a byte of a selection, packed
_FILES = 8  # of each kind that are read from
_BLOCKS = 2
_PATIENCE = 2.0  # seconds that scoring is measured for
_PACKED = 2**20
_TOKENIZED = 2**18


@dataclass
class Plan:
    """A run in advance: what it would read, its settings, and estimates of what it needs.

    `state` of the folder: "new", "resumes", "refused" (then `changes` says why) or "overwrites".
    Documents, bytes, seconds are estimates; bytes of `reads` are as stored.
    """

    reads: list[dict[str, Any]]
    units: int
    workers: int
    settings: dict[str, Any]
    out: str | None
    state: str
    changes: list[str] = field(default_factory=list)
    documents: int = 0
    raw_bytes: int = 0
    text_bytes: int = 0
    selected_bytes: int = 0
    seconds: float = 0.0
    memory_bytes: int = 0
    disk_bytes: int = 0
    free_bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return asdict(self)


@dataclass
class _Probe:
    """Measurements on a small part of the pool; `read` seconds of one core."""

    documents: float = 0.0
    raw: float = 0.0
    text: float = 0.0
    read: float = 0.0
    sample: list[Documents] = field(default_factory=list)


def make_plan(
    corpus: Corpus,
    target_corpora: Mapping[str, Corpus],
    settings: ScoreSettings,
    choice: ChoiceSettings | None,
    configuration: Mapping[str, Any],
    *,
    folder: Path | None,
    overwrite: bool,
    engine: Engine,
) -> Plan:
    """Look at the inputs and a part of the pool. Raises InputError for what a run would fail on."""
    reads = [_files("pool", corpus)]
    reads += [_files(f"target {name}", target) for name, target in target_corpora.items()]
    state, changes = _state(folder, configuration, overwrite)
    plan = Plan(
        [item for items in reads for item in items],
        len(corpus.units),
        engine.size,
        dict(configuration),
        None if folder is None else str(folder),
        state,
        changes,
    )
    targets = read_targets(
        target_corpora, holdout=settings.holdout, max_bad=settings.max_bad, seed=settings.seed
    )
    probe = _probe(corpus)
    plan.documents, plan.raw_bytes = round(probe.documents), round(probe.raw)
    plan.text_bytes = round(probe.text)
    if probe.sample:
        _estimate(plan, probe, corpus, targets, settings, choice, engine)
    if folder is not None:
        there = next(path for path in (folder, *folder.parents) if path.is_dir())
        plan.free_bytes = shutil.disk_usage(there).free
    return plan


def _files(role: str, corpus: Corpus) -> list[dict[str, Any]]:
    """Return number and bytes of the files of each format and compression."""
    kinds: dict[tuple[str, str | None], list[SourceFile]] = {}
    for file in corpus.files:
        kinds.setdefault((file.format, file.compression), []).append(file)
    return [
        {
            "role": role,
            "format": kind,
            "compression": compression,
            "files": len(files),
            "bytes": sum(file.size for file in files),
        }
        for (kind, compression), files in kinds.items()
    ]


def _state(
    folder: Path | None, configuration: Mapping[str, Any], overwrite: bool
) -> tuple[str, list[str]]:
    if folder is None or not (folder / FILE).is_file():
        return "new", []
    if overwrite:
        return "overwrites", []
    check_layout(folder)
    changes = list(changes_of(folder, orjson.loads(orjson.dumps(configuration)), deciding))
    return ("refused", changes) if changes else ("resumes", [])


def _probe(corpus: Corpus) -> _Probe:
    """Read a little of the largest files of each kind, and go from there to the whole."""
    total = _Probe()
    kinds: dict[tuple[str, str | None], list[SourceFile]] = {}
    for file in corpus.files:
        if file.size:
            kinds.setdefault((file.format, file.compression), []).append(file)
    for files in kinds.values():
        _add_kind(total, files, corpus)
    return total


def _add_kind(total: _Probe, files: list[SourceFile], corpus: Corpus) -> None:
    seen = [0.0, 0.0, 0.0, 0.0]  # documents, raw bytes, text bytes, seconds
    firsts = {unit.file: unit for unit in reversed(corpus.units)}
    by_size = sorted((file for file in files if file in firsts), key=lambda file: file.size)
    places = {round(place) for place in np.linspace(0, len(by_size) - 1, _FILES)}
    chosen = [by_size[place] for place in sorted(places)] if by_size else []
    for file in chosen:
        for block, seconds in islice(_timed(corpus, firsts[file]), _BLOCKS):
            seen[0] += len(block.documents)
            seen[1] += block.raw_bytes
            seen[2] += float(block.documents.text_bytes.sum())
            seen[3] += seconds
            total.sample.append(block.documents)
    if files[0].format == "parquet":
        rows = sum(u.end - u.start for u in corpus.units if u.file.format == "parquet")
        scale = rows / seen[0] if seen[0] else 0.0
    else:
        stored = sum(file.size for file in files)
        scale = stored * _expansion(chosen, corpus) / max(seen[1], 1)
    single = files[0].format == "txt" and corpus.fields.txt == "file"
    total.documents += len(files) if single else seen[0] * scale
    total.raw += seen[1] * scale
    total.text += seen[2] * scale
    total.read += seen[3] * scale


def _timed(corpus: Corpus, unit: Unit) -> Iterator[tuple[Block, float]]:
    started = time.perf_counter()
    for block in corpus.blocks(unit):
        yield block, time.perf_counter() - started
        started = time.perf_counter()


def _expansion(files: list[SourceFile], corpus: Corpus) -> float:
    """Return uncompressed bytes per stored byte, by the beginnings of files of one kind."""
    packed = content = 0
    for file in files:
        if file.compression is None:
            return 1.0
        with open_raw(file, corpus.storage_options) as raw:
            head = raw.read(_PACKED)
        packed += len(head)
        if file.compression == "gz":
            content += len(zlib.decompressobj(31).decompress(head))
        else:
            decoder = zstandard.ZstdDecompressor(max_window_size=2**31)
            content += len(decoder.decompressobj(read_across_frames=True).decompress(head))
    return max(1.0, content / max(1, packed))


def _estimate(
    plan: Plan,
    probe: _Probe,
    corpus: Corpus,
    targets: Targets,
    settings: ScoreSettings,
    choice: ChoiceSettings | None,
    engine: Engine,
) -> None:
    """Estimate time, memory and disk by fitting on and scoring the part that was read."""
    documents = Documents.concatenate(probe.sample)
    bytes_seen = max(1.0, float(documents.text_bytes.sum()))
    sample = min(settings.sample_bytes, plan.text_bytes)
    fitted_seconds, passes, scoring, scratch = _scoring(documents, targets, settings)
    looked_at = share_read(corpus, settings.sample_bytes)
    work = probe.read * (1 + looked_at) + (scoring + passes) * plan.text_bytes / bytes_seen
    work += fitted_seconds * sample / bytes_seen
    seconds = STARTING + CHOOSING * plan.documents
    packed, ratio = 1.0, tokens_per_byte(_as_sample(documents), settings.tokenizer)
    if choice is not None:
        share = _share(choice, plan, ratio)
        plan.selected_bytes = round(share * plan.raw_bytes)
        work += plan.selected_bytes * (WRITING + probe.read / max(plan.raw_bytes, 1))
        text = b"".join(text.encode() for text in documents.texts()[:200])[:_PACKED]
        packed = len(zstandard.compress(text)) / max(1, len(text))
        if settings.tokenizer is not None:
            seconds += share * plan.text_bytes * _tokenizing(documents, settings.tokenizer)
    plan.seconds = seconds + work / engine.size
    plan.memory_bytes = round(
        BASE_BYTES + 2 * sample + WORKER_BYTES * engine.size + CHOOSING_BYTES * plan.documents
    )
    plan.disk_bytes = round(TABLE_BYTES * plan.documents + sample + packed * plan.selected_bytes)
    plan.disk_bytes += round(scratch * plan.text_bytes / bytes_seen)


def _scoring(
    documents: Documents, targets: Targets, settings: ScoreSettings
) -> tuple[float, float, float, float]:
    """Return seconds to fit, to pass over these documents while fitting, to score them; scratch."""
    progress = Progress()
    survey = Survey(len(documents) + 1, len(documents) + 1, sample=documents)
    with tempfile.TemporaryDirectory(prefix="dataworth-plan-") as folder:
        # A pool of its own, so that a step that reads the whole pool reads this part alone.
        file = Path(folder) / "part.jsonl"
        file.write_bytes(b"".join(_row(text) for text in documents.texts()))
        part = Corpus.open(file)
        started = time.perf_counter()
        steps = fit_steps(
            Path(folder) / "fitted", part, targets, survey, settings, Engine(1), progress
        )
        fitting = time.perf_counter() - started
        passes = sum(phase.seconds for phase in progress.phases)
        # Steps that compare documents run one after another, each removing its scratch.
        scratch = max((scratch_of(step) for step in steps), default=0)
        scoring = _seconds_to_score(steps, documents)
    return fitting - passes, passes, scoring, scratch


def _seconds_to_score(steps: Sequence[Fitted], documents: Documents) -> float:
    """Return seconds to score all documents, measured on as many of them as it takes."""
    few = documents.take(np.arange(min(10, len(documents))))
    apply_steps(steps, few)  # compiles, if need be
    started = time.perf_counter()
    apply_steps(steps, few)
    # What asks a model about each document is measured on some of them.
    enough = len(few) * _PATIENCE / max(time.perf_counter() - started, 1e-6)
    some = documents.take(np.arange(min(len(documents), max(len(few), int(enough)))))
    started = time.perf_counter()
    apply_steps(steps, some)
    share = float(some.text_bytes.sum()) / max(float(documents.text_bytes.sum()), 1.0)
    return (time.perf_counter() - started) / max(share, 1e-9)


def _row(text: str) -> bytes:
    return orjson.dumps({"text": text}) + b"\n"


def _as_sample(documents: Documents) -> Survey:
    few = documents.take(np.cumsum(documents.text_bytes) <= _TOKENIZED)
    return Survey(len(few), len(few), sample=few)


def _tokenizing(documents: Documents, tokenizer: str) -> float:
    """Return seconds to count the tokens of a byte of text."""
    few = _as_sample(documents).sample
    started = time.perf_counter()
    count_tokens(few.texts(), tokenizer)
    return (time.perf_counter() - started) / max(1.0, float(few.text_bytes.sum()))


def _share(choice: ChoiceSettings, plan: Plan, ratio: float) -> float:
    """Return the budget as a share of the pool, if everything is eligible."""
    budget = parse_budget(choice.budget)
    wholes = {
        "share": 1.0,
        "tokens": ratio * plan.text_bytes,
        "documents": float(plan.documents),
        "bytes": float(plan.text_bytes),
    }
    return min(float(choice.max_repeat), float(budget.amount) / max(wholes[budget.unit], 1e-9))
