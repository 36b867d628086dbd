"""Selections are those of before: same documents, same counts, same utilities.

Where one of these changes on purpose, `python -m tests.golden.write` writes them anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from golden.selections import FILE, Slice, names, select

KNOWN: Mapping[str, Any] = json.loads(FILE.read_text())
# Exact on one machine; on others, sums of a model's numbers come in another order.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def part(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Slice:
    return Slice(data, tmp_path_factory.mktemp("golden"))


def test_all_are_known() -> None:
    assert set(names()) == set(KNOWN)


@pytest.mark.parametrize("name", sorted(set(names()) & set(KNOWN)))
def test_as_before(name: str, part: Slice) -> None:
    found, expected = select(name, part), KNOWN[name]
    for fact in ("documents", "tokens", "digest"):
        assert found[fact] == expected[fact], fact
    assert found["utilities"].keys() == expected["utilities"].keys()
    for column, values in expected["utilities"].items():
        # Values near 0 are as exact as the others, not more.
        margin = TOLERANCE * max(abs(values["mean"]), values["deviation"])
        assert found["utilities"][column].keys() == values.keys()
        for key, value in values.items():
            other = found["utilities"][column][key]
            assert other == value or abs(other - value) <= margin, (column, key)
