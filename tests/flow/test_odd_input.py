"""Input that is odd and still right, or that one line is said about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataworth
from dataworth.errors import DataworthError, InputError
from flow.pools import document, write, written

GOOD = [document(f"a document of a few words, the number {number}") for number in range(30)]
MARK = "\ufeff"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write(tmp_path / "target.jsonl", GOOD[:6])


def test_a_target_of_one_document(tmp_path: Path) -> None:
    """Nothing can be held out of it, and the report says what was measured on."""
    pool = write(tmp_path / "pool.jsonl", GOOD)
    target = write(tmp_path / "one.jsonl", [document("a single example")])
    made = dataworth.select(pool, target, "10-docs", out=tmp_path / "out", engine=1)
    (facts,) = made.metrics["targets"]
    assert (facts["documents"], facts["gain"]["held_out"]) == (1, False)
    assert len(made) == 10


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_targets_without_a_document(content: bytes, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(content)
    pool = write(tmp_path / "pool.jsonl", GOOD)
    for name in ("file", "folder"):
        given = empty if name == "file" else write(tmp_path / "t" / "e.jsonl", []).parent
        with pytest.raises(InputError, match="holds no document") as error:
            dataworth.select(pool, given, "10-docs", engine=1)
        assert "\n" not in str(error.value)


def test_bad_targets_are_left_early(tmp_path: Path) -> None:
    """Lines that cannot become few enough any more are not read to their end."""
    pool = write(tmp_path / "pool.jsonl", GOOD)
    bad = [b'{"content": "' + b"x" * 200 + b'"}'] * 20_000
    with pytest.raises(InputError, match="of 20000 lines are bad"):
        dataworth.select(pool, write(tmp_path / "bad.jsonl.zst", bad), engine=1)
    with pytest.raises(InputError, match=r"missing_field \(text; the row has content\)") as error:
        dataworth.select(pool, write(tmp_path / "bad.jsonl", bad), engine=1)
    assert int(str(error.value).split(" of ")[1].split()[0]) < 20_000
    # What may still be made up for is: few bad lines come first, and many good ones then.
    mixed = [*bad[:1000], *[document(f"words {number}") for number in range(30_000)]]
    target = write(tmp_path / "mixed.jsonl", mixed)
    assert dataworth.select(pool, target, "5-docs", max_bad=0.05, engine=1)


def test_files_of_one_name(target: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        lines = [document(f"words of {folder}, number {number}") for number in range(10)]
        write(tmp_path / folder / "part.jsonl", lines)
    pools = [tmp_path / "one", tmp_path / "two" / "part.jsonl"]
    made = dataworth.select(pools, target, "100%", format="jsonl", out=tmp_path / "out", engine=1)
    assert len(made) == len(set(written(tmp_path / "out"))) == 20
    with pytest.raises(DataworthError, match=r"may mean .*one/part.jsonl, .*two/part.jsonl"):
        made.explain("part.jsonl:0")
    found = made.explain("two/part.jsonl:0")["document"]
    assert "words of two" in json.dumps(found)


def test_zero_bytes_in_texts(target: Path, tmp_path: Path) -> None:
    """Escaped they are part of a text, as of labels; as they are, JSON does not allow them."""
    odd = [document("zero \x00 in it", kind="a\x00b", id="\x00"), document("\x00", kind="c")]
    pool = write(tmp_path / "pool.jsonl", [*GOOD, *odd])
    pq.write_table(pa.table({"text": ["zero \x00 in Parquet"]}), tmp_path / "pool.parquet")
    made = dataworth.select(
        [pool, tmp_path / "pool.parquet"],
        target,
        "100%",
        group_by="kind",
        id_field="id",
        format="jsonl",
        out=tmp_path / "out",
        engine=1,
    )
    account = made.metrics["accounting"]
    assert account["documents"] == 33
    kept = written(tmp_path / "out")
    assert odd[0] in kept and any(b"zero \\u0000 in Parquet" in line for line in kept)
    assert made.scores.steps and (tmp_path / "out" / "report.html").is_file()
    pool = write(tmp_path / "raw.jsonl", [*GOOD, b'{"text": "zero \x00 raw"}'])
    with pytest.raises(InputError, match="invalid_json"):
        dataworth.select(pool, target, "100%", engine=1)


def test_byte_order_marks(target: Path, tmp_path: Path) -> None:
    """One at a file's start is none of the text, in a text it stays, before a line it is told."""
    inside = document(f"words {MARK} around it")
    lines = [MARK.encode() + GOOD[0], *GOOD[1:], inside]
    pool = write(tmp_path / "pool.jsonl", lines)
    made = dataworth.select(pool, target, "100%", format="jsonl", out=tmp_path / "out", engine=1)
    assert len(made) == 31
    assert inside in written(tmp_path / "out") and GOOD[0] in written(tmp_path / "out")
    joined = write(tmp_path / "joined.jsonl", [*GOOD, *lines])
    with pytest.raises(InputError, match=r"line 31: invalid_json \(the line begins with a byte"):
        dataworth.select(joined, target, "100%", engine=1)
    assert len(dataworth.select(joined, target, "100%", max_bad=0.1, engine=1)) == 31


def test_ids_of_mixed_types(target: Path, tmp_path: Path) -> None:
    ids: list[Any] = [7, "eight", 9.5, None, {"a": 1}, True, [1], 2**70, -0.0, "\U0001f600"]
    lines = [document(f"words, number {place}", id=id) for place, id in enumerate(ids)]
    folder = tmp_path / "pool"
    write(folder / "a.jsonl", lines)
    table = pa.table({"text": ["words of Parquet"], "id": pa.array([7], pa.int32())})
    pq.write_table(table, folder / "b.parquet")
    table = pa.table({"text": ["words of strings"], "id": ["ten"]})
    pq.write_table(table, folder / "c.parquet")
    scores = dataworth.score(folder, target, id_field="id", out=tmp_path / "out", engine=1)
    found = scores.to_arrow()["id"].to_pylist()
    assert found[:2] == ["7", "eight"] and found[3:7] == [None, '{"a":1}', "true", "[1]"]
    assert found[9:] == ["\U0001f600", "7", "ten"]
    made = scores.choose("100%")
    assert "words of strings" in json.dumps(made.explain("ten")["document"])
    assert "number 1" in json.dumps(made.explain("eight")["document"])


def test_odd_keys(target: Path, tmp_path: Path) -> None:
    """The last of equal keys counts, also as a label; lone surrogates spoil a line anywhere."""
    twice = b'{"text": "of one", "kind": "x", "text": "of two words", "kind": "y"}'
    pool = write(tmp_path / "pool.jsonl", [*GOOD, twice, b'{"text": "words", "kind": "\\udc00"}'])
    made = dataworth.select(pool, target, "100%", group_by="kind", max_bad=0.5, engine=1)
    assert made.metrics["accounting"]["bad"] == {"lone_surrogate": 1}
    (composition,) = made.metrics["composition"]
    assert {part["value"] for part in composition["parts"]} == {None, "y"}
    assert "of two words" in json.dumps(made.explain("of two words")["document"])
