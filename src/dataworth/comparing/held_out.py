"""Evaluation sets of a comparison: documents that none of its selections holds.

For each target its validation files, or the half of its examples that nothing was learned from;
and a random sample of the pool. Sets are cut to a number of bytes: documents by the seeded hash of
uid, of each at most its beginning. All of them, and exact copies, are kept out of every selection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from dataworth.comparing.measures import SHIFT
from dataworth.comparing.plan import ComparePlan
from dataworth.comparing.pool import sources, target_fields
from dataworth.comparing.questions import answered, as_read, read_questions
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.read.sources import fingerprint as ends_of
from dataworth.corpus.uid import hash_uid
from dataworth.corpus.units import Unit
from dataworth.engine.files import (
    atomic_folder,
    check_array,
    damaged,
    read_array,
    read_object,
    write_json,
)
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress
from dataworth.errors import InputError
from dataworth.features.grams import words_of
from dataworth.flow.identity import content_of
from dataworth.flow.scoring import Scored
from dataworth.flow.settings import fingerprint
from dataworth.flow.targets import open_targets, read_targets
from dataworth.measures.contamination import Index, index

# The most that is read of one document: a long one shows little more than its beginning does.
DOCUMENT_BYTES = 2 * 1024
_STREAM = 0x68656C64  # of `hash_uid`
_REMEDY = "delete the folder and run the same command again"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class EvaluationSet:
    """Documents or questions that trained models are measured on.

    `kind`: "text" (losses), "choice" (questions with options), "cloze" (prompt and response) or
    "shift" (losses on text that is not from the pool's sources).
    `target` None: no target's, the sample of the pool for instance. `mark`: what it holds, as a
    fingerprint.
    """

    kind: str
    target: str | None
    file: str
    mark: str
    rows: int
    bytes: int

    @property
    def key(self) -> str:
        """Its name among the results of a training."""
        return f"{self.kind}:{self.target or ''}:{self.mark}"


def build(
    plan: ComparePlan, table: Scored, folder: Path, engine: Engine, progress: Progress
) -> None:
    """Write the sets, `excluded.npy` and `sets.json`, unless they are there."""
    if (folder / "sets.json").is_file():
        return
    excluded: list[NDArray[np.uint64]] = []
    with atomic_folder(folder) as place:
        found, measured = [], []
        fields = replace(target_fields(plan), template=plan.fields.template)
        for name in plan.targets:
            documents = validation_of(plan, table, name)
            excluded.append(documents.uid)
            measured.append(documents)
            kept = some(documents, plan.validation_bytes, plan.score_seed)
            found.append(_write(place, "text", name, _texts(kept)))
            questions = read_questions(plan.targets[name].choices, plan.choices, plan.score_seed)
            for kind, rows in questions.items():
                if rows:
                    made = [as_read(row, fields) for row in rows]
                    found.append(_write(place, kind, name, made))
                    measured.append(answered(rows, fields))
                    excluded.append(measured[-1].uid)
        for name, documents in shift_of(plan).items():
            excluded.append(documents.uid)
            measured.append(documents)
            kept = some(documents, plan.validation_bytes, plan.score_seed)
            found.append(replace(_write(place, SHIFT, name, _texts(kept)), target=None))
        sample = table.survey.sample
        kept = some(sample, plan.pool_bytes, plan.score_seed)
        excluded.append(kept.uid)
        found.append(_write(place, "text", None, _texts(kept)))
        alike = np.empty(0, np.uint64)
        if plan.decontaminate:
            alike = sharing(table, measured, engine, progress)
            excluded.append(alike)
        np.save(place / "excluded.npy", np.unique(np.concatenate(excluded)))
        facts = {"sets": [vars(item) for item in found], "decontaminated": len(alike)}
        write_json(place / "sets.json", facts)


def load_sets(folder: Path) -> list[EvaluationSet]:
    """Load the sets that `build` wrote."""
    path = folder / "sets.json"
    with damaged(path, _REMEDY):
        sets = [EvaluationSet(**item) for item in read_object(path, _REMEDY)["sets"]]
        if any(Path(item.file).name != item.file for item in sets):
            raise ValueError("a set is no file beside it")
        return sets


def load_decontaminated(folder: Path) -> int:
    """Return the number of the pool's documents kept out for sharing text with validation sets."""
    path = folder / "sets.json"
    with damaged(path, _REMEDY):
        return int(read_object(path, _REMEDY).get("decontaminated", 0))


@dataclass(frozen=True)
class _Sharing:
    """The uids of a unit's documents that hold an n-gram of one of the indices."""

    corpus: Corpus
    indices: tuple[Index, ...]

    def __call__(self, unit: Unit, tick: Tick) -> NDArray[np.uint64]:
        found = [np.empty(0, np.uint64)]
        for block in self.corpus.blocks(unit):
            words = words_of(block.documents, punctuation=False)
            holds = np.zeros(len(block.documents), np.bool_)
            for looked in self.indices:
                holds |= looked.holders_words(words)
            found.append(block.documents.uid[holds])
            tick(len(block.documents), block.raw_bytes)
        return np.concatenate(found)


def sharing(
    table: Scored, validation: Iterable[Documents], engine: Engine, progress: Progress
) -> NDArray[np.uint64]:
    """Return the uids of the pool's documents that share 13 words in a row with a validation set.

    The rule is that of `judge.contamination`: 13 words in a row, common ones left out.
    """
    indices = []
    for documents in validation:
        runs = index(documents)
        runs.leave_out_common(table.survey.sample)
        indices.append(runs)
    corpus = table.corpus
    work = _Sharing(corpus, tuple(indices))
    found = list(engine.map(work, corpus.units, progress=progress, name="decontaminate"))
    return np.unique(np.concatenate([np.empty(0, np.uint64), *found]))


def load_excluded(folder: Path) -> NDArray[np.uint64]:
    """Load the uids of all documents that no selection may hold, sorted."""
    path = folder / "excluded.npy"
    with damaged(path, _REMEDY):
        return check_array(read_array(path, _REMEDY), np.uint64, (None,))


def read_rows(folder: Path, item: EvaluationSet) -> Rows:
    """Read the rows of a set: {"text"}, or a question's fields."""
    path = folder / item.file
    with damaged(path, _REMEDY):
        lines = path.read_bytes().split(b"\n")
        rows = [orjson.loads(line) for line in lines if line]
        if fingerprint([line.decode() for line in lines if line]) != item.mark:
            raise ValueError("it holds other rows than sets.json says")
    return rows


def validation_of(plan: ComparePlan, table: Scored, name: str) -> Documents:
    """Read all documents that validate a target. Raises InputError if there are none."""
    if not plan.targets[name].validation:
        held = table.targets.held_out.get(name)
        if held is None:
            raise InputError(
                f"target {name!r} has too few examples to hold some out: give it 'validation'"
            )
        return held
    corpora = _open({name: plan.targets[name].validation}, plan)
    return read_targets(corpora, holdout=0.0, max_bad=plan.max_bad, seed=plan.score_seed).fit[name]


def shift_of(plan: ComparePlan) -> dict[str, Documents]:
    """Read all documents of the text from elsewhere, by its name."""
    corpora = _open(plan.shift, plan)
    read = read_targets(corpora, holdout=0.0, max_bad=plan.max_bad, seed=plan.score_seed)
    return dict(read.fit)


def inputs_of(plan: ComparePlan) -> dict[str, Any]:
    """Return the fingerprints of the files that are read here: role → path → facts."""
    files = {name: item.validation for name, item in plan.targets.items() if item.validation}
    fingerprints: dict[str, Any] = {}
    for name, corpus in _open(files, plan).items():
        fingerprints[f"validation {name}"] = by_path(corpus)
    for name, corpus in _open(plan.shift, plan).items():
        fingerprints[f"shift {name}"] = by_path(corpus)
    for name, item in plan.targets.items():
        for path in item.choices:
            if not Path(path).is_file():
                raise InputError(f"{path}: there is no such file (choices of {name})")
            fingerprints[f"choices {name}"] = {path: content_of(Path(path))}
    return fingerprints


def by_path(corpus: Corpus) -> dict[str, Any]:
    """Return what each file holds: a digest, or of a URL its size and a digest of its ends."""
    options = corpus.storage_options
    return {
        file.path: [file.size, ends_of(file, options)["hash"]]
        if file.is_url
        else content_of(Path(file.path))
        for file in corpus.files
    }


def _open(files: Mapping[str, Sequence[str]], plan: ComparePlan) -> dict[str, Corpus]:
    paths = {name: sources(item) for name, item in files.items()}
    return open_targets(paths, target_fields(plan), None, None)


def some(documents: Documents, limit: int, seed: int) -> Documents:
    """Return random documents, each once, of which the beginnings hold about `limit` bytes."""
    first = np.unique(documents.uid, return_index=True)[1]
    order = first[np.argsort(hash_uid(seed, documents.uid[first], _STREAM))]
    ends = np.cumsum(np.minimum(documents.text_bytes[order], DOCUMENT_BYTES))
    count = int(np.searchsorted(ends, limit)) + 1
    return documents.take(order[:count])


def _texts(documents: Documents) -> Rows:
    return [{"text": beginning(text)} for text in documents.texts()]


def beginning(text: str, limit: int = DOCUMENT_BYTES) -> str:
    """Return the first whole characters of a text within `limit` bytes."""
    data = text.encode("utf-8")
    return text if len(data) <= limit else data[:limit].decode("utf-8", "ignore")


def _write(folder: Path, kind: str, target: str | None, rows: Rows) -> EvaluationSet:
    lines = [orjson.dumps(row) for row in rows]
    file = f"{kind}-{fingerprint([kind, target])}.jsonl"
    (folder / file).write_bytes(b"".join(line + b"\n" for line in lines))
    mark = fingerprint([line.decode() for line in lines])
    size = sum(len(text.encode()) for row in rows for text in _strings(row))
    return EvaluationSet(kind, target, file, mark, len(rows), size)


def _strings(row: Mapping[str, Any]) -> Iterator[str]:
    for value in row.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from value
