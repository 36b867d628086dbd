"""Runs with steps that compare documents: end to end, stopped and resumed, on other workers."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import dataworth
from cli.conftest import Invoke, _compiled, _log_as_it_was, dw  # noqa: F401
from dataworth.engine.local import Engine
from flow.pools import chosen, document, leftovers, scatter, shards, written

STEPS = ("length(minimum=5)", "minhash", "exact_duplicates", "dsir(minimum=10)")


@pytest.fixture(scope="module")
def copied(lines: list[bytes]) -> list[bytes]:
    """300 documents, 60 of them again with a word changed, and 30 again as they are."""
    draw = random.Random(0)
    texts = [json.loads(line)["text"] for line in lines[:300]]
    near = []
    for text in [text for text in texts if len(text.split()) > 100][:60]:
        words = text.split(" ")
        words[draw.randrange(len(words))] = "zebra"
        near.append(document(" ".join(words)))
    return [document(text) for text in texts] + near + [document(text) for text in texts[:30]]


@pytest.fixture
def pool(copied: list[bytes], tmp_path: Path, small_units: None) -> Path:
    return scatter(tmp_path / "pool", copied, ["a.jsonl", "b.jsonl.gz", "c.parquet"])


def decisions(scores: dataworth.Scores) -> Counter[tuple[Any, ...]]:
    table = scores.to_arrow()
    columns = [table[name].to_pylist() for name in ("uid", "drop", "cluster:minhash")]
    return Counter(zip(*columns, strict=True))


def test_select_and_choose(pool: Path, math: Path, tmp_path: Path) -> None:
    """One of each cluster may be chosen, the others are dropped with the reason."""
    found = dataworth.select(pool, math, "100%", steps=STEPS, out=tmp_path / "out", engine=2)
    dropped = found.scores.table.tally.dropped
    assert 80 <= dropped["near-duplicate"] <= 110
    assert dropped["exact duplicate"] <= 5  # texts without a word are not compared by shingles
    texts = [json.loads(line)["text"] for line in written(tmp_path / "out")]
    assert len(texts) == len(set(texts)) == sum(chosen(found).values())
    rows = found.scores.to_arrow().to_pylist()
    first = {row["cluster:minhash"] for row in rows if row["drop"] is None}
    assert len(first) == len(texts)
    for row in rows:
        if row["drop"] == "near-duplicate":
            assert row["cluster:minhash"] in first
            assert all(row[name] is None for name in found.scores.table.utilities)
    assert leftovers(tmp_path / "out") == [] and not (tmp_path / "out" / "work").exists()
    again = dataworth.load(tmp_path / "out").choose("50%")
    assert set(chosen(again)) < set(chosen(found))


@pytest.mark.usefixtures("standing_processes")
def test_files_and_workers_change_nothing(
    pool: Path, copied: list[bytes], math: Path, tmp_path: Path
) -> None:
    order = copied.copy()
    random.Random(1).shuffle(order)
    other = scatter(tmp_path / "other", order, ["z.jsonl", "y.parquet", "a.jsonl.zst", "k.jsonl"])
    scored = [
        dataworth.score(pool, math, steps=STEPS, out=tmp_path / str(number), engine=engine)
        for number, engine in enumerate([Engine(1), Engine(3), Engine(2, "processes")])
    ]
    scored.append(dataworth.score(other, math, steps=STEPS, out=tmp_path / "renamed"))
    assert all(decisions(one) == decisions(scored[0]) for one in scored[1:])


def test_pieces_of_documents(pool: Path, tmp_path: Path) -> None:
    """Pieces of one row have one place; each has its own decision."""
    steps = ("exact_duplicates",)
    found = dataworth.score(pool, steps=steps, split_words=40, out=tmp_path / "out").to_arrow()
    kept = Counter(found.filter(found["drop"].is_null())["uid"].to_pylist())
    assert set(kept) == set(found["uid"].to_pylist()) and max(kept.values()) == 1
    assert len(kept) < len(found)


class KilledError(BaseException):
    """Stands for the end of the process."""


def test_killed_and_resumed(
    pool: Path, math: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At twelve moments; the same bytes come out, and nothing is left under way."""
    replace, left, done = Path.replace, 10**9, 0

    def rename(self: Path, target: Path) -> Path:
        nonlocal left, done
        if left == 0:
            raise KilledError
        left, done = left - 1, done + 1
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", rename)
    options: dict[str, Any] = {"steps": STEPS, "format": "jsonl", "engine": 2}
    whole = dataworth.select(pool, math, "50%", out=tmp_path / "whole", **options)
    renames = done
    assert renames > 12
    for number in range(12):
        out = tmp_path / f"out{number}"
        left = renames * number // 12
        with pytest.raises(KilledError):
            dataworth.select(pool, math, "50%", out=out, **options)
        left = 10**9
        found = dataworth.select(pool, math, "50%", out=out, **options)
        assert shards(out) == shards(tmp_path / "whole")
        assert decisions(found.scores) == decisions(whole.scores)
        assert leftovers(out) == [] and not (out / "work").exists()


def test_another_run_in_the_same_folder(pool: Path, tmp_path: Path) -> None:
    """Nothing of the run before is remembered."""
    out = tmp_path / "out"
    strict = dataworth.score(pool, steps=("minhash(threshold=1.0)",), out=out)
    before = strict.table.tally.dropped["near-duplicate"]
    loose = dataworth.score(pool, steps=("minhash",), out=out, overwrite=True)
    assert before <= 40 < loose.table.tally.dropped["near-duplicate"]


def test_from_the_command_line(
    pool: Path,
    math: Path,
    tmp_path: Path,
    dw: Invoke,  # noqa: F811
) -> None:
    out = tmp_path / "out"
    found = dw(
        "select", pool, "--target", f"math={math}", "--step", "minhash", "--step", "dsir",
        "--budget", "30%", "--out", out,
    )  # fmt: skip
    assert found.exit_code == 0, found.stderr
    files = (out / "table").glob("minhash-*/*.parquet")
    reasons = [reason for path in files for reason in pq.read_table(path)["drop"].to_pylist()]
    assert reasons.count("near-duplicate") > 60


def test_a_dry_run_tells_the_scratch(pool: Path, math: Path) -> None:
    """What the steps write while documents are compared is room that has to be there."""
    plain = dataworth.plan(pool, math, "10%", steps=("dsir",)).disk_bytes
    assert dataworth.plan(pool, math, "10%", steps=("minhash", "dsir")).disk_bytes > plain + 50_000
