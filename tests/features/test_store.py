"""Stores: alignment with the corpus, resuming, refusal, and reading back."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.uid import uid_of
from dataworth.engine.files import read_json
from dataworth.engine.local import Engine
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, DataworthError, RunError
from dataworth.features import store as stores
from dataworth.features.store import Store, build, fingerprint, open_store


@dataclass(frozen=True)
class Sizes:
    """A feature that counts its calls: bytes of the text, their square root, and an option."""

    scale: float = 1.0
    dtype: str = "float64"
    fail_at: int = -1
    calls: list[int] = field(default_factory=list, compare=False)

    name = "sizes"
    dimension = 2
    columns = ("bytes", "root")

    @property
    def settings(self) -> dict[str, Any]:
        return {"scale": self.scale}

    def values(self, documents: Documents) -> np.ndarray:
        if self.fail_at >= 0 and sum(self.calls) >= self.fail_at:
            raise ValueError("stopped on purpose")
        self.calls.append(len(documents))
        sizes = documents.text_bytes * self.scale
        return np.stack([sizes, np.sqrt(sizes)], axis=1)


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    return path


@pytest.fixture
def texts() -> list[list[str]]:
    return [[f"{'x' * (7 * n % 50 + 1)} {f}.{n}" for n in range(20 + 5 * f)] for f in range(3)]


@pytest.fixture
def pool(tmp_path: Path, texts: list[list[str]]) -> Path:
    folder = tmp_path / "pool"
    folder.mkdir()
    for number, part in enumerate(texts):
        write(folder / f"{number}.jsonl", part)
    return folder


def check(store: Store, texts: list[list[str]]) -> None:
    """All rows, in the order of the files, beside the right uid."""
    everything = [text for part in texts for text in part]
    sizes = np.array([len(text) for text in everything], float)
    assert len(store) == len(everything)
    np.testing.assert_array_equal(store.uid, [uid_of(text) for text in everything])
    np.testing.assert_array_equal(store.matrix(), np.stack([sizes, np.sqrt(sizes)], 1))


def test_rows_lie_beside_the_corpus(tmp_path: Path, pool: Path, texts: list[list[str]]) -> None:
    corpus = Corpus.open(pool)
    store = build(corpus, Sizes(), tmp_path / "s", Engine(2))
    check(store, texts)
    read = Documents.concatenate(
        [b.documents for unit in corpus.units for b in corpus.blocks(unit)]
    )
    np.testing.assert_array_equal(store.uid, read.uid)
    np.testing.assert_array_equal(store.column("bytes"), read.text_bytes)
    assert [len(part) for part in texts] == np.diff(store.firsts).tolist()
    with pytest.raises(KeyError, match="no column 'tokens'"):
        store.column("tokens")


def test_plain_files_that_numpy_reads(tmp_path: Path, pool: Path, texts: list[list[str]]) -> None:
    build(Corpus.open(pool), Sizes(), tmp_path / "s")
    part = np.load(tmp_path / "s" / "00001.npy", allow_pickle=False)
    assert part.shape == (len(texts[1]), 2) and part.dtype == np.float64
    assert np.load(tmp_path / "s" / "00001.uid.npy").dtype == np.uint64
    record = read_json(tmp_path / "s" / "store.json")
    assert record["feature"] == "sizes" and record["settings"] == {"scale": 1.0}
    assert len(record["inputs"]) == 3 and record["units"] == 3
    assert not (tmp_path / "s" / "work").exists()


def test_a_second_build_reads_nothing(tmp_path: Path, pool: Path) -> None:
    first = Sizes()
    build(Corpus.open(pool), first, tmp_path / "s")
    assert sum(first.calls) == 20 + 25 + 30
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*.npy")}
    again, progress = Sizes(), Progress()
    grouped = Fields(id="name", groups=("domain",))  # beside the text: they change no number
    build(Corpus.open(pool, fields=grouped), again, tmp_path / "s", progress=progress)
    assert again.calls == [] and progress.phases == []
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*.npy")}


def test_only_missing_parts_are_done(tmp_path: Path, pool: Path, texts: list[list[str]]) -> None:
    build(Corpus.open(pool), Sizes(), tmp_path / "s")
    (tmp_path / "s" / "00001.npy").unlink()
    with pytest.raises(RunError, match=r"1 of 3 parts are missing \(00001.npy"):
        open_store(tmp_path / "s")
    feature = Sizes()
    check(build(Corpus.open(pool), feature, tmp_path / "s"), texts)
    assert feature.calls == [25]


@pytest.mark.parametrize("torn", [0, 3])
def test_a_killed_unit_goes_on_by_slices(
    tmp_path: Path,
    pool: Path,
    texts: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    torn: int,
) -> None:
    """Whole slices of a unit under way are used; a half-written row, or slice, is done again."""
    monkeypatch.setattr(stores, "SLICE", 8)
    with pytest.raises(ValueError, match="on purpose"):
        build(Corpus.open(pool), Sizes(fail_at=36), tmp_path / "s", Engine(1))
    work = tmp_path / "s" / "work" / "00001.rows"
    assert (tmp_path / "s" / "00000.npy").is_file() and work.stat().st_size == 16 * 16
    if torn:
        with work.open("r+b") as file:
            file.truncate(work.stat().st_size - torn)
    feature = Sizes()
    check(build(Corpus.open(pool), feature, tmp_path / "s", Engine(1)), texts)
    assert feature.calls == ([8] if torn else []) + [8, 1] + [8, 8, 8, 6]


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 23), min_size=1, max_size=3),
    slice_=st.integers(1, 9),
    stops=st.lists(st.integers(0, 40), max_size=4),
)
def test_interruptions_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], slice_: int, stops: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("interrupted")
    texts = [[f"{file} {'y' * row}" for row in range(size)] for file, size in enumerate(sizes)]
    files = [write(folder / f"{i}.jsonl", part) for i, part in enumerate(texts)]
    corpus = Corpus.open([str(path) for path in files])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "SLICE", slice_)
        for stop in stops:
            try:
                build(corpus, Sizes(fail_at=stop), folder / "s", Engine(1))
            except ValueError:
                continue
        check(build(corpus, Sizes(), folder / "s", Engine(2)), texts)


def test_other_settings_are_refused_with_the_difference(tmp_path: Path, pool: Path) -> None:
    build(Corpus.open(pool), Sizes(), tmp_path / "s")
    with pytest.raises(RunError, match=r"settings.scale: 1.0 → 2.0") as told:
        build(Corpus.open(pool), Sizes(scale=2.0), tmp_path / "s")
    assert "overwrite" in str(told.value) and "fingerprint" not in str(told.value)
    with pytest.raises(RunError, match="dtype: 'float64' → 'float32'"):
        build(Corpus.open(pool), Sizes(), tmp_path / "s", dtype="float32")
    with pytest.raises(RunError, match=r"fields\.text"):
        build(Corpus.open(pool, fields=Fields(text=("body",))), Sizes(), tmp_path / "s")
    store = build(Corpus.open(pool), Sizes(scale=2.0), tmp_path / "s", overwrite=True)
    assert store.settings == {"scale": 2.0} and store.column("bytes").min() >= 2


def test_changed_inputs_are_refused_by_name(
    tmp_path: Path, pool: Path, texts: list[list[str]]
) -> None:
    build(Corpus.open(pool), Sizes(), tmp_path / "s")
    write(pool / "1.jsonl", ["another"])
    with pytest.raises(RunError, match=r"inputs.*1\.jsonl.*size"):
        build(Corpus.open(pool), Sizes(), tmp_path / "s")
    write(pool / "3.jsonl", ["new"])
    with pytest.raises(RunError, match=r"3\.jsonl: not set →"):
        build(Corpus.open(pool), Sizes(), tmp_path / "s")


def test_open_expects_a_fingerprint(tmp_path: Path, pool: Path) -> None:
    build(Corpus.open(pool), Sizes(), tmp_path / "s")
    assert len(open_store(tmp_path / "s", fingerprint(Sizes()))) == 75
    assert fingerprint(Sizes()) != fingerprint(Sizes(scale=2.0))
    with pytest.raises(RunError, match="holds sizes with the fingerprint"):
        open_store(tmp_path / "s", fingerprint(Sizes(scale=2.0)))
    with pytest.raises(DataworthError, match="holds no store"):
        open_store(tmp_path / "nothing")


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, pool: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no store"):
        build(Corpus.open(pool), Sizes(), tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_damage_is_named(tmp_path: Path, pool: Path) -> None:
    build(Corpus.open(pool), Sizes(), tmp_path / "s")
    whole = (tmp_path / "s" / "00002.npy").read_bytes()
    (tmp_path / "s" / "00002.npy").write_bytes(whole[:100])
    with pytest.raises(DataworthError, match=r"00002.npy: cannot be read .*delete it"):
        open_store(tmp_path / "s")
    shutil.copy(tmp_path / "s" / "00001.uid.npy", tmp_path / "s" / "00002.npy")
    with pytest.raises(DataworthError, match="not float64"):
        open_store(tmp_path / "s")
    (tmp_path / "s" / "00002.npy").write_bytes(whole)
    shutil.copy(tmp_path / "s" / "00001.uid.npy", tmp_path / "s" / "00002.uid.npy")
    with pytest.raises(DataworthError, match="does not fit"):
        _ = open_store(tmp_path / "s").uid


def test_rows_blocks_and_find(tmp_path: Path, pool: Path) -> None:
    store = build(Corpus.open(pool), Sizes(), tmp_path / "s", dtype="float32")
    whole = store.matrix()
    assert whole.dtype == np.float32
    rng = np.random.default_rng(0)
    some = rng.integers(0, len(store), 200)
    np.testing.assert_array_equal(store.rows(some), whole[some])
    np.testing.assert_array_equal(store.find(store.uid[some]), some)
    assert store.rows(np.empty(0, np.int64)).shape == (0, 2)
    for size in (1, 7, 10_000):
        firsts, blocks = zip(*store.blocks(size), strict=True)
        assert all(len(block) <= size for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), whole)
        assert list(firsts) == np.cumsum([0] + [len(b) for b in blocks[:-1]]).tolist()
    for wrong in (-1, len(store)):
        with pytest.raises(IndexError, match="0 … 74"):
            store.rows(np.array([wrong]))
    with pytest.raises(KeyError, match="1 documents are not in"):
        store.find(np.array([store.uid[0], 12345], np.uint64))


def test_find_takes_the_first_of_equal_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "twice.jsonl", ["a", "b", "a", "c", "b"])
    store = build(Corpus.open(path), Sizes(), tmp_path / "s")
    np.testing.assert_array_equal(store.find(store.uid), [0, 1, 0, 3, 1])


def test_nothing_at_all(tmp_path: Path) -> None:
    """Files without documents: parts without rows, which cannot be mapped."""
    path = tmp_path / "blank.jsonl"
    path.write_text("\n\n")
    for _ in range(2):
        store = build(Corpus.open(path), Sizes(), tmp_path / "s")
        assert len(store) == 0 and store.matrix().shape == (0, 2) and list(store.blocks()) == []
        assert len(store.uid) == 0 and len(store.column("root")) == 0
        assert len(store.find(np.empty(0, np.uint64))) == 0


def test_bad_lines_are_told(
    tmp_path: Path, pool: Path, texts: list[list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    with (pool / "0.jsonl").open("a") as file:
        file.write('{"text": \n')
    check(build(Corpus.open(pool), Sizes(), tmp_path / "s"), texts)
    assert "1 bad lines are no documents" in caplog.text


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 70_000.0])
def test_what_is_not_finite_is_no_number(tmp_path: Path, bad: float) -> None:
    class Wrong(Sizes):
        def values(self, documents: Documents) -> np.ndarray:
            found = super().values(documents)
            found[documents.texts().index("bb"), 1] = bad
            return found

    path = write(tmp_path / "p.jsonl", ["a", "bb"])
    with pytest.raises(DataworthError, match=r"p\.jsonl: sizes is not finite as float16 .* at 14;"):
        build(Corpus.open(path), Wrong(), tmp_path / "s", dtype="float16")


def test_wrong_shapes_and_types(tmp_path: Path, pool: Path) -> None:
    class Narrow(Sizes):
        def values(self, documents: Documents) -> np.ndarray:
            return np.zeros((len(documents), 1))

    with pytest.raises(DataworthError, match=r"gave \(\d+, 1\)"):
        build(Corpus.open(pool), Narrow(), tmp_path / "s")
    with pytest.raises(ConfigError, match="dtype must be"):
        build(Corpus.open(pool), Sizes(), tmp_path / "t", dtype="int8")


def test_two_builders_do_not_meet(tmp_path: Path, pool: Path) -> None:
    class Impatient(Sizes):
        def values(self, documents: Documents) -> np.ndarray:
            with pytest.raises(RunError, match="another process is building"):
                build(Corpus.open(pool), Sizes(), tmp_path / "s")
            return super().values(documents)

    build(Corpus.open(pool), Impatient(), tmp_path / "s", Engine(1))
