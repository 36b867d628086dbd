"""What was trained on before is left out: the same texts, and not others that share a uid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import dataworth
from dataworth.flow.exclusion import Excluded
from flow.pools import write

ROWS = [json.dumps({"text": f"row {i} " + "word " * (i % 5)}).encode() for i in range(40)]


def among(excluded: Excluded, uid: list[int], check: list[int]) -> list[bool]:
    second = np.array(check, np.uint64)
    return excluded.among(np.array(uid, np.uint64), lambda rows: second[rows]).tolist()


def test_both_hashes_of_a_text_count_where_both_are_known() -> None:
    pairs = np.array([[1, 10], [1, 11], [5, 50]], np.uint64)
    excluded = Excluded(pairs, np.array([7], np.uint64))
    assert among(excluded, [1, 1, 1, 5, 7, 9], [10, 11, 12, 10, 0, 50]) == [
        *(True, True, False, False),
        *(True, False),
    ]
    assert among(Excluded(), [1, 2], [1, 2]) == [False, False]
    assert len(excluded) == 4 and not len(Excluded())
    assert excluded.digest != Excluded(pairs).digest


def test_a_text_that_only_shares_its_uid_is_not_excluded(tmp_path: Path) -> None:
    pool = write(tmp_path / "pool.jsonl", ROWS)
    scores = dataworth.score(pool, steps=["length"], out=tmp_path / "out", engine=1)
    first = scores.choose("20-docs", mechanism="random")
    rows = first.folder / "rows.parquet"
    table = pq.read_table(rows)
    check = np.asarray(table["check"]).copy()
    check[:5] += np.uint64(1)
    place = table.schema.get_field_index("check")
    pq.write_table(table.set_column(place, "check", [check]), rows)
    rest = scores.choose("100%", mechanism="random", exclude=first.folder)
    assert len(rest) == 25
    assert set(table["uid"].to_pylist()[:5]) <= set(rest.table["uid"].to_pylist())


@pytest.mark.parametrize("known", [True, False])
def test_a_selection_is_excluded_with_or_without_second_hashes(tmp_path: Path, known: bool) -> None:
    pool = write(tmp_path / "pool.jsonl", ROWS)
    scores = dataworth.score(pool, steps=["length"], out=tmp_path / "out", engine=1)
    first = scores.choose("20-docs", mechanism="random")
    if not known:
        rows = first.folder / "rows.parquet"
        pq.write_table(pq.read_table(rows).drop_columns(["check"]), rows)
    rest = scores.choose("100%", mechanism="random", exclude=[first.folder])
    both = first.table["uid"].to_pylist() + rest.table["uid"].to_pylist()
    assert len(both) == len(set(both)) == 40


def test_data_is_excluded_by_its_texts(tmp_path: Path) -> None:
    pool = write(tmp_path / "pool.jsonl", ROWS)
    before = write(tmp_path / "before.jsonl", ROWS[:15])
    assert len(dataworth.select(pool, budget="100%", steps=["length"], exclude=before)) == 25
