"""The data that other tests stand on are what their README says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from testdata import read_rows


def test_pool_has_its_files(pool_files: list[Path]) -> None:
    assert len(pool_files) == 20
    assert sum(1 for path in pool_files if path.name.endswith(".zst")) == 17


def test_small_pool_mixes_all_domains(small_pool: Path) -> None:
    rows = list(read_rows(small_pool))
    domains = Counter(row["domain"] for row in rows)
    assert 2_950 < len(rows) < 3_100
    assert len(domains) == 20 and min(domains.values()) >= 20
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["domain"] for row in rows[:100]}) > 10


def test_targets_are_found(target_file) -> None:
    for name in ("wiki_books", "code", "math", "biomed", "dialogue", "legal"):
        for part in ("target", "val"):
            assert next(read_rows(target_file(name, part)))["text"]
