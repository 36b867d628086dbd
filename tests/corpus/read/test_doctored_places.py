"""Places of rows that no reader wrote are refused before anything is read by them."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from dataworth.corpus.read.places import read_places
from dataworth.engine.files import read_json
from dataworth.errors import DataworthError, InputError

HUGE = 2**63 - 1


@pytest.mark.parametrize(
    ("offsets", "sizes"),
    [
        ([-1, 5], [3, 3]),
        ([0, 5], [-3, 3]),
        ([0, HUGE], [3, 3]),
        ([5, 0], [3, 3]),
        ([0, 5], [20, 3]),
        ([0, 5], [6, 6]),
        ([0, 5], [3]),
        ([0.0, float("nan")], [3, 3]),
    ],
)
def test_impossible_places_are_refused(offsets: list[Any], sizes: list[int]) -> None:
    unit = cast(Any, SimpleNamespace(file=SimpleNamespace(path="pool.jsonl", compression=None)))
    with pytest.raises(InputError, match=r"pool.jsonl: .*--overwrite"):
        list(read_places(unit, np.array(offsets), np.array(sizes), block_bytes=100))


def test_deep_json_is_one_line(tmp_path: Any) -> None:
    path = tmp_path / "run.json"
    path.write_text("[" * 200_000)
    with pytest.raises(DataworthError, match=r"run\.json"):
        read_json(path)
