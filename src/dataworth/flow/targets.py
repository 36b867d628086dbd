"""Targets: named, read into memory, and halved, so that what is reported was not tuned on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.kept import identity_columns, with_identity
from dataworth.corpus.read.reader import read
from dataworth.corpus.uid import hash_uid
from dataworth.engine.files import damaged, read_parquet, write_parquet
from dataworth.errors import ConfigError, InputError
from dataworth.methods.base import Targets

_STREAM = 0x68616C66  # of `hash_uid`, for the halves


def named(target: Any) -> dict[str, Any]:
    """Return targets by name: a mapping as it is, one path by its file's first word."""
    if target is None:
        return {}
    if isinstance(target, Mapping):
        found = {str(name): source for name, source in target.items()}
        for name in found:
            check_name(name)
        return found
    if isinstance(target, str | Path):
        stem = Path(str(target).rstrip("/")).name.split(".")[0]
        return {stem.replace("*", "").strip("-_ ") or "target": target}
    return {"target": target}


_NAME = re.compile(r"[^\x00-\x1f\x7f:/\\]{1,120}")


def check_name(name: str) -> str:
    """Return a target's name. Raise ConfigError for one that can be no folder and no column."""
    if not _NAME.fullmatch(name) or name in ("joint", ".", ".."):
        raise ConfigError(
            f"a target cannot be named {name[:80]!r}: names are not empty, have at most 120 "
            "characters, hold no colon and no sign of paths, and are not 'joint'"
        )
    return name


def open_targets(
    sources: Mapping[str, Any],
    fields: Fields,
    spool: Path | None,
    storage_options: Mapping[str, Any] | None,
) -> dict[str, Corpus]:
    """Open each target as a corpus."""
    return {
        name: Corpus.open(
            source,
            fields=fields,
            spool=None if spool is None else spool / f"target-{name}",
            storage_options=storage_options,
        )
        for name, source in sorted(sources.items())
    }


def called(corpora: Mapping[str, Corpus], what: str = "target") -> dict[str, Corpus]:
    """Return targets, or `what` it is, by what they are called in messages."""
    return {f"the {what} {name!r}": corpus for name, corpus in corpora.items()}


def read_targets(
    corpora: Mapping[str, Corpus], *, holdout: float, max_bad: float, seed: int
) -> Targets:
    """Read the documents of all targets and split each into a part to fit on and a held-out one.

    Raises InputError for an empty target and for one with more than `max_bad` bad lines.
    """
    fit: dict[str, Documents] = {}
    held: dict[str, Documents] = {}
    for name, corpus in corpora.items():
        documents = read_documents(f"target {name!r}", corpus, max_bad=max_bad)
        fit[name], held[name] = halves(documents, holdout, seed)
    return Targets(fit, {name: part for name, part in held.items() if len(part)})


_BLOCK_BYTES = 2**18
_REMEDY = "give a file with examples of what the model should become good at"


def read_documents(
    what: str, corpus: Corpus, *, max_bad: float, remedy: str = _REMEDY
) -> Documents:
    """Read all documents of a small corpus; errors call it `what`, and name a `remedy` for none.

    Raises InputError if it is empty or has more than `max_bad` bad lines.
    """
    parts: list[Documents] = []
    good, bad, first, left = 0, 0, "", corpus.size
    plain = all(f.compression is None and f.format != "parquet" for f in corpus.files)
    for unit in corpus.units:
        # Small blocks: each bad line of one is held as an object.
        for block in read(
            unit, corpus.fields, storage_options=corpus.storage_options, block_bytes=_BLOCK_BYTES
        ):
            parts.append(block.documents)
            if block.bad and not first:
                line = block.bad[0]
                first = f"{line.file}, line {line.line}: {line.reason} ({line.detail})"
            good += len(block.documents)
            bad += len(block.bad)
            left -= block.raw_bytes
            # What comes has at most a document in two bytes, which may be too few to allow this.
            if plain and bad > max_bad * (bad + good + max(left, 0) / 2):
                raise _too_bad(what, bad, bad + good, first, max_bad, corpus.fields)
    if bad > max_bad * (bad + good):
        raise _too_bad(what, bad, bad + good, first, max_bad, corpus.fields)
    if not good:
        where = ", ".join(file.path for file in corpus.files[:3])
        raise InputError(f"{what} holds no document ({where}): {remedy}")
    return Documents.concatenate(parts)


def _too_bad(
    what: str, bad: int, lines: int, first: str, max_bad: float, fields: Fields
) -> InputError:
    plain = ", read it as plain text (--target-template none)" if fields.template else ""
    return InputError(
        f"{what}: {bad} of {lines} lines are bad, more than the {max_bad:.2%} allowed; the first "
        f"is {first}. Mend the file, name the field that holds the text{plain}, or allow more "
        "(--max-bad)"
    )


def halves(documents: Documents, holdout: float, seed: int) -> tuple[Documents, Documents]:
    """Split into (to learn from, held out) by the seeded hash of uid: equal texts stay together.

    Both in the order of uid, so that nothing learned from them hangs on the order of the files.
    """
    documents = documents.take(np.argsort(documents.uid, kind="stable"))
    uid, row_of = np.unique(documents.uid, return_inverse=True)
    rank = np.empty(len(uid), np.int64)
    rank[np.argsort(hash_uid(seed, uid, _STREAM))] = np.arange(len(uid))
    # Rounded down, so that a target of one document is not held out.
    held = (rank < int(len(uid) * holdout))[row_of]
    return documents.take(~held), documents.take(held)


def save(targets: Targets, folder: Path) -> None:
    """Save a copy, so that choosing again needs the run's folder alone."""
    for part, documents in (("fit", targets.fit), ("held_out", targets.held_out)):
        for name, docs in documents.items():
            own = {"text": docs.arrow(), "bytes": pa.array(docs.bytes)}
            table = pa.table({**own, **identity_columns(docs)})
            write_parquet(folder / name / f"{part}.parquet", table)


def load(folder: Path, names: list[str]) -> Targets:
    """Load the targets of a run."""
    found: dict[str, dict[str, Documents]] = {"fit": {}, "held_out": {}}
    for name in names:
        for part, documents_of in found.items():
            path = folder / name / f"{part}.parquet"
            if path.is_file():
                table = read_parquet(path)
                with damaged(path):
                    documents = Documents.from_texts(table["text"].to_pylist())
                    documents_of[name] = with_identity(documents, table)
    return Targets(found["fit"], found["held_out"])
