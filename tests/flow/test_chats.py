"""What is chosen of chats: none is lost as a copy of another, and a resumed run chooses alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataworth
from dataworth.engine.files import read_json
from dataworth.errors import ConfigError
from dataworth.flow import targets as target_files
from dataworth.table import survey as surveys
from methods.modelled import POOL, TARGET, model_folder

OPTIONS: dict[str, Any] = {"steps": "dsir", "budget": "3-docs", "engine": 1}


def chat(asked: str, said: str, **further: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": said, **further},
        ]
    }


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    "row",
    [
        lambda i: chat(
            "q", "", tool_calls=[{"function": {"name": f"f{i}", "arguments": {"x": i}}}]
        ),
        lambda i: chat("q", "a", reasoning_content=f"thought {i}"),
        lambda i: chat("q", "a", candidate=f"c{i}"),
        lambda i: {**chat("q", "a"), "system": f"s{i}"},
        lambda i: {"instruction": "q", "output": "a", "history": [[f"h{i}", "b"]]},
        lambda i: {"instruction": "q", "response": "a", "context": f"c{i}"},
    ],
)
def test_chats_that_differ_are_no_copies(tmp_path: Path, row: Any, kind: str) -> None:
    rows = [row(i) for i in range(6)]
    pool = written(tmp_path / "pool.jsonl", rows)
    kinds = {"reasoning_content": "thinking", "candidate": "further fields of turns"}
    expected = [kind for name, kind in kinds.items() if name in pool.read_text()]
    if kind == "parquet":
        pool = tmp_path / "pool.parquet"
        pq.write_table(pa.Table.from_pylist(rows), pool)
    target = written(tmp_path / "target.jsonl", [chat("q", "a")])
    out = tmp_path / "out"
    found = dataworth.select(pool, target, template="tulu", out=out, **OPTIONS)
    assert len(found) == 3
    assert found.metrics["accounting"]["kept"]["documents"] == 3
    assert list((out / "data").iterdir())
    unread = [text for text in found.metrics["warnings"] if "not read" in text]
    assert [text.split(" that were")[0] for text in unread] == [
        f"6 of 6 chats hold {kind}" for kind in expected
    ]


def test_texts_of_one_uid_are_no_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dataworth.corpus.read.reader.uids",
        lambda data, starts, ends: np.ones(len(starts), np.uint64),
    )
    words = ["one", "two", "three", "two", "one", "four"]
    pool = written(tmp_path / "pool.jsonl", [{"text": word} for word in words])
    found = dataworth.select(pool, steps=(), budget="100%", engine=1)
    assert found.rows.tolist() == [0, 1, 2, 5]


def test_targets_have_a_template_of_their_own(tmp_path: Path) -> None:
    pool = written(tmp_path / "pool.jsonl", [chat("q", text) for text in POOL[:12]])
    target = written(tmp_path / "target.jsonl", [{"text": text} for text in TARGET[:4]])
    found = dataworth.select(pool, target, template="tulu", target_template="none", **OPTIONS)
    assert len(found) == 3
    plain = written(tmp_path / "plain.jsonl", [{"body": text} for text in POOL[:12]])
    asked = written(tmp_path / "asked.jsonl", [chat("q", text) for text in TARGET[:4]])
    found = dataworth.select(
        plain, asked, text_field="body", target_template="plain", out=tmp_path / "out", **OPTIONS
    )
    assert len(found) == 3
    assert len(dataworth.load(tmp_path / "out").choose("3-docs")) == 3
    judged = dataworth.judge(
        plain, asked, pool=plain, text_field="body", target_template="plain", engine=1
    )
    assert judged.metrics["targets"]
    with pytest.raises(ConfigError, match="unknown template 'tulip'"):
        dataworth.select(pool, target, template="tulu", target_template="tulip", **OPTIONS)


def test_a_resumed_run_has_the_same_utilities(tmp_path: Path) -> None:
    """Two chats of one text, and the sample, know who says what after a resume too."""
    swapped = chat("How many?", "Twenty apples.")
    for turn, role in zip(swapped["messages"], ("assistant", "user"), strict=True):
        turn["role"] = role
    rows = [chat("How many?", "Twenty apples."), swapped]
    rows += [chat(POOL[i], POOL[i + 1]) for i in range(8)]
    pool = written(tmp_path / "pool.jsonl", rows)
    target = written(tmp_path / "target.jsonl", [chat("q", text) for text in TARGET[:4]])
    options: dict[str, Any] = {
        "steps": f"influence(model={model_folder()})",
        "template": "plain",
        "engine": 1,
    }
    out = tmp_path / "out"
    whole = dataworth.score(pool, target, out=out, **options)
    (kept_sample,) = (out / "fitted").glob("sample-*")
    sample = surveys.load(kept_sample)
    assert sample is not None and sample.sample.spans is not None
    (kept_targets,) = (out / "fitted").glob("targets-*")
    kept = target_files.load(kept_targets, ["target"]).fit["target"]
    assert kept.spans is not None and set(kept.spans.role) == {"user", "assistant"}
    first = whole.scored.table.column(whole.scored.table.utilities[0]).copy()
    uid = whole.scored.table.column("uid")
    assert len(np.unique(uid)) == len(uid) and first[0] != first[1]
    # As a run that was stopped after the survey.
    shutil.rmtree(out / "table")
    for path in (out / "fitted").glob("influence-*"):
        shutil.rmtree(path)
    again = dataworth.score(pool, target, out=out, **options)
    assert np.array_equal(first, again.scored.table.column(again.scored.table.utilities[0]))
    assert read_json(kept_sample / "sample.json")["unread"] == {}
