"""What a run leaves is on the disk before it has its name: a power cut loses no finished file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import dataworth
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.flow.features import feature_column

TARGET = [f"a number of documents plus {i} words" for i in range(20)]


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The inodes of all files and folders that were handed to the disk."""
    seen: set[int] = set()
    flush = os.fsync

    def noting(descriptor: int) -> None:
        seen.add(os.fstat(descriptor).st_ino)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return seen


def unflushed(folder: Path, flushed: set[int]) -> list[str]:
    found = [path for path in folder.rglob("*") if path.name != ".lock"]
    # A folder that holds folders alone is made anew if it is missing.
    found = [p for p in found if p.is_file() or any(q.is_file() for q in p.iterdir())]
    return [str(path.relative_to(folder)) for path in found if path.stat().st_ino not in flushed]


@pytest.mark.parametrize("form", ["jsonl.zst", "parquet"])
def test_a_run_is_on_the_disk(form: str, tmp_path: Path, flushed: set[int]) -> None:
    rows = [{"text": f"number {i} of the documents, plus words"} for i in range(50)]
    out = tmp_path / "out"
    chosen = dataworth.select(rows, {"t": TARGET}, "20-docs", out=out, engine=1, format=form)
    chosen.report(out / "again.html")
    assert unflushed(out, flushed) == []


class Sizes:
    """A feature: bytes of the text."""

    name, dimension, dtype, columns, settings = "sizes", 1, "float64", ("bytes",), {"scale": 1}

    def values(self, documents: Documents) -> np.ndarray:
        return documents.text_bytes[:, None].astype(np.float64)


def test_a_feature_is_on_the_disk(tmp_path: Path, flushed: set[int]) -> None:
    corpus = Corpus.open([{"text": "one"}, {"text": "two"}], spool=tmp_path / "spool")
    feature_column(corpus, Sizes(), tmp_path / "run")
    assert unflushed(tmp_path, flushed) == []
