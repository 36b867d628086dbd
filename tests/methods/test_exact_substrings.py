"""Exact substrings: as a plain set of windows finds them; cut, shuffled or killed, the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataworth
from contract.ways import cut_units
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine import regroup as engine
from dataworth.engine.local import Engine
from dataworth.errors import ConfigError
from dataworth.features.substrings import anchors_of, windows_of
from dataworth.methods.base import Batch, Pool, State, Targets
from dataworth.methods.exact_substrings import ExactSubstrings
from dataworth.table.survey import Survey
from testdata import read_rows


def write(texts: Sequence[str], path: Path) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def spans_of(
    step: ExactSubstrings, texts: Sequence[str], folder: Path, workers: int = 1
) -> list[list[tuple[int, int]]]:
    """The spans of each text, after the step was fitted on all of them."""
    corpus = Corpus.open(write(texts, folder / "pool.jsonl"))
    documents = Documents.from_texts(texts)
    pool = Pool(corpus, Survey(documents=len(texts), sample=documents), Engine(workers))
    columns = step.annotate(Batch(documents), State(step.fit(pool, Targets({}))))
    spans = columns["spans:exact_substrings"].to_pylist()
    for text, own, share in zip(texts, spans, columns["share:exact_substrings"], strict=True):
        covered = sum(own[1::2]) - sum(own[0::2])
        assert share == np.float32(covered / max(len(text.encode()), 1))
    return [list(zip(own[0::2], own[1::2], strict=True)) for own in spans]


def plain(step: ExactSubstrings, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """The spans by a set of all windows that came before, in the order of the documents."""
    documents = Documents.from_texts(texts)
    sign = {"longest": -1, "shortest": 1, "first": 0}[step.survives]
    uid, sizes = documents.uid.tolist(), documents.text_bytes.tolist()
    seen: set[bytes] = set()
    spans: dict[int, list[tuple[int, int]]] = {}
    for row in sorted(range(len(texts)), key=lambda row: (sign * sizes[row], uid[row])):
        if uid[row] in spans:
            continue
        data = texts[row].encode()
        covered = np.zeros(len(data) + 1, np.bool_)
        for start in range(len(data) - step.size + 1):
            window = data[start : start + step.size]
            if window in seen:
                covered[start : start + step.size] = True
            seen.add(window)
        edges = np.flatnonzero(np.diff(covered, prepend=False)).reshape(-1, 2).tolist()
        cut = [(whole(data, start, 1), whole(data, end, -1)) for start, end in edges]
        spans[uid[row]] = [(start, end) for start, end in cut if start < end]
    return [spans[key] for key in uid]


def whole(data: bytes, at: int, step: int) -> int:
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += step
    return at


@settings(max_examples=40, deadline=None)
@given(
    pool=st.lists(st.text("abé", max_size=40), min_size=1, max_size=8),
    size=st.integers(4, 9),
    survives=st.sampled_from(["longest", "shortest", "first"]),
)
def test_as_a_set_of_windows(
    pool: list[str], size: int, survives: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    step = ExactSubstrings(size=size, survives=survives)
    assert spans_of(step, pool, tmp_path_factory.mktemp("pool")) == plain(step, pool)


@settings(max_examples=60, deadline=None)
@given(text=st.text("ab", max_size=60), size=st.integers(4, 12))
def test_every_window_has_the_anchor_of_its_bytes(text: str, size: int) -> None:
    """Each window once; equal ones have one anchor, at one distance from where they begin."""
    documents = Documents.from_texts([text])
    anchors = anchors_of(documents, size)
    anchor, begin, _, _ = windows_of(documents, anchors, size)
    assert begin.tolist() == list(range(max(len(text) - size + 1, 0)))
    known: dict[str, int] = {}
    for number, start in zip(anchor.tolist(), begin.tolist(), strict=True):
        key = int(anchors.key[number])
        assert known.setdefault(text[start : start + size], key) == key


@pytest.fixture(scope="module")
def texts(small_pool: Path) -> list[str]:
    """Real documents, and some into which pieces of others were put."""
    rows = [row["text"] for row in read_rows(small_pool)]
    some = [text for text in rows if 500 < len(text) < 3_000][:60]
    mixed = [a[:200] + b[100:450] + a[200:] for a, b in zip(some[:20], some[20:40], strict=True)]
    return [*some, *mixed, "Short. " * 100, "x" * 700]


@pytest.mark.parametrize("survives", ["longest", "first"])
def test_real_texts(texts: list[str], tmp_path: Path, survives: Any) -> None:
    step = ExactSubstrings(survives=survives)
    spans = spans_of(step, texts, tmp_path)
    assert spans == plain(step, texts)
    assert sum(map(bool, spans)) >= 22


def test_units_memory_workers_and_order_change_nothing(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor that windows that are equal are too many to be in memory together."""
    step, texts = ExactSubstrings(size=100), [text[:700] for text in texts[::6] + texts[-2:]]
    expected = spans_of(step, texts, tmp_path)
    cut_units(monkeypatch, 4_000)
    monkeypatch.setattr("dataworth.methods.exact_substrings._AT_ONCE", 500)
    assert spans_of(step, texts, tmp_path, workers=2) == expected
    monkeypatch.setattr(engine.regroup, "__kwdefaults__", {
        **engine.regroup.__kwdefaults__, "memory": 30_000,
    })  # fmt: skip
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = spans_of(step, [texts[row] for row in order], tmp_path)
    assert [shuffled[place] for place in np.argsort(order)] == expected


def test_dropped_by_share(tmp_path: Path) -> None:
    """The shorter of two goes where most of it is in the longer; copies are left to others."""
    line = "".join(f"{number} sheep, " for number in range(60))
    texts = [line, line[:400] + "and so on", line[:250] + "!" * 120 + "?" * 150, line, "other"]
    scores = dataworth.score(write(texts, tmp_path / "pool.jsonl"), steps=["exact_substrings"])
    table = scores.to_arrow()
    assert table["drop"].to_pylist() == [None, "repeats other documents", None, None, None]
    assert table["spans:exact_substrings"].to_pylist()[1:3] == [[0, 400], [0, 250]]


def test_a_run_that_was_killed_goes_on(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, steps = write(texts, tmp_path / "pool.jsonl"), ["exact_substrings"]
    expected = dataworth.score(pool, steps=steps, out=tmp_path / "whole").to_arrow()
    with monkeypatch.context() as patch:
        patch.setattr("dataworth.methods.exact_substrings.windows_of", killed)
        with pytest.raises(KeyboardInterrupt):
            dataworth.score(pool, steps=steps, out=tmp_path / "out", engine=1)
    (scratch,) = (tmp_path / "out" / "work").iterdir()
    assert list((scratch / "anchors" / "buckets").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("dataworth.methods.exact_substrings._meeting", killed)  # they are done
        again = dataworth.score(pool, steps=steps, out=tmp_path / "out", engine=1).to_arrow()
    assert again.equals(expected)
    assert not scratch.exists()


def killed(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("options", [{"size": 3}, {"share": 1.5}, {"survives": "b"}])
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="exact_substrings"):
        ExactSubstrings(**options)
