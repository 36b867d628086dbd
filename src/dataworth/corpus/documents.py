"""A batch of documents as columns: what every step reads.

The texts lie one after another, with gaps allowed, in one buffer of UTF-8 bytes, so that kernels
run over them without making Python objects, and dropping documents copies nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataworth.corpus.kernels.simd import BYTES, INTS, eager
from dataworth.corpus.uid import uids


@dataclass(frozen=True)
class Column:
    """A column of the documents table: its name, Arrow type, unit and the step that makes it.

    `even`: of a utility, the value of what is as like the pool as the target, if there is one.
    """

    name: str
    type: pa.DataType
    unit: str
    producer: str
    even: float | None = None


@dataclass(frozen=True)
class RoleSpans:
    """The speakers of flattened chats, as byte ranges of the text.

    `document`, `start`, `end`, `role` have one entry a span: the row of the batch, the byte range
    [start, end) relative to the document's own text, and the speaker ("system", "user",
    "assistant", or "prompt"/"completion" mapped onto "user"/"assistant").
    """

    document: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    role: Sequence[str]


@eager(f"void({BYTES}, {INTS}, {INTS}, {INTS}, uint8[::1])")
def _gather(data, starts, ends, to, out):  # type: ignore[no-untyped-def]
    # Unsigned indices: the compiler then sees plain copies and calls memcpy.
    for row in range(len(starts)):
        start = np.uint64(starts[row])
        at = np.uint64(to[row])
        for i in range(np.uint64(ends[row]) - start):
            out[at + i] = data[start + i]


@dataclass(frozen=True)
class Documents:
    """`n` documents: texts, identities and where their rows lie.

    `data` uint8 [any], text `i` is `data[starts[i]:ends[i]]`, valid UTF-8.
    `uid` uint64 [n]. `file` int32 [n], the index of the source file in its corpus.
    `offset`, `bytes` int64 [n]: the row's place in the uncompressed file, without line end
    (Parquet: the row's number in the file, and the text's bytes).
    `columns`: further columns of the rows, such as the id and group fields, by name.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    uid: NDArray[np.uint64]
    file: NDArray[np.int32]
    offset: NDArray[np.int64]
    bytes: NDArray[np.int64]
    columns: dict[str, pa.Array] = field(default_factory=dict)
    spans: RoleSpans | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def text_bytes(self) -> NDArray[np.int64]:
        """Length of each text in UTF-8 bytes, int64 [n]."""
        return self.ends - self.starts

    def text(self, row: int) -> str:
        """Return the text of one row."""
        return self.data[self.starts[row] : self.ends[row]].tobytes().decode("utf-8")

    def texts(self) -> list[str]:
        """All texts as Python strings: for small batches."""
        return [self.text(row) for row in range(len(self))]

    def arrow(self) -> pa.LargeStringArray:
        """Return the texts as one Arrow column; copies only when documents were dropped between."""
        one = self
        if len(self) and not np.array_equal(self.starts[1:], self.ends[:-1]):
            one = self.compact()
        offsets = np.append(one.starts, one.ends[-1:]) if len(one) else np.zeros(1, np.int64)
        return pa.LargeStringArray.from_buffers(
            len(one), pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(one.data)
        )

    def compact(self) -> Documents:
        """The same documents with their texts copied one behind another into a buffer of theirs."""
        sizes = self.text_bytes
        ends = np.cumsum(sizes)
        data = np.empty(int(ends[-1]) if len(self) else 0, np.uint8)
        _gather(self.data, self.starts, self.ends, ends - sizes, data)
        return replace(self, data=data, starts=ends - sizes, ends=ends)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Documents:
        """Some rows, by index or mask; the text buffer is shared. Role spans follow."""
        index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        spans = self.spans
        if spans is not None:
            place = np.full(len(self), -1, np.int64)
            place[index] = np.arange(len(index))
            kept = place[spans.document] >= 0
            spans = RoleSpans(
                place[spans.document[kept]],
                spans.start[kept],
                spans.end[kept],
                [role for role, keep in zip(spans.role, kept, strict=True) if keep],
            )
        return replace(
            self,
            starts=self.starts[index],
            ends=self.ends[index],
            uid=self.uid[index],
            file=self.file[index],
            offset=self.offset[index],
            bytes=self.bytes[index],
            columns={name: column.take(pa.array(index)) for name, column in self.columns.items()},
            spans=spans,
        )

    @staticmethod
    def from_texts(texts: Sequence[str]) -> Documents:
        """Documents from strings in memory: file 0, offset = position in the list."""
        encoded = [text.encode("utf-8") for text in texts]
        sizes = np.fromiter((len(item) for item in encoded), np.int64, len(encoded))
        ends = np.cumsum(sizes)
        data = np.frombuffer(b"".join(encoded), np.uint8)
        starts = ends - sizes
        return Documents(
            data=data,
            starts=starts,
            ends=ends,
            uid=uids(data, starts, ends),
            file=np.zeros(len(encoded), np.int32),
            offset=np.arange(len(encoded), dtype=np.int64),
            bytes=sizes,
        )

    @staticmethod
    def concatenate(batches: Sequence[Documents]) -> Documents:
        """One batch of several; copies the texts. Role spans are kept if all batches have them."""
        if len(batches) == 1:
            return batches[0]
        if not batches:
            return Documents.from_texts([])
        batches = [batch.compact() for batch in batches]
        bases = np.cumsum([0] + [len(batch.data) for batch in batches[:-1]])
        starts = [batch.starts + base for batch, base in zip(batches, bases, strict=True)]
        ends = [batch.ends + base for batch, base in zip(batches, bases, strict=True)]
        names = list(batches[0].columns)
        spans = None
        if all(batch.spans is not None for batch in batches):
            firsts = np.cumsum([0] + [len(batch) for batch in batches[:-1]])
            parts = [batch.spans for batch in batches if batch.spans is not None]
            spans = RoleSpans(
                np.concatenate([p.document + f for p, f in zip(parts, firsts, strict=True)]),
                np.concatenate([p.start for p in parts]),
                np.concatenate([p.end for p in parts]),
                [role for p in parts for role in p.role],
            )
        return Documents(
            data=np.concatenate([batch.data for batch in batches]),
            starts=np.concatenate(starts),
            ends=np.concatenate(ends),
            uid=np.concatenate([batch.uid for batch in batches]),
            file=np.concatenate([batch.file for batch in batches]),
            offset=np.concatenate([batch.offset for batch in batches]),
            bytes=np.concatenate([batch.bytes for batch in batches]),
            columns={
                name: pa.concat_arrays([batch.columns[name] for batch in batches]) for name in names
            },
            spans=spans,
        )
