"""Columns written as Dolma attributes: lengths and spans in characters, and read back the same."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import dataworth
from cli.conftest import Invoke, _compiled, _log_as_it_was, dw  # noqa: F401
from dataworth.errors import ConfigError

PIECE = " ".join(f"Clauße {n} grants {n * n}." for n in range(20))
FILES = {
    "part/a.jsonl": ["é short", f"Ünd {PIECE}", "A text of numbers and plus signs, 1 + 2 = 3."],
    "part/b.jsonl": [f"{PIECE} and what comes after it, which is longer than before", "1 + 1 = 2"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dataworth.Scores:
    folder = tmp_path_factory.mktemp("attributes")
    for name, texts in FILES.items():
        path = folder / "pool" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"id": f"{path.stem}{n}", "text": text} for n, text in enumerate(texts)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = ["exact_substrings(share=1)", "length(minimum=3)", "dsir"]
    target = {"sums": ["1 + 2 = 3 and 4 + 5 = 9", "numbers and plus signs"] * 4}
    return dataworth.score(
        folder / "pool", target, steps=steps, id_field="id", out=folder / "out", engine=1
    )


def read(folder: Path) -> dict[str, dict[str, Any]]:
    rows = [
        json.loads(line)
        for path in sorted(folder.rglob("*.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    return {row["id"]: row["attributes"] for row in rows}


def test_round_trip(run: dataworth.Scores, tmp_path: Path) -> None:
    written = run.write_attributes(tmp_path / "attributes")
    assert [path.name for path in written] == ["a.jsonl.gz", "b.jsonl.gz"]
    rows = read(tmp_path / "attributes")
    assert list(rows) == ["a0", "a1", "a2", "b0", "b1"]
    texts = {f"{Path(f).stem}{n}": t for f, some in FILES.items() for n, t in enumerate(some)}
    assert rows["a0"] == {"dataworth__drop__shorter_than_3_words": [[0, 7, 1.0]]}
    ((start, end, value),) = rows["a1"]["dataworth__spans__exact_substrings"]
    assert texts["a1"][start:end] == " " + PIECE or texts["a1"][start:end] == PIECE
    assert value == 1
    name = "dataworth__utility__dsir__sums"
    step = {"known_scores": {"file": str(tmp_path / "attributes"), "column": name, "by": "id"}}
    pool = run.folder.parent / "pool"
    again = dataworth.score(pool, steps=[step], id_field="id", engine=1).to_arrow()
    expected = run.to_arrow()["utility:dsir:sums"]
    assert again["utility:known_scores:"].to_pylist() == expected.to_pylist()
    for key, text in texts.items():
        if name in rows[key]:
            assert rows[key][name][0][:2] == [0, len(text)]


def test_named_columns(run: dataworth.Scores, tmp_path: Path, dw: Invoke) -> None:  # noqa: F811
    out = tmp_path / "out"
    shown = dw("table", run.folder, "--attributes", out, "--column", "share:exact_substrings")
    assert shown.exit_code == 0, shown.output
    assert all(list(row) == ["dataworth__share__exact_substrings"] for row in read(out).values())
    with pytest.raises(ConfigError, match="name columns of numbers"):
        run.write_attributes(out, ["id"])
    assert dw("table", run.folder, "--attributes", out, "--column", "none").exit_code == 1
