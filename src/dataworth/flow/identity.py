"""Identities and keys of steps: what their columns depend on, and nothing else.

The fit key names what a step learned: the step, the documents, the sample, the targets that it
reads and, where it looks at the pool, the dropping steps before it. The column key names what it
says of the documents: the step, the documents and what was learned, by its content.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import checks
from dataworth.errors import ConfigError
from dataworth.features.embeddings.base import folder_identity
from dataworth.flow.settings import ChoiceSettings, ScoreSettings, fields_dict, fingerprint
from dataworth.methods.base import Step, Targets
from dataworth.mixture.registry import parse as parse_mixture
from dataworth.table.keys import canonical, file_digest, uids_digest

_NO_LABELS = ("id", "groups")


def identity_of(step: object) -> dict[str, Any]:
    """Return what a step is: its class, version and options, files and models by their content.

    An object whose options JSON cannot hold gives a `key` of its own; without one its columns are
    known to this object alone.
    """
    cls = type(step)
    record: dict[str, Any] = {
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "version": getattr(step, "version", 1),
    }
    key = getattr(step, "key", None)
    if key is not None:
        return {**record, "key": str(key)}
    try:
        if not dataclasses.is_dataclass(step):
            raise TypeError
        record["options"] = _options(step)
        canonical(record)
    except TypeError:
        name = f"of one process: {uuid.uuid4().hex}"
        record["options"] = _alone.setdefault(id(step), (step, name))[1]
    return record


def _options(value: Any) -> dict[str, Any]:
    options = {}
    for field in dataclasses.fields(value):
        if not field.init or field.metadata.get("run_only"):
            continue
        own = getattr(value, field.name)
        options[field.name] = _by_content(own) if field.metadata.get("content") else _plain(own)
    return options


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f"{type(value).__module__}:{type(value).__qualname__}": _options(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError


def _by_content(value: Any) -> Any:
    """Replace paths of models and data files by digests of their content; keep other values."""
    if isinstance(value, Mapping):
        return {str(name): _by_content(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_content(item) for item in value]
    if not isinstance(value, str | Path) or not value or not Path(value).exists():
        return _plain(value)
    return content_of(Path(value))


def content_of(path: Path) -> str:
    """Return a digest of a file, or of a model's folder. Raises ConfigError if it cannot be read.

    Known again by the paths, sizes, times and inodes of the files, while the process lives.
    """
    try:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        states = [(str(file), file.stat()) for file in files if file.is_file()]
        marks = tuple((name, s.st_size, s.st_mtime_ns, s.st_ino) for name, s in states)
        return _digest(path, marks)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error


@lru_cache(maxsize=256)
def _digest(path: Path, marks: tuple[Any, ...]) -> str:
    return folder_identity(path) if path.is_dir() else file_digest(path)


_alone: dict[int, tuple[Any, str]] = {}
"""Names of objects of this process, which are held so that their numbers are not given again."""


def documents_record(corpus: Corpus, hashes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the documents of a pool depend on: its files' content, and how they are read.

    `hashes`: of each file, as `fingerprint` gives them. Ids and groups are columns of their own.
    """
    fields = fields_dict(corpus.fields)
    return {
        "files": [
            [file.format, file.compression, known["size"], known["hash"]]
            for file, known in zip(corpus.files, hashes, strict=True)
        ],
        "fields": {name: value for name, value in fields.items() if name not in _NO_LABELS},
    }


def target_record(targets: Targets) -> dict[str, Any]:
    """Return what tells the halves of targets that are fitted on: their texts, in order."""
    return {name: _texts(targets.fit[name]) for name in targets.names}


def _texts(documents: Documents) -> list[Any]:
    second = checks(documents.data, documents.starts, documents.ends)
    return [len(documents), uids_digest(documents.uid), uids_digest(second)]


def fit_record(
    step: Step,
    settings: ScoreSettings,
    documents: str,
    targets: Mapping[str, Any],
    dropping: Sequence[str],
) -> dict[str, Any]:
    """Return what a fit depends on. `targets`: of `target_record`; `dropping`: column folders of
    the steps before that may drop documents.

    A step that has `needs_target = False` reads no target; one that has `reads_pool = False` learns
    nothing from the pool.
    """
    reads_pool = getattr(step, "reads_pool", True)
    return {
        "step": identity_of(step),
        "documents": documents,
        "seed": settings.seed,
        "sample_bytes": settings.sample_bytes,
        "targets": dict(targets) if getattr(step, "needs_target", True) else None,
        "after": list(dropping) if reads_pool else None,
    }


def choice_key(settings: ChoiceSettings) -> str:
    """Return a name of a choice by all that it depends on beside the table: what a mixture learns
    from enters by its content, wherever it lies."""
    record = settings.as_dict()
    if settings.mixture is not None:
        record["mixture"] = identity_of(parse_mixture(settings.mixture))
    return fingerprint(record)


def column_record(step: Step, documents: str, state: str) -> dict[str, Any]:
    """Return what a step's columns depend on. `state`: the digest of what it learned."""
    return {"step": identity_of(step), "documents": documents, "state": state}
