"""The records that readers of all formats yield: documents and bad lines, with their offsets."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.chats import mark_of
from dataworth.corpus.contents import Unread
from dataworth.corpus.documents import RoleSpans
from dataworth.corpus.fields import Fields, Span, label_of
from dataworth.corpus.uid import uids_of
from dataworth.errors import ConfigError

SAMPLE_BYTES = 1024
ID, PIECE = "id", "piece"
"""Columns of the documents."""


def empty_bytes(size: int) -> NDArray[np.uint8]:
    """Return a new buffer, its content undefined, from Arrow's memory pool.

    The pool hands freed memory on; NumPy gives large arrays back to the system, and the page
    faults of new ones would cost a third of the reader's time.
    """
    return np.frombuffer(pa.allocate_buffer(size), np.uint8)


@dataclass(frozen=True)
class BadLine:
    """A line (or Parquet row) that is no document.

    `line`: 1-based, from the first line of its unit. `offset`, `bytes`: its place in the
    uncompressed file, without line end. `reason`: invalid_json, two_objects, not_an_object,
    missing_field, null_text, empty_text, text_not_a_string, invalid_utf8, lone_surrogate,
    line_too_long, nested_too_deep. `detail`: one line for a person. `sample`: its first bytes.
    """

    file: str
    line: int
    offset: int
    bytes: int
    reason: str
    detail: str
    sample: builtins.bytes


@dataclass
class Rows:
    """`n` documents as columns, see `Documents`, beside what was left out.

    `lines` counts all lines of the block, `blank` those of white space only. `columns` [n] has the
    labels and, for pieces of documents, their numbers. `marks` uint64 [n]: what tells chats of
    equal text apart. `unread`: how many chats hold something of a kind that was not read.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    offset: NDArray[np.int64]
    bytes: NDArray[np.int64]
    columns: dict[str, pa.Array]
    spans: RoleSpans | None = None
    marks: NDArray[np.uint64] | None = None
    unread: Counter[str] = field(default_factory=Counter)
    bad: list[BadLine] = field(default_factory=list)
    lines: int = 0
    blank: int = 0


def label_paths(fields: Fields) -> dict[str, str]:
    """The label columns of the documents and the paths they are read from: id, then groups."""
    paths = {} if fields.id is None else {ID: fields.id}
    for path in fields.groups:
        if paths.get(path, path) != path:
            raise ConfigError(
                f"the field {path!r} cannot be a group: the name is taken by the id field "
                f"{fields.id!r}; make {path!r} the id field or group by another"
            )
        paths[path] = path
    return paths


def labels_of(row: Mapping[str, object], paths: Mapping[str, str]) -> list[str | None]:
    """Return the labels of a decoded row, in the order of `paths`."""
    return [label_of(row, path) for path in paths.values()]


class RowsBuilder:
    """Collects rows one by one, for readers that see one row at a time."""

    def __init__(self, fields: Fields) -> None:
        self.paths = label_paths(fields)
        self._roles = fields.template is not None
        self._texts: list[bytes] = []
        self._offset: list[int] = []
        self._bytes: list[int] = []
        self._labels: list[list[str | None]] = []
        self._spans: list[tuple[int, Span]] = []
        self._marks: list[bytes] = []
        self._unread: Counter[str] = Counter()
        self.bad: list[BadLine] = []
        self.lines = 0
        self.blank = 0

    def add(
        self,
        text: bytes,
        offset: int,
        size: int,
        labels: list[str | None],
        spans: Sequence[Span] | None = None,
        unread: Unread | None = None,
    ) -> None:
        """One document more."""
        if self._roles:
            self._marks.append(mark_of(spans or (), unread or {}))
            self._unread.update(list(unread or ()))
        self._spans += [(len(self._texts), span) for span in spans or ()]
        self._texts.append(text)
        self._offset.append(offset)
        self._bytes.append(size)
        self._labels.append(labels)

    def rows(self) -> Rows:
        """All rows added."""
        count = len(self._texts)
        sizes = np.fromiter((len(text) for text in self._texts), np.int64, count)
        ends = np.cumsum(sizes)
        spans = None
        if self._roles:
            places = [(row, start, end) for row, (start, end, _) in self._spans]
            table = np.array(places, np.int64).reshape(-1, 3)
            rows, starts, stops = (np.ascontiguousarray(table[:, i]) for i in range(3))
            spans = RoleSpans(rows, starts, stops, [role for _, (_, _, role) in self._spans])
        return Rows(
            data=np.frombuffer(b"".join(self._texts), np.uint8),
            starts=ends - sizes,
            ends=ends,
            offset=np.array(self._offset, np.int64),
            bytes=np.array(self._bytes, np.int64),
            columns={
                name: pa.array([labels[i] for labels in self._labels], pa.string())
                for i, name in enumerate(self.paths)
            },
            spans=spans,
            marks=uids_of(self._marks) if self._roles else None,
            unread=self._unread,
            bad=self.bad,
            lines=self.lines,
            blank=self.blank,
        )
