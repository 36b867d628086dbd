"""Exact substrings: the share of a document that stands in another one before, byte by byte.

Lee, Ippolito, Nystrom, Zhang, Eck, Callison-Burch and Carlini, "Deduplicating Training Data Makes
Language Models Better", ACL 2022, arXiv 2107.06499 (remembered from a specification): whatever is
at least 50 tokens long and occurs twice in the corpus goes, all but one occurrence, by a suffix
array in memory. Here the same substrings are found out of core (`features/substrings.py`), at least
`size` bytes long, and documents go by the share of their bytes that such substrings cover: texts
are kept or dropped whole. What stays of the published cut are the spans, as a column.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Column
from dataworth.corpus.units import Unit
from dataworth.engine.grouping import Groups
from dataworth.engine.local import Tick
from dataworth.engine.regroup import Regrouped, regroup
from dataworth.engine.shuffle import Keyed
from dataworth.features.substrings import anchors_of, joined_spans, whole_characters, windows_of
from dataworth.methods.base import Batch, Pool, State, Targets, drop_column, survivors
from dataworth.methods.fitted import Fitted
from dataworth.options import option
from dataworth.registry import register
from dataworth.table.keys import key_of

_AT_ONCE = 1 << 18  # windows whose hashes are in memory together
MEETS, START, CHECK = "meets", "start", "check"


@register
@dataclass(frozen=True)
class ExactSubstrings:
    """Drop documents most of whose bytes stand, in long pieces, in the documents before them.

    Columns: `share`, of a document's bytes, and `spans`, in bytes of its text in UTF-8: start, end,
    start, end and so on. A piece counts where the same bytes are in a document that comes before,
    or earlier in its own. Copies of one text count as one document: drop them before.
    """

    name: ClassVar[str] = "exact_substrings"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    reasons: ClassVar[tuple[str, ...]] = ("repeats other documents",)
    size: int = option(
        200,
        help="Bytes of the shortest piece that counts; 50 tokens of the paper are about 200 bytes "
        "of English.",
        minimum=4,
    )
    share: float = option(
        0.5,
        help="A document goes with a larger share of such bytes; 1: none goes.",
        minimum=0,
        maximum=1,
    )
    survives: Literal["longest", "shortest", "first"] = option(
        "longest",
        help='Which document comes before others: that of most bytes, of fewest, or ("first") of '
        "the least uid, which is chance; ties go to the least uid.",
    )

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        """Return `drop`, the share, and the spans."""
        spans = Column(f"spans:{self.name}", pa.list_(pa.int64()), "bytes of the text", self.name)
        share = Column(f"share:{self.name}", pa.float32(), "share of bytes", self.name)
        return (drop_column(self.name), share, spans)

    def fit(self, pool: Pool, targets: Targets) -> dict[str, Any]:
        """Find the spans: `uid` [d] of documents that have some, `ends` [d + 1], `spans` [s, 2]."""
        corpus, before = pool.corpus, tuple(pool.before)
        made = [pool.seed, *(f"{one.folder}-{one.digest}" for one in before)]
        key = key_of({**asdict(self), "after": made})
        with tempfile.TemporaryDirectory() as temporary:
            scratch = Path(temporary) if pool.folder is None else pool.folder / "work"
            scratch = scratch / f"{self.name}-{key}"
            options: dict[str, Any] = {"progress": pool.progress, "name": self.name}
            work = _Anchors(corpus, before, self.size, self.survives)
            met = regroup(corpus.units, work, _meeting, scratch / "anchors", pool.engine, **options)
            work = _Anchors(corpus, before, self.size, self.survives, met)
            found = regroup(
                corpus.units, work, _earlier, scratch / "windows", pool.engine, known=met, **options
            )
            parts = [_spans(found, unit.index, self.size) for unit in corpus.units]
            shutil.rmtree(scratch, ignore_errors=True)
        owner = np.concatenate([np.empty(0, np.uint64), *(part[0] for part in parts)])
        spans = np.concatenate([np.empty((0, 2), np.int64), *(part[1] for part in parts)])
        owner, spans = joined_spans(owner, spans[:, 0], spans[:, 1])
        uid, first = np.unique(owner, return_index=True)
        return {"uid": uid, "ends": np.append(first, len(owner)), "spans": spans}

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        """Return `drop`, the share and the spans; of a document that has none, or no text, 0."""
        documents, uid = batch.documents, state["uid"]
        place = np.minimum(np.searchsorted(uid, documents.uid), max(len(uid) - 1, 0))
        rows = np.flatnonzero(uid[place] == documents.uid) if len(uid) else place[:0]
        low, count = state["ends"][place[rows]], np.diff(state["ends"])[place[rows]]
        row = np.repeat(rows, count)
        inside = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        spans = whole_characters(documents, row, state["spans"][np.repeat(low, count) + inside])
        whole = spans[:, 0] < spans[:, 1]
        row, spans = row[whole], spans[whole]
        covered = np.bincount(row, spans[:, 1] - spans[:, 0], len(batch))
        share = (covered / np.maximum(documents.text_bytes, 1)).astype(np.float32)
        ends = np.append(0, np.cumsum(2 * np.bincount(row, minlength=len(batch))))
        lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(spans.reshape(-1)))
        drop = (share > np.float32(self.share)).astype(np.uint8)
        names = [column.name for column in self.columns(())]
        return dict(zip(names, (drop, share, lists), strict=True))


@dataclass(frozen=True)
class _Anchors:
    """Unit → its anchors under their hashes; once it is known which meet, their windows."""

    corpus: Corpus
    before: tuple[Fitted, ...]
    size: int
    survives: str
    met: Regrouped | None = None

    def __call__(self, unit: Unit, tick: Tick) -> Iterator[Keyed]:
        self.corpus.check_unchanged([unit.file_index])
        meets = np.empty(0, np.bool_)
        if self.met is not None:
            known = self.met.columns(unit.index).get(MEETS)
            rows = int(np.diff(self.met.firsts)[unit.index])
            meets = np.zeros(rows, np.bool_) if known is None else np.asarray(known.is_valid())
        rows = 0
        for block in self.corpus.blocks(unit):
            documents = survivors(block.documents, self.before)
            anchors = anchors_of(documents, self.size)
            owner = rows + np.arange(len(anchors))
            rows += len(anchors)
            if self.met is None:
                sign = {"longest": -1.0, "shortest": 1.0, "first": 0.0}[self.survives]
                rank = (sign * documents.text_bytes[anchors.document]).astype(np.float64)
                uid = documents.uid[anchors.document]
                yield Keyed(owner, anchors.key[:, None], uid, rank, rows)
            else:
                wanted = np.flatnonzero(meets[owner])
                chunk = np.cumsum(anchors.count[wanted]) // _AT_ONCE
                for some in np.split(wanted, np.flatnonzero(np.diff(chunk)) + 1):
                    anchor, start, key, check = windows_of(documents, anchors.take(some), self.size)
                    none = np.broadcast_to(0, len(anchor))  # uid and rank are known
                    carried = {START: pa.array(start), CHECK: pa.array(check)}
                    keys = np.maximum(key, np.uint64(1))[:, None]
                    at = owner[some][anchor]
                    yield Keyed(at, keys, none.astype(np.uint64), none, rows, carried)
            tick(len(block.documents), block.raw_bytes)


def _meeting(groups: Groups) -> dict[str, pa.Array]:
    """Say of every anchor that meets another that it does."""
    return {MEETS: pa.array(np.ones(len(groups.row), np.bool_))}


def _earlier(groups: Groups) -> dict[str, pa.Array]:
    """Return where a window begins, null for the first of equal ones and of copies of its text."""
    start, check = (groups.carried[name].to_numpy() for name in (START, CHECK))
    first = np.repeat(groups.starts[:-1], groups.sizes)
    again = (groups.uid != groups.uid[first]) | (start != start[first])
    return {START: pa.array(start, mask=~(again & (check == check[first])))}


def _spans(found: Regrouped, unit: int, size: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return whose spans the windows of a unit cover, by uid, and the spans."""
    rows, columns = found.answers(unit)
    wanted = np.flatnonzero(columns[START].is_valid()) if START in columns else rows[:0]
    start = pc.take(columns[START], pa.array(wanted)).to_numpy() if START in columns else rows[:0]
    owner = found.rows.uid[int(found.firsts[unit]) + rows[wanted]]
    return joined_spans(owner, start, start + size)
