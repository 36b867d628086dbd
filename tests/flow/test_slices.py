"""A slow step that is killed inside a unit: what it had computed is kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

import dataworth
from dataworth.corpus.documents import Column
from dataworth.errors import RunError
from dataworth.flow import annotating
from dataworth.methods.base import Batch, Score, State

ROWS = [{"text": f"document {i} " + "word " * (i % 7), "group": f"g{i % 3}"} for i in range(60)]


class KilledError(BaseException):
    """What nothing catches."""


@dataclass(frozen=True)
class Slow(Score):
    """Counts letters, and tells which texts it was asked about."""

    name: ClassVar[str] = "slow"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = False
    mechanism: ClassVar[str] = "top_k"
    reasons: ClassVar[tuple[str, ...]] = ("number 7",)
    unit = "letters"
    slow: ClassVar[bool] = True
    asked: ClassVar[list[str]] = []
    most: ClassVar[int] = 10**9

    def utilities(self, batch: Batch, state: State) -> NDArray[np.float64]:
        texts = batch.documents.texts()
        if len(self.asked) + len(texts) > self.most:
            raise KilledError
        self.asked.extend(texts)
        values = [np.nan if text.startswith("document 7 ") else len(text) for text in texts]
        return np.array(values, np.float64)[:, None]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(annotating, "_SLICE", 0.0)
    monkeypatch.setattr(annotating, "AT_ONCE", 100)
    monkeypatch.setattr(Slow, "asked", [])
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def table(scores: Any) -> Any:
    return scores.to_arrow().sort_by("offset").to_pydict()


@pytest.mark.parametrize("most", [1, 10, 31, 59])
def test_at_most_a_slice_again(
    pool: Path, tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"steps": [Slow(), "length(minimum=1)"], "group_by": "group"}
    whole = table(dataworth.score(pool, out=tmp_path / "whole", engine=1, **options))
    Slow.asked.clear()
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(Slow, "most", most)
        dataworth.score(pool, out=tmp_path / "out", engine=1, **options)
    again = dataworth.score(pool, out=tmp_path / "out", engine=1, **options)
    # The sample is asked about too, where a later step reads it; no text of the pass comes twice.
    assert len(Slow.asked) == len(ROWS)
    assert table(again) == whole
    assert whole["drop"].count("number 7") == 1


@dataclass(frozen=True)
class Wide(Slow):
    """Beside the letters, a vector of them; asked about 50 bytes at a time, noting threads."""

    threads: ClassVar[set[str]] = set()
    sizes: ClassVar[list[int]] = []

    def piece(self, state: State) -> int:
        return 50

    def columns(self, targets: Sequence[str]) -> tuple[Column, ...]:
        vectors = Column("embedding:slow", pa.list_(pa.float16(), 3), "letters", self.name)
        return (*super().columns(targets), vectors)

    def annotate(self, batch: Batch, state: State) -> dict[str, Any]:
        time.sleep(0.001)
        self.threads.add(threading.current_thread().name)
        self.sizes.append(int(batch.documents.text_bytes.sum()))
        sizes = batch.documents.text_bytes.astype(np.float16)
        vectors = np.stack([sizes, 2 * sizes, 3 * sizes], 1)
        return {**super().annotate(batch, state), "embedding:slow": vectors}


def test_several_workers_on_one_part(pool: Path, tmp_path: Path) -> None:
    """What they compute is written in its order: the columns are the same, byte for byte."""
    options: dict[str, Any] = {"steps": [Wide(), "length(minimum=1)"]}
    alone = dataworth.score(pool, out=tmp_path / "one", engine=1, **options)
    assert len(Wide.threads) == 1 and max(Wide.sizes) < 120
    Wide.threads.clear()
    shared = dataworth.score(pool, out=tmp_path / "four", engine=4, **options)
    assert len(Wide.threads) > 1
    assert table(shared) == table(alone)
    sizes = alone.table.column("text_bytes")
    expected = np.stack([sizes, 2 * sizes, 3 * sizes], 1).astype(np.float32)
    for size in (1, 7, 25, 0):
        firsts, blocks = zip(*shared.table.blocks("embedding:slow", size), strict=True)
        assert firsts == tuple(range(0, len(sizes), size or len(sizes)))
        np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_a_file_that_changed_between_the_slices(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(Slow, "most", 20)
        dataworth.score(pool, steps=[Slow()], out=tmp_path / "out", engine=1)
    pool.write_bytes(pool.read_bytes().replace(b"document 3", b"document Z"))
    with pytest.raises(RunError):
        dataworth.score(pool, steps=[Slow()], out=tmp_path / "out", engine=1)
