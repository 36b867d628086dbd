"""Decontamination: planted and innocent overlaps, kinds of files, the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataworth.errors import ConfigError, InputError
from dataworth.methods.decontaminate import Decontaminate
from methods.fitting import docs, fit
from testdata import read_rows

EXAMPLE = " ".join(f"word{n}" for n in range(20))
OTHER = " ".join(f"other{n}" for n in range(30))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "one.jsonl").write_text(json.dumps({"q": EXAMPLE, "n": 3}) + "\n")
    (tmp_path / "two.txt").write_text(f"{OTHER}\n\nnine words in a row are one phrase here\n")
    return [str(tmp_path / "one.jsonl"), str(tmp_path / "two.txt")]


def rows(step: Any, texts: list[str], pool: list[str] | None = None) -> list[dict[str, Any]]:
    return fit(step, pool or ["x"], {}).annotate(docs(texts)).to_pylist()


def test_planted_and_innocent(files: list[str]) -> None:
    words = EXAMPLE.split()
    texts = [
        "Before. " + EXAMPLE + " After.",
        " ".join(words[3:16]).upper().replace(" ", ",  "),  # 13 in a row, other case and signs
        " ".join(words[3:15]),  # 12
        " ".join([*words[:10], "gap", *words[10:]]),
        "Nine words, in a ROW: are one phrase here!",
        "words in a row are one phrase here",
        OTHER,
        "",
    ]
    batch = rows(Decontaminate(tuple(files)), texts)
    one, two = "holds text of one.jsonl", "holds text of two.txt"
    assert [row["drop"] for row in batch] == [one, one, None, None, two, None, two, None]
    overlap = [row["overlap:decontaminate"] for row in batch]
    assert overlap == [1, 0.125, 0, 0, 1, 0, 1, 0]
    batch = rows(Decontaminate(tuple(files), share=0.5), texts)
    assert [row["drop"] for row in batch] == [one, None, None, None, two, None, two, None]


def test_real_documents(small_pool: Path, tmp_path: Path) -> None:
    """Of 200 planted documents nearly all are found, and of 200 others nearly none."""
    texts = [row["text"] for row in read_rows(small_pool)]
    long = [text for text in texts if 60 < len(text.split()) < 400][:400]
    sentences = [" ".join(text.split()[20:45]) for text in long[:200]]
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps({"text": one}) + "\n" for one in sentences))
    drop = [row["drop"] for row in rows(Decontaminate((str(path),)), long)]
    found = sum(one is not None for one in drop[:200])
    assert found >= 195  # the rest are written in few words
    assert sum(one is not None for one in drop[200:]) <= 2


def test_common_phrases_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    phrase = " ".join(f"licence{n}" for n in range(13))
    path.write_text(f"{phrase} one\n\n{phrase} two\n")
    pool = [f"{phrase} {n}" for n in range(12)]
    assert rows(Decontaminate((str(path),)), [phrase], pool)[0]["drop"] is None
    step = Decontaminate((str(path),), common=20)
    assert rows(step, [phrase], pool)[0]["drop"] == "holds text of b.txt"


def test_kinds_of_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [["x", EXAMPLE]], "b": [1]}), tmp_path / "b.parquet")
    task = "task: mine\ndoc_to_text: !function utils.text\ndataset_kwargs:\n  data_files:\n"
    (tmp_path / "task.yaml").write_text(task + "    test: b.parquet\n")
    for name in ("b.parquet", "task.yaml"):
        drop = rows(Decontaminate((str(tmp_path / name),)), [EXAMPLE])[0]["drop"]
        assert drop == f"holds text of {name}"


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such benchmark file"):
        Decontaminate((str(tmp_path / "none.txt"),)).check()
    with pytest.raises(ConfigError, match="name 1 to 255"):
        Decontaminate(())
    (tmp_path / "bad.jsonl").write_text("{}\nno\n")
    with pytest.raises(InputError, match="line 2: is no JSON"):
        rows(Decontaminate((str(tmp_path / "bad.jsonl"),)), [])
    (tmp_path / "task.yaml").write_text("task: hub\n")
    with pytest.raises(InputError, match="names no local files"):
        rows(Decontaminate((str(tmp_path / "task.yaml"),)), [])
