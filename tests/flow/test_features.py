"""Features as columns of the documents table: alignment, resuming, refusal, and reading back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.uid import uid_of
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError, DataworthError, RunError
from dataworth.features.feature import FeatureColumn
from dataworth.flow.features import feature_column


@dataclass(frozen=True)
class Sizes:
    """A feature that counts its calls: bytes of the text, their square root, and an option."""

    scale: float = 1.0
    dtype: str = "float64"
    columns: tuple[str, ...] = ()
    fail_at: int = -1
    calls: list[int] = field(default_factory=list, compare=False)

    name = "sizes"
    dimension = 2

    @property
    def settings(self) -> dict[str, Any]:
        return {"scale": self.scale}

    def values(self, documents: Documents) -> np.ndarray:
        if self.fail_at >= 0 and sum(self.calls) >= self.fail_at:
            raise ValueError("stopped on purpose")
        self.calls.append(len(documents))
        sizes = documents.text_bytes * self.scale
        return np.stack([sizes, np.sqrt(sizes)], axis=1)


TEXTS = [[f"{'x' * (7 * n % 50 + 1)} {f}.{n}" for n in range(20 + 5 * f)] for f in range(3)]
EVERYTHING = [text for part in TEXTS for text in part]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    folder.mkdir()
    for number, part in enumerate(TEXTS):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in part)
        (folder / f"{number}.jsonl").write_text(lines)
    return folder


def check(column: FeatureColumn) -> None:
    """All rows, in the order of the files, beside the right uid."""
    sizes = np.array([len(text) for text in EVERYTHING], np.float32)
    assert len(column) == len(EVERYTHING) and column.dimension == 2
    np.testing.assert_array_equal(column.uid, [uid_of(text) for text in EVERYTHING])
    np.testing.assert_array_equal(column.matrix(), np.stack([sizes, np.sqrt(sizes)], 1))


def test_rows_lie_beside_the_documents(tmp_path: Path, pool: Path) -> None:
    column = feature_column(Corpus.open(pool), Sizes(), tmp_path / "s", Engine(2))
    check(column)
    whole = column.matrix()
    some = np.random.default_rng(0).integers(0, len(column), 200)
    np.testing.assert_array_equal(column.rows(some), whole[some])
    np.testing.assert_array_equal(column.find(column.uid[some]), some)
    assert column.rows(np.empty(0, np.int64)).shape == (0, 2)
    for size in (1, 7, 10_000):
        firsts, blocks = zip(*column.blocks(size), strict=True)
        assert all(len(block) <= size for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), whole)
        assert list(firsts) == np.cumsum([0] + [len(b) for b in blocks[:-1]]).tolist()
    for wrong in (-1, len(column)):
        with pytest.raises(IndexError, match="0 … 74"):
            column.rows(np.array([wrong]))
    with pytest.raises(KeyError, match="1 documents are not in"):
        column.find(np.array([column.uid[0], 12345], np.uint64))


def test_named_numbers_are_columns_of_their_own(tmp_path: Path, pool: Path) -> None:
    feature = Sizes(columns=("bytes", "root"))
    column = feature_column(Corpus.open(pool), feature, tmp_path / "s")
    sizes = column.table.column("text_bytes")
    np.testing.assert_array_equal(column.column("bytes"), sizes)
    np.testing.assert_array_equal(column.column("root"), np.sqrt(sizes))
    assert column.column("root").dtype == np.float64


def test_what_is_there_is_not_computed_again(tmp_path: Path, pool: Path) -> None:
    """Nor are the documents read again for another feature, a selection beside it, or ids."""
    feature = Sizes()
    feature_column(Corpus.open(pool), feature, tmp_path / "s")
    assert sum(feature.calls) == len(EVERYTHING)
    before = {path: path.read_bytes() for path in (tmp_path / "s" / "table").rglob("*.parquet")}
    again = Sizes()
    grouped = Fields(id="name", groups=("domain",))  # beside the text: they change no number
    check(feature_column(Corpus.open(pool, fields=grouped), again, tmp_path / "s"))
    assert again.calls == []
    double = feature_column(Corpus.open(pool), Sizes(scale=2.0), tmp_path / "s")
    assert double.matrix()[0, 0] == 2 * len(EVERYTHING[0])
    dataworth.score(pool, steps=["length"], out=tmp_path / "s", engine=1)
    assert len(list((tmp_path / "s" / "table").glob("documents-*"))) == 1
    assert all(path.read_bytes() == content for path, content in before.items())
    last = Sizes()
    check(feature_column(Corpus.open(pool), last, tmp_path / "s"))
    assert last.calls == [] and len(dataworth.load(tmp_path / "s").table) == len(EVERYTHING)


def test_a_killed_build_goes_on(tmp_path: Path, pool: Path) -> None:
    with pytest.raises(ValueError, match="on purpose"):
        feature_column(Corpus.open(pool), Sizes(fail_at=0), tmp_path / "s", Engine(1))
    check(feature_column(Corpus.open(pool), Sizes(), tmp_path / "s", Engine(1)))


def test_other_documents_are_refused_by_name(tmp_path: Path, pool: Path) -> None:
    feature_column(Corpus.open(pool), Sizes(), tmp_path / "s")
    with pytest.raises(RunError, match=r"text.*body"):
        feature_column(Corpus.open(pool, fields=Fields(text=("body",))), Sizes(), tmp_path / "s")
    (pool / "1.jsonl").write_text('{"text": "another"}\n')
    with pytest.raises(RunError, match=r"1\.jsonl: changed \(.*size"):
        feature_column(Corpus.open(pool), Sizes(), tmp_path / "s")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no run"):
        feature_column(Corpus.open(pool), Sizes(), tmp_path / "mine")


def test_equal_texts_and_nothing_at_all(tmp_path: Path) -> None:
    twice = tmp_path / "twice.jsonl"
    twice.write_text("".join(json.dumps({"text": text}) + "\n" for text in "abacb"))
    column = feature_column(Corpus.open(twice), Sizes(), tmp_path / "s")
    np.testing.assert_array_equal(column.find(column.uid), [0, 1, 0, 3, 1])
    blank = tmp_path / "blank.jsonl"
    blank.write_text("\n\n")
    for _ in range(2):
        column = feature_column(Corpus.open(blank), Sizes(), tmp_path / "t")
        assert column.matrix().shape == (0, 2) and list(column.blocks()) == []
        assert len(column.uid) == 0 and len(column.find(np.empty(0, np.uint64))) == 0


def test_bad_lines_are_told(tmp_path: Path, pool: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (pool / "0.jsonl").open("a") as file:
        file.write('{"text": \n')
    check(feature_column(Corpus.open(pool), Sizes(), tmp_path / "s"))
    assert "1 bad lines are no documents" in caplog.text


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 70_000.0])
def test_what_is_not_finite_is_no_number(tmp_path: Path, bad: float) -> None:
    class Wrong(Sizes):
        def values(self, documents: Documents) -> np.ndarray:
            found = super().values(documents)
            found[documents.texts().index("bb"), 1] = bad
            return found

    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "a"}\n{"text": "bb"}\n')
    said = f"sizes is not finite as float16 for the document {uid_of('bb'):016x};"
    with pytest.raises(DataworthError, match=said):
        feature_column(Corpus.open(path), Wrong(), tmp_path / "s", dtype="float16")


def test_wrong_shapes_and_types(tmp_path: Path, pool: Path) -> None:
    class Narrow(Sizes):
        def values(self, documents: Documents) -> np.ndarray:
            return np.zeros((len(documents), 1))

    with pytest.raises(DataworthError, match=r"gave \(\d+, 1\)"):
        feature_column(Corpus.open(pool), Narrow(), tmp_path / "s")
    with pytest.raises(ConfigError, match="dtype must be"):
        feature_column(Corpus.open(pool), Sizes(), tmp_path / "t", dtype="int8")
