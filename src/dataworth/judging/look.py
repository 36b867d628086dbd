"""One pass over a stream of documents: identities, lengths, groups, and what needs their text.

Memory: some 16 bytes a document, and for a selection's text a sample of 16 MiB and sketches of at
most a million documents. Everything that is kept in part is kept by the smallest hash of uid, so
that it does not depend on the order of the files or on the number of workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dataworth.corpus.documents import Documents
from dataworth.corpus.uid import hash_uid
from dataworth.corpus.units import Unit
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress
from dataworth.errors import InputError
from dataworth.features.grams import words_of
from dataworth.flow.scoring import BYTES_PER_TOKEN, first_bad
from dataworth.judging.subject import Subject
from dataworth.measures.contamination import Index, Seen
from dataworth.measures.duplicates import sketches_of
from dataworth.table.survey import smallest

SAMPLE_BYTES = 16 * 2**20
MOST_SKETCHES = 1_000_000
_SAMPLE = 0x6A756467  # of `hash_uid`, for the sample of a selection
_SKETCH = 0x736B6574

Groups = dict[str, dict[str | None, tuple[int, int]]]
"""Field → value → (documents, tokens)."""


@dataclass
class Looked:
    """Facts about a stream of documents. Arrays have a row for each document, copies too.

    `uid` uint64, `text_bytes` int64. `sample`: documents by growing hash, at most 16 MiB of text,
    `hashes` theirs. `sketched` uint64, `sketches` uint32 [k, 48]: of different texts, where asked
    for. `seen`: by the name of the validation set. `bad`: bad lines by reason.
    """

    uid: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    text_bytes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    groups: Groups = field(default_factory=dict)
    bad: Counter[str] = field(default_factory=Counter)
    sample: Documents = field(default_factory=lambda: Documents.from_texts([]))
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    sketched: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    sketches: NDArray[np.uint32] = field(default_factory=lambda: np.empty((0, 48), np.uint32))
    seen: dict[str, Seen] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.uid)

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each document, estimated as bytes / 4."""
        return tokens_of(self.text_bytes)


def tokens_of(text_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Estimate tokens from bytes, as the documents table has them without a tokenizer."""
    estimated: NDArray[np.int64] = np.maximum(1, np.rint(text_bytes / BYTES_PER_TOKEN)).astype(
        np.int64
    )
    return estimated


@dataclass(frozen=True)
class Look:
    """The work on one unit. Without `text`, the text measures are left out."""

    subject: Subject
    seed: int = 0
    text: bool = True
    indexes: Mapping[str, Index] = field(default_factory=dict)

    def __call__(self, unit: Unit, tick: Tick) -> Looked:
        """Look at the documents of the unit, and tick for each block."""
        stack: list[tuple[int, Looked]] = []  # pairwise, so that nothing is copied over and over
        for documents, block in self.subject.blocks(unit):
            part = self._block(documents)
            part.bad.update(line.reason for line in block.bad)
            size = 1
            while stack and stack[-1][0] == size:
                part = self.merge(stack.pop()[1], part)
                size *= 2
            stack.append((size, part))
            tick(len(block.documents), block.raw_bytes)
        total = Looked()
        for _, part in reversed(stack):
            total = self.merge(part, total)
        return total

    def _block(self, documents: Documents) -> Looked:
        part = Looked(uid=documents.uid, text_bytes=documents.text_bytes)
        part.groups = _groups(documents, self.subject.corpus.fields.groups)
        if not self.text or not len(documents):
            return part
        part.hashes = hash_uid(self.seed, documents.uid, _SAMPLE)
        part.sample = documents
        words = words_of(documents, punctuation=False)
        table, known = sketches_of(words)
        part.sketched, part.sketches = documents.uid[known], table[known]
        part.seen = {
            name: index.look_words(words, documents.uid) for name, index in self.indexes.items()
        }
        _keep_few(part)
        return part

    def merge(self, left: Looked, right: Looked) -> Looked:
        """Join the facts of two parts of the stream, `left` first."""
        if not len(left):
            return _with_bad(right, left.bad)
        if not len(right):
            return _with_bad(left, right.bad)
        merged = Looked(
            uid=np.concatenate([left.uid, right.uid]),
            text_bytes=np.concatenate([left.text_bytes, right.text_bytes]),
            groups=_added(left.groups, right.groups),
            bad=left.bad + right.bad,
            sketched=np.concatenate([left.sketched, right.sketched]),
            sketches=np.concatenate([left.sketches, right.sketches]),
            seen={name: left.seen[name].merge(right.seen[name]) for name in left.seen},
        )
        if self.text:
            merged.sample, merged.hashes = smallest(
                [left.sample, right.sample], [left.hashes, right.hashes], SAMPLE_BYTES, spare=True
            )
        _fewer_sketches(merged, 2 * MOST_SKETCHES)
        return merged


def look(
    work: Look, engine: Engine, *, max_bad: float, progress: Progress, name: str, role: str
) -> Looked:
    """Run the pass. `role` is what the stream is called in errors: "the selection".

    Raises InputError for more bad lines than `max_bad` allows, and for files without a document.
    """
    subject = work.subject
    looked = engine.threads().fold(work, work.merge, subject.units, progress=progress, name=name)
    if looked is None:
        looked = Looked()
    wrong, total = looked.bad.total(), looked.bad.total() + len(looked)
    if wrong > max_bad * total:
        reasons = ", ".join(f"{count} {reason}" for reason, count in looked.bad.most_common())
        raise InputError(
            f"{wrong} of {total} lines of {role} are bad, more than the {max_bad:.2%} allowed: "
            f"{reasons}. {first_bad(subject.corpus)} Mend the files, name the field that holds "
            "the text (--text-field), or allow more (--max-bad)"
        )
    if not len(looked) and subject.selection is None:
        paths = ", ".join(file.path for file in subject.corpus.files[:3])
        raise InputError(f"{role} holds no document ({paths}): check the path")
    few, hashes = smallest([looked.sample], [looked.hashes], SAMPLE_BYTES, spare=False)
    if len(few):  # else the first by hash is a giant, which alone is the sample then
        looked.sample, looked.hashes = few, hashes
    _fewer_sketches(looked, MOST_SKETCHES)
    return looked


def _keep_few(part: Looked) -> None:
    """Keep of a block what may still be in the sample, with texts of its own."""
    part.sample, part.hashes = smallest([part.sample], [part.hashes], SAMPLE_BYTES, spare=True)
    part.sample = part.sample.compact()


def _fewer_sketches(part: Looked, most: int) -> None:
    """Keep each text once, and at most so many, by the smallest hash."""
    if len(part.sketched) <= most and most > MOST_SKETCHES:
        return
    uid, first = np.unique(part.sketched, return_index=True)
    if len(uid) > MOST_SKETCHES:
        hashed = hash_uid(0, uid, _SKETCH)
        few = np.sort(np.argpartition(hashed, MOST_SKETCHES)[:MOST_SKETCHES])
        uid, first = uid[few], first[few]
    part.sketched, part.sketches = uid, part.sketches[first]


def _with_bad(part: Looked, bad: Counter[str]) -> Looked:
    part.bad = part.bad + bad
    return part


def _groups(documents: Documents, fields: tuple[str, ...]) -> Groups:
    tokens = tokens_of(documents.text_bytes)
    out: Groups = {}
    for name in fields:
        encoded = documents.columns[name].dictionary_encode()
        values = [*encoded.dictionary.to_pylist(), None]
        codes = np.asarray(encoded.indices.fill_null(len(values) - 1), np.int64)
        counts = np.bincount(codes, minlength=len(values))
        sums = np.bincount(codes, tokens, minlength=len(values))
        out[name] = {
            value: (int(counts[i]), int(sums[i])) for i, value in enumerate(values) if counts[i]
        }
    return out


def _added(left: Groups, right: Groups) -> Groups:
    out: Groups = {}
    for name in {**left, **right}:
        sums = dict(left.get(name, {}))
        for value, (documents, tokens) in right.get(name, {}).items():
            before = sums.get(value, (0, 0))
            sums[value] = (before[0] + documents, before[1] + tokens)
        out[name] = sums
    return out
