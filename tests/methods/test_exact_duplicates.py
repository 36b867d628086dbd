"""Copies of a text: the first stays, and texts that merely share a uid stay apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.corpus import corpus as corpora
from dataworth.methods.exact_duplicates import ExactDuplicates
from methods.crossing import decide, kept


def test_the_first_copy_stays(tmp_path: Path) -> None:
    rows = decide(ExactDuplicates(), ["a b", "c", "a b", "A b", "a b", "c"], tmp_path)
    assert kept(rows) == [0, 1, 3]
    assert rows[2]["drop"] == "exact duplicate"
    assert rows[2]["cluster:exact_duplicates"] == rows[0]["uid"]


def test_texts_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where uids are no proof: all texts get one."""
    read = corpora.read

    def one_uid(*arguments: Any, **options: Any) -> Any:
        for block in read(*arguments, **options):
            uid = np.full(len(block.documents), 7, np.uint64)
            yield replace(block, documents=replace(block.documents, uid=uid))

    monkeypatch.setattr(corpora, "read", one_uid)
    texts = [f"text {number % 5}" for number in range(40)]
    assert len(kept(decide(ExactDuplicates(), texts, tmp_path))) == 5
