"""Steps after one another: what each sees, and what the table keeps of it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dataworth.methods.base import Targets, apply_steps, kept_by, survivors
from methods.fitting import docs


class Drop:
    """Drops texts that hold a letter."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    def annotate(self, documents) -> pa.RecordBatch:
        drop = [f"has {self.letter}" if self.letter in t else None for t in documents.texts()]
        return pa.RecordBatch.from_arrays([pa.array(drop, pa.string())], ["drop"])


class Size:
    """The number of bytes as a column."""

    def __init__(self, name: str) -> None:
        self.name = name

    def annotate(self, documents) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.array(documents.text_bytes)], [self.name])


TEXTS = ["a", "bb", "abc", "dd", "", "cd"]


def test_each_step_sees_what_those_before_it_left() -> None:
    steps = [Size("first"), Drop("a"), Size("second"), Drop("c"), Drop("b"), Size("third")]
    columns = apply_steps(steps, docs(TEXTS))
    assert columns["first"].to_pylist() == [1, 2, 3, 2, 0, 2]
    assert columns["second"].to_pylist() == [None, 2, None, 2, 0, 2]
    assert columns["third"].to_pylist() == [None, None, None, 2, 0, None]
    # The first reason, although "abc" has three.
    assert columns["drop"].to_pylist() == ["has a", "has b", "has a", None, None, "has c"]
    assert columns["drop"].type == pa.string()


def test_survivors() -> None:
    assert survivors(docs(TEXTS), [Drop("a"), Drop("c")]).texts() == ["bb", "dd", ""]
    assert survivors(docs(TEXTS), []).texts() == TEXTS
    assert kept_by(Size("x").annotate(docs(TEXTS))).all()
    assert kept_by(Drop("a").annotate(docs(TEXTS))).tolist() == [0, 1, 0, 1, 1, 1]


@pytest.mark.parametrize("texts", [[], TEXTS])
def test_nothing_to_do(texts: list[str]) -> None:
    assert apply_steps([], docs(texts))["drop"].to_pylist() == [None] * len(texts)
    columns = apply_steps([Drop("x"), Size("n")], docs(texts))
    assert columns["drop"].null_count == len(texts)
    assert len(columns["n"]) == len(texts)


def test_everything_dropped() -> None:
    columns = apply_steps([Drop("a"), Size("n"), Drop("b"), Size("m")], docs(["a", "ab"]))
    assert columns["n"].to_pylist() == [None, None] == columns["m"].to_pylist()
    assert columns["n"].type == pa.int64()
    assert columns["drop"].to_pylist() == ["has a", "has a"]


def test_names_of_targets_are_sorted() -> None:
    assert Targets({"b": docs([]), "a": docs([])}).names == ["a", "b"]
