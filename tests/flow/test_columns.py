"""The table grows by columns: what is there is not computed again, whichever list of steps asks."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataworth
from dataworth.errors import RunError
from dataworth.flow.identity import identity_of
from dataworth.methods.fitted import Fitted
from dataworth.methods.registry import parse_step
from flow.pools import write

ROWS = [
    {"text": f"row {i} has {i % 7} words more " + "word " * (i % 7), "lang": "ab"[i % 2]}
    for i in range(80)
]
TARGET = [f"row {i} has words" for i in range(12)]
OTHER = [f"quite another text, number {i}" for i in range(12)]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write(tmp_path / "pool.jsonl", [json.dumps(row).encode() for row in ROWS])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Documents that each step was asked about while scoring, by the step's name."""
    seen: Counter[str] = Counter()
    compute = Fitted.compute

    def counted(self: Fitted, documents: Any) -> Any:
        seen[self.step.name] += len(documents)
        return compute(self, documents)

    monkeypatch.setattr(Fitted, "compute", counted)
    return seen


def folders(out: Path) -> set[str]:
    return {path.name for path in (out / "table").iterdir()}


def whole(scores: dataworth.Scores, name: str) -> list[Any]:
    return scores.table.column(name).tolist()


def test_another_step_is_computed_alone(pool: Path, asked: Counter[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = dataworth.score(pool, TARGET, out=out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}
    asked.clear()
    both = dataworth.score(pool, TARGET, steps=["dsir", "bm25"], out=out)
    # The other one is asked which of the pool's sample it leaves, and no more.
    assert asked == {"bm25": len(ROWS), "dsir": len(ROWS)}
    assert before.items() <= {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}.items()
    assert whole(both, "utility:dsir:target") == whole(first, "utility:dsir:target")
    afresh = dataworth.score(pool, TARGET, steps=["dsir", "bm25"], out=tmp_path / "afresh")
    assert both.to_arrow().equals(afresh.to_arrow())
    # What is there already is found in any order and under any label.
    asked.clear()
    dataworth.score(pool, TARGET, steps=["bm25"], out=out)
    twice = dataworth.score(pool, TARGET, steps=["dsir", "dsir"], out=out)
    assert not asked
    assert whole(twice, "utility:dsir_2:target") == whole(first, "utility:dsir:target")
    # The folder is opened by the list that was scored last.
    assert dataworth.load(out).table.utilities == twice.table.utilities


def test_a_filter_before_a_step(pool: Path, asked: Counter[str], tmp_path: Path) -> None:
    """Where what was learned stays the same, a filter before it asks for nothing new."""
    pytest.importorskip("torch")
    from flow.test_chats import model_folder

    step, out = f"el2n(models=[{model_folder()}])", tmp_path / "out"
    plain = dataworth.score(pool, steps=step, out=out, engine=1)
    assert asked["el2n"] == len(ROWS)
    column = plain.table.utilities[0]
    asked.clear()
    filtered = dataworth.score(pool, steps=["length(minimum=9)", step], out=out, engine=1)
    assert not asked["el2n"]
    kept = np.array([reason is None for reason in filtered.to_arrow()["drop"].to_pylist()])
    assert 0 < kept.sum() < len(ROWS)
    assert np.array_equal(filtered.table.column(column)[kept], plain.table.column(column)[kept])
    dataworth.score(pool, steps=step, out=out, engine=1)
    dataworth.score(pool, steps=["length(minimum=9)", step, step], out=out, engine=1)
    assert not asked["el2n"]


def test_rows_that_a_filter_kept_away_come_later(
    pool: Path, asked: Counter[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from flow.test_chats import model_folder

    step, out = f"el2n(models=[{model_folder()}])", tmp_path / "out"
    dataworth.score(pool, steps=["length(minimum=9)", step], out=out, engine=1)
    first = asked["el2n"]
    assert 0 < first < len(ROWS)
    whole_list = dataworth.score(pool, steps=step, out=out, engine=1)
    assert asked["el2n"] == len(ROWS)
    assert len(list(out.glob("table/el2n-*/*.parquet"))) == 2
    asked.clear()
    wider = dataworth.score(pool, steps=["length(minimum=7)", step], out=out, engine=1)
    assert not asked["el2n"]
    afresh = dataworth.score(pool, steps=step, out=tmp_path / "afresh", engine=1)
    column = afresh.table.utilities[0]
    assert np.allclose(whole_list.table.column(column), afresh.table.column(column), rtol=1e-5)
    dropped = sum(wider.facts()["dropped"].values())
    assert 0 < dropped < len(ROWS) - first


def test_targets_that_a_step_does_not_read(pool: Path, asked: Counter[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    dataworth.score(pool, {"a": TARGET}, steps=["length(minimum=7)", "dsir"], out=out)
    before = folders(out)
    asked.clear()
    two = {"a": TARGET, "b": OTHER}
    dataworth.score(pool, two, steps=["length(minimum=7)", "dsir"], out=out)
    assert asked["dsir"] and not asked["length"]
    assert {name.partition("-")[0] for name in folders(out) - before} == {"dsir"}


@pytest.mark.parametrize(
    ("changed", "new"),
    [
        ({"seed": 1}, {"dsir"}),
        ({"holdout": 0.25}, {"dsir"}),
        ({"steps": "dsir(ngrams=1)"}, {"dsir"}),
        ({"group_by": "lang"}, {"labels"}),
        ({"id_field": "lang"}, {"labels"}),
        ({"max_bad": 0.5}, set()),
        ({"engine": 3}, set()),
    ],
)
def test_what_makes_other_columns(
    changed: dict[str, Any], new: set[str], pool: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {"steps": "dsir", "seed": 0, "holdout": 0.5}
    dataworth.score(pool, TARGET, out=out, **options)
    before = folders(out)
    again = dataworth.score(pool, TARGET, out=out, **{**options, **changed})
    assert {name.partition("-")[0] for name in folders(out) - before} == new
    assert before <= folders(out)
    afresh = dataworth.score(pool, TARGET, out=tmp_path / "afresh", **{**options, **changed})
    assert again.to_arrow().equals(afresh.to_arrow())


@pytest.mark.parametrize("changed", [{"text_field": "lang"}, {"split_words": 3}, {"join": "x"}])
def test_other_documents_are_refused(changed: dict[str, Any], pool: Path, tmp_path: Path) -> None:
    dataworth.score(pool, TARGET, out=tmp_path / "out")
    with pytest.raises(RunError, match="another configuration"):
        dataworth.score(pool, TARGET, out=tmp_path / "out", **changed)


def test_a_selection_stays_when_columns_are_added(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = dataworth.select(pool, TARGET, "20-docs", out=out)
    data = [path.read_bytes() for path in sorted((out / "data").iterdir())]
    dataworth.score(pool, TARGET, steps="bm25", out=out)
    other = dataworth.load(out).choose("20-docs")
    assert other.folder != chosen.folder
    again = dataworth.select(pool, TARGET, "20-docs", out=out)
    assert again.folder == chosen.folder
    assert data == [path.read_bytes() for path in sorted((out / "data").iterdir())]
    judged = dataworth.judge(other.folder, TARGET)
    assert judged.facts["targets"] if hasattr(judged, "facts") else judged
    with pytest.raises(RunError, match="another configuration"):
        dataworth.select(pool, TARGET, "20-docs", steps="bm25", out=out)


def test_another_target_beside_a_selection(pool: Path, tmp_path: Path) -> None:
    """Columns of any target may be added; the selection stays that of its own."""
    out = tmp_path / "out"
    dataworth.score(pool, {"a": OTHER}, out=out)
    chosen = dataworth.select(pool, {"b": TARGET}, "20-docs", out=out)
    dataworth.score(pool, {"c": OTHER}, steps="bm25", out=out)
    again = dataworth.select(pool, {"b": TARGET}, "20-docs", out=out)
    assert again.folder == chosen.folder and np.array_equal(again.rows, chosen.rows)
    with pytest.raises(RunError, match="the inputs changed"):
        dataworth.select(pool, {"b": OTHER}, "20-docs", out=out)


def test_columns_of_another_pool(pool: Path, tmp_path: Path) -> None:
    """Column files that were put into the folder of another pool, or whose rows are permuted."""
    one, two = tmp_path / "one", tmp_path / "two"
    dataworth.score(pool, TARGET, out=one)
    rows = [json.dumps(row).encode() for row in reversed(ROWS)]
    dataworth.score(write(tmp_path / "other.jsonl", rows), TARGET, out=two)
    (theirs,), (ours,) = one.glob("table/dsir-*"), two.glob("table/dsir-*")
    shutil.copy(theirs / "00000.parquet", ours / "00000.parquet")
    with pytest.raises(RunError, match=r"00000\.parquet: is of other documents"):
        dataworth.load(two).table.column("utility:dsir:target")
    with pytest.raises(RunError, match=r"00000\.parquet: is of other documents"):
        dataworth.score(tmp_path / "other.jsonl", TARGET, steps=["dsir", "bm25"], out=two)


def test_a_pool_of_very_many_files(tmp_path: Path) -> None:
    """Small files share a part, so that a step has few files."""
    (tmp_path / "pool").mkdir()
    for number, row in enumerate(ROWS * 5):
        (tmp_path / "pool" / f"{number:04d}.txt").write_text(f"{row['text']} {number}")
    found = dataworth.select(tmp_path / "pool", TARGET, "20-docs", out=tmp_path / "out")
    assert len(found) == 20 and len(found.scores.table) == len(ROWS) * 5
    assert {len(list(f.glob("*.parquet"))) for f in (tmp_path / "out" / "table").iterdir()} == {1}
    assert found.explain(str(tmp_path / "pool" / "0007.txt") + ":0")["document"]["text"]


class TestIdentity:
    def test_models_and_files_count_by_content(self, tmp_path: Path) -> None:
        from tokenizers import Tokenizer, models

        tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
        paths = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
        for path in paths[:2]:
            tokenizer.save(str(path))
        paths[2].write_text(paths[0].read_text().replace('"a"', '"b"'))
        one, two, three = (
            identity_of(parse_step({"length": {"tokens": str(path)}})) for path in paths
        )
        assert one == two != three

    def test_versions_and_options_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        step = parse_step("dsir")
        before = identity_of(step)
        assert identity_of(parse_step("dsir(ngrams=2)")) == before  # the default, written out
        assert identity_of(parse_step("dsir(ngrams=3)")) != before
        monkeypatch.setattr(type(step), "version", 99, raising=False)
        assert identity_of(step) != before

    def test_an_object_that_json_cannot_hold(self) -> None:
        class Own:
            name = "own"

        one, two = Own(), Own()
        assert identity_of(one) == identity_of(one) != identity_of(two)  # type: ignore[arg-type]
        one.key = two.key = "the same"  # type: ignore[attr-defined]
        assert identity_of(one) == identity_of(two)  # type: ignore[arg-type]
