"""Splitting files into units."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataworth.corpus.read.sources import SourceFile, resolve
from dataworth.corpus.units import TARGET_BYTES, Unit, split
from dataworth.errors import InputError


def plain(size: int, name: str = "/pool/a.jsonl") -> SourceFile:
    return SourceFile(name, "jsonl", None, size, None)


@given(st.lists(st.integers(0, 10_000), max_size=5), st.integers(1, 3_000))
def test_plain_files_are_covered_without_gap_or_overlap(sizes: list[int], target: int) -> None:
    files = [plain(size, f"/pool/{number}.jsonl") for number, size in enumerate(sizes)]
    units = split(files, target)
    assert [unit.index for unit in units] == list(range(len(units)))
    for number, file in enumerate(files):
        own = [unit for unit in units if unit.file_index == number]
        assert all(unit.file is file for unit in own)
        edges = [unit.start for unit in own] + [file.size]
        assert edges[0] == 0
        assert [unit.end for unit in own] == edges[1:]
        lengths = [unit.end - unit.start for unit in own]
        if lengths:
            assert max(lengths) <= max(target, -(-sum(sizes) // 4096))
            assert max(lengths) - min(lengths) <= 1


def test_target_size() -> None:
    assert len(split([plain(TARGET_BYTES)])) == 1
    assert len(split([plain(TARGET_BYTES + 1)])) == 2
    assert len(split([plain(10**12)])) == 4096
    assert len(split([plain(10**12 // 1000, f"/{i}.jsonl") for i in range(1000)])) <= 5096


def test_whole_files(tmp_path: Path) -> None:
    gz = SourceFile("/a.jsonl.gz", "jsonl", "gz", 10**9, None)
    zst = SourceFile("/a.jsonl.zst", "jsonl", "zst", 10**9, None)
    txt = SourceFile("/a.txt", "txt", None, 10**9, None)
    assert [(u.start, u.end) for u in split([gz, zst, txt])] == [(0, 10**9)] * 3
    assert len(split([txt], txt="line")) == 60
    assert split([plain(0), SourceFile("/b.txt", "txt", None, 0, None)]) == []


def test_parquet_is_split_at_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"{number:0100d}" for number in range(1_000)]})
    pq.write_table(table, path, row_group_size=100, compression="none", use_dictionary=False)
    files = resolve(path, spool=None)
    assert [(u.start, u.end) for u in split(files)] == [(0, 1_000)]
    units = split(files, target_bytes=path.stat().st_size // 4)
    assert [u.start for u in units][1:] == [u.end for u in units][:-1]
    assert units[0].start == 0
    assert units[-1].end == 1_000
    assert all(unit.start % 100 == 0 for unit in units)
    assert 3 <= len(units) <= 5
    assert len(split(files, target_bytes=1)) == 10
    assert units[0] == Unit(0, files[0], 0, 0, units[0].end)


def test_parquet_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    assert split(resolve(path, spool=None)) == []


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_damaged_parquet_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"text": ["a"] * 100}), path)
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "other": b"{}" * 50, "empty": b""}[damage])
    with pytest.raises(InputError, match=r"bad\.parquet: is (not a whole Parquet file|JSON lines)"):
        split(resolve(path, spool=None))


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    gone = SourceFile(str(tmp_path / "gone.parquet"), "parquet", None, 10, None)
    with pytest.raises(InputError, match=r"gone\.parquet: no such file"):
        split([gone])
