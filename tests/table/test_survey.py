"""The random sample of a pool: who is in it, and that nothing but the documents decides that."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.uid import hash_uid, uid_of
from dataworth.engine.local import Engine
from dataworth.table import survey as module
from dataworth.table.survey import SAMPLE, load, save, survey
from flow.pools import document, scatter, write

CAPACITY = 1 << 16


def make_texts(count: int, seed: int, longest: int = 3_000) -> list[str]:
    """Texts of 1 to `longest` bytes, short ones more often."""
    draw = random.Random(seed)
    sizes = [int(longest ** draw.random()) for _ in range(count)]
    return [f"{number} " + "x" * size for number, size in enumerate(sizes)]


def by_hand(texts: list[str], seed: int) -> list[int]:
    """The sample by its definition: those of smallest hash, as long as they fit."""
    uid = np.array([uid_of(text) for text in texts], np.uint64)
    size = np.array([len(text.encode()) for text in texts])
    fit = size <= CAPACITY // 16
    uid, size = uid[fit], size[fit]
    order = np.argsort(hash_uid(seed, uid, SAMPLE))
    return uid[order][np.cumsum(size[order]) <= CAPACITY].tolist()


class TestWhole:
    @pytest.mark.parametrize("workers", [1, 5])
    @pytest.mark.parametrize("seed", range(6))
    def test_the_smallest_hashes(
        self, seed: int, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Candidates are cut again and again on the way, in an order that hangs on the files."""
        texts = make_texts(600, seed)
        names = [f"{number}.jsonl" for number in range(1 + seed * 3)]
        lines = [document(text) for text in random.Random(seed).sample(texts, len(texts))]
        pool = Corpus.open(scatter(tmp_path, lines, names))
        assert pool.size > 3 * CAPACITY

        def often(part: module._Part, capacity: int, hint: module._Hint) -> None:
            if part.held > capacity:
                part.held = 2 * capacity + 1
                cut(part, capacity, hint)

        cut = module._Part.cut
        monkeypatch.setattr(module._Part, "cut", often)
        found = survey(pool, Engine(workers), seed=seed, sample_bytes=CAPACITY)
        assert found.whole
        assert not found.complete
        assert found.documents == 600
        assert found.sample.uid.tolist() == by_hand(texts, seed)
        assert (np.diff(found.hashes.astype(object)) > 0).all()

    def test_a_small_pool_is_the_sample(self, tmp_path: Path):
        lines = [document(f"number {number}") for number in range(50)]
        found = survey(Corpus.open(write(tmp_path / "a.jsonl", lines)), Engine(1))
        assert found.complete
        assert sorted(found.sample.texts()) == sorted(f"number {n}" for n in range(50))

    @pytest.mark.parametrize("size", [10_000, 100_000])
    def test_all_documents_are_giants(self, size: int, tmp_path: Path):
        texts = [f"{number} " + "y" * size for number in range(12)]
        pool = Corpus.open(write(tmp_path / "a.jsonl.zst", [document(text) for text in texts]))
        found = survey(pool, Engine(1), sample_bytes=CAPACITY)
        assert found.documents == 12
        assert len(found.sample) == max(1, CAPACITY // size)

    def test_equal_texts(self, tmp_path: Path):
        pool = Corpus.open(write(tmp_path / "a.jsonl", [document("one text")] * 30))
        assert len(survey(pool, Engine(2)).sample) == 30

    def test_kept_on_disk(self, tmp_path: Path):
        lines = [document(text, g=text[:1]) for text in make_texts(300, 1)]
        pool = Corpus.open(write(tmp_path / "a.jsonl", [*lines, b"{", b""]))
        found = survey(pool, Engine(1), sample_bytes=CAPACITY)
        save(found, tmp_path / "fitted")
        again = load(tmp_path / "fitted")
        assert again is not None
        assert again.sample.texts() == found.sample.texts()
        assert again.sample.uid.tolist() == found.sample.uid.tolist()
        assert again.hashes.tolist() == found.hashes.tolist()
        assert (again.documents, again.lines, again.bad) == (300, 302, {"invalid_json": 1})
        (tmp_path / "fitted" / "sample.json").unlink()
        assert load(tmp_path / "fitted") is None


class TestWindows:
    @pytest.fixture
    def pool(self, tmp_path: Path) -> Corpus:
        """More than ten times what is asked for, with short and long documents mixed."""
        lines = [document(text) for text in make_texts(3_000, 7)]
        return Corpus.open(scatter(tmp_path, lines, ["a.jsonl", "b.jsonl", "c.jsonl"]))

    def test_size(self, pool: Corpus):
        assert pool.size > 10 * CAPACITY
        sizes = []
        for seed in range(20):
            found = survey(pool, Engine(1), seed=seed, sample_bytes=CAPACITY)
            assert not found.whole
            assert found.documents < 3_000 / 4
            sizes.append(int(found.sample.text_bytes.sum()))
        assert max(sizes) <= CAPACITY
        assert np.mean(sizes) > 0.85 * CAPACITY

    def test_each_has_the_same_chance(self, pool: Corpus):
        """Over many seeds, at every place in the file and for every length."""
        seeds = 400
        times: dict[int, int] = {}
        for seed in range(seeds):
            for uid in survey(pool, Engine(1), seed=seed, sample_bytes=CAPACITY).sample.uid:
                times[int(uid)] = times.get(int(uid), 0) + 1
        documents, _ = pool.read_all()
        counts = np.array([times.get(int(uid), 0) for uid in documents.uid])
        share = counts.mean() / seeds
        spread = np.sqrt(seeds * share * (1 - share))
        assert 0.05 < share < 0.2
        # Along each file (windows have edges), and by length: mean counts of 30 groups of 100.
        # Neighbours come together in a window, which makes their mean vary more than one alone.
        by_place = counts.reshape(-1, 100).mean(1)
        by_length = counts[np.argsort(documents.text_bytes, kind="stable")].reshape(-1, 100).mean(1)
        assert abs(by_place - counts.mean()).max() < 5 * spread / np.sqrt(100 / 15)
        assert abs(by_length - counts.mean()).max() < 5 * spread / np.sqrt(100)
        edges = [np.flatnonzero(documents.file == file)[[0, 1, 2, -3, -2, -1]] for file in range(3)]
        assert abs(counts[np.concatenate(edges)] - counts.mean()).max() < 5 * spread

    def test_no_document_twice(self, pool: Corpus):
        for seed in range(50):
            sample = survey(pool, Engine(1), seed=seed, sample_bytes=CAPACITY).sample
            assert len(np.unique(sample.uid)) == len(sample)

    def test_windows_hold_their_share(self, pool: Corpus):
        for unit in pool.units:
            for share in (0.001, 0.1, 0.5, 0.99):
                for seed in range(20):
                    windows = module._windows(unit, share, seed)
                    assert windows is not None
                    size = unit.end - unit.start
                    held = sum(window.end - window.start for window in windows)
                    assert held == pytest.approx(share * size, abs=len(windows) + 1)
                    edges = [(window.start, window.end) for window in windows]
                    assert edges == sorted(edges)
                    assert all(a[1] <= b[0] for a, b in itertools.pairwise(edges))
                    assert unit.start <= edges[0][0] <= edges[-1][1] <= unit.end

    def test_what_is_read_whole_is_thinned(self, tmp_path: Path):
        lines = [document(text) for text in make_texts(3_000, 8)]
        pool = Corpus.open(scatter(tmp_path, lines, ["a.parquet", "b.parquet"]))
        found = survey(pool, Engine(1), sample_bytes=1 << 13)
        assert not found.whole
        assert found.documents == 3_000
        assert 0.5 * (1 << 13) < found.sample.text_bytes.sum() <= 1 << 13
