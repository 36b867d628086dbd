"""Input that is wrong: what can be skipped is counted, what cannot is one clear line."""

from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

import dataworth
from dataworth.corpus.read import find as find_module
from dataworth.corpus.write import shards as shards_module
from dataworth.engine import files as files_module
from dataworth.errors import DataworthError, InputError
from dataworth.flow import annotating
from flow.pools import bad_lines, document, leftovers, scatter, shards, texts, write, written

GOOD = [document(f"a document of a few words, the number {number}") for number in range(40)]

BAD: dict[str, tuple[bytes, list[str]]] = {
    "broken JSON": (b'{"text": "no end"', ["invalid_json"]),
    "no JSON": (b"a line of text", ["invalid_json"]),
    "two objects": (b'{"text": "one"}{"text": "two"}', ["two_objects"]),
    "over two lines": (b'{"text":\n"one"}', ["invalid_json", "invalid_json"]),
    "a list": (b'["text"]', ["not_an_object"]),
    "a missing field": (b'{"content": "one"}', ["missing_field"]),
    "null": (b'{"text": null}', ["null_text"]),
    "empty": (b'{"text": ""}', ["empty_text"]),
    "a number": (b'{"text": 5}', ["text_not_a_string"]),
    "invalid UTF-8": (b'{"text": "caf\xe9"}', ["invalid_utf8"]),
    "a lone surrogate": (b'{"text": "\\ud800"}', ["lone_surrogate"]),
    "deep nesting": (
        b'{"text": "deep", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        ["nested_too_deep"],
    ),
}

FINE: dict[str, tuple[bytes, str]] = {
    "duplicate keys": (b'{"text": "first of two", "text": "second of two"}', "second of two"),
    "escapes": (b'{"text": "caf\\u00e9 \\ud83d\\ude00"}', "caf\u00e9 \U0001f600"),
    "white space": (b'  {"text" : "between blanks"}\t ', "between blanks"),
}


def select(pool: Any, math: Path, out: Path | None = None, **options: Any) -> dataworth.Selection:
    fields: dict[str, Any] = {"max_bad": 0.5, "format": "jsonl", **options}
    return dataworth.select(pool, math, "100%", out=out, **fields)


def fails(pool: Any, math: Path, out: Path, *said: str, **options: Any) -> str:
    """The run fails with a message that says these things, and leaves no output."""
    with pytest.raises(DataworthError) as error:
        dataworth.select(pool, math, out=out, **options)
    for part in said:
        assert part in str(error.value)
    assert not (out / "data").exists() or not list((out / "data").iterdir())
    assert leftovers(out) == []
    return str(error.value)


class TestLines:
    @pytest.mark.parametrize("name", BAD)
    @pytest.mark.parametrize("form", ["jsonl", "jsonl.zst"])
    def test_skipped(self, name: str, form: str, math: Path, tmp_path: Path):
        line, reasons = BAD[name]
        pool = write(tmp_path / f"pool.{form}", [*GOOD[:20], line, b"", *GOOD[20:]])
        found = select(pool, math, tmp_path / "out")
        account = found.metrics["accounting"]
        assert account["documents"] == 40
        assert account["blank"] == 1
        assert account["bad"] == dict(Counter(reasons))
        records = bad_lines(tmp_path / "out")
        assert [record["reason"] for record in records] == reasons
        assert [record["line"] for record in records] == [21, 22][: len(reasons)]
        assert {record["file"] for record in records} == {str(pool)}
        for record, part in zip(records, line.split(b"\n"), strict=True):
            assert record["bytes"] == len(part)
            assert record["sample"] == part[:1024].decode("utf-8", "backslashreplace")
            assert record["detail"]
        assert records[0]["offset"] == sum(len(good) + 1 for good in GOOD[:20])
        assert sorted(written(tmp_path / "out")) == sorted(GOOD)

    @pytest.mark.parametrize("name", FINE)
    def test_taken(self, name: str, math: Path, tmp_path: Path):
        line, text = FINE[name]
        found = select(write(tmp_path / "pool.jsonl", [*GOOD, line]), math, tmp_path / "out")
        assert found.metrics["accounting"]["bad"] == {}
        kept = written(tmp_path / "out")
        assert line.strip() in [row.strip() for row in kept]
        assert found.explain(text)["document"]["text"] == text

    def test_line_ends_and_marks(self, math: Path, tmp_path: Path):
        """A byte order mark, CRLF, blank lines of all sorts, no line end after the last line."""
        data = b"\xef\xbb\xbf" + b"\r\n".join([*GOOD[:10], b"", b"  \t", *GOOD[10:]])
        (tmp_path / "pool.jsonl").write_bytes(data)
        found = select(tmp_path / "pool.jsonl", math, tmp_path / "out")
        account = found.metrics["accounting"]
        assert (account["documents"], account["blank"], account["bad"]) == (40, 2, {})
        assert sorted(written(tmp_path / "out")) == sorted(GOOD)

    def test_a_cut_last_line(self, math: Path, tmp_path: Path):
        (tmp_path / "pool.jsonl").write_bytes(b"\n".join(GOOD)[:-9])
        select(tmp_path / "pool.jsonl", math, tmp_path / "out")
        (record,) = bad_lines(tmp_path / "out")
        assert (record["line"], record["reason"]) == (40, "invalid_json")

    def test_a_long_line(self, math: Path, tmp_path: Path):
        line = document("x" * 100_000)
        pool = write(tmp_path / "pool.jsonl", [*GOOD[:5], line, *GOOD[5:]])
        select(pool, math, tmp_path / "out", max_line_bytes=50_000)
        (record,) = bad_lines(tmp_path / "out")
        assert (record["line"], record["reason"]) == (6, "line_too_long")
        assert (record["bytes"], len(record["sample"])) == (len(line), 1024)

    def test_parquet_rows(self, math: Path, tmp_path: Path):
        rows = [{"text": text} for text in texts(GOOD)]
        rows[7]["text"] = None
        rows[9]["text"] = ""
        write(tmp_path / "pool.parquet", [json.dumps(row).encode() for row in rows])
        found = select(tmp_path / "pool.parquet", math, tmp_path / "out", format="parquet")
        assert found.metrics["accounting"]["bad"] == {"null_text": 1, "empty_text": 1}
        assert [(r["line"], r["reason"]) for r in bad_lines(tmp_path / "out")] == [
            (8, "null_text"),
            (10, "empty_text"),
        ]

    @pytest.mark.usefixtures("small_units")
    @pytest.mark.parametrize("workers", [1, 4])
    def test_line_numbers_through_units(
        self, workers: int, lines: list[bytes], math: Path, tmp_path: Path
    ):
        """Absolute, though each unit counts from its own first line; blank lines count too."""
        files = {}
        for name in ("b.jsonl", "a.jsonl", "deep/a.jsonl.gz", "c.parquet"):
            mine = list(lines)
            if name.endswith("parquet"):
                places = [0, 99, 100, 699]
                for place in places:
                    mine[place] = b'{"text": ""}'
            else:
                places = [0, 3, 200, 201, 450, 700, 701]
                for place in places:
                    mine.insert(place, b"" if place == 3 else b'{"text": null}')
            files[str(tmp_path / "pool" / name)] = [p + 1 for p in places if p != 3]
            write(tmp_path / "pool" / name, mine)
        found = select(tmp_path / "pool", math, tmp_path / "out", engine=workers)
        assert len(found.scores.scored.corpus.units) > 12
        got: dict[str, list[int]] = {}
        for record in bad_lines(tmp_path / "out"):
            got.setdefault(record["file"], []).append(record["line"])
        assert got == files
        assert list(got) == sorted(got)
        tally = found.scores.table.tally
        assert sum(tally.lines) == tally.documents + tally.bad.total() + tally.blank

    def test_too_many(self, math: Path, tmp_path: Path):
        pool = tmp_path / "pool"
        write(pool / "a.jsonl", GOOD)
        write(pool / "b.jsonl", [*GOOD[:11], b"{", *GOOD[11:], b'{"text": 1}'])
        said = fails(pool, math, tmp_path / "out", "2 of 82", "1.00%", "1 invalid_json")
        assert f"{pool / 'b.jsonl'}, line 12: invalid_json" in said
        assert "--max-bad" in said
        assert len(select(pool, math, tmp_path / "more", max_bad=0.03)) == 40

    def test_one_percent_is_allowed(self, lines: list[bytes], math: Path, tmp_path: Path):
        pool = write(tmp_path / "pool.jsonl", [*lines, *[b"{"] * 7])
        assert len(dataworth.select(pool, math, "100%")) == 700
        pool = write(tmp_path / "pool.jsonl", [*lines, *[b"{"] * 8])
        with pytest.raises(InputError, match="line 701: invalid_json"):
            dataworth.select(pool, math, "100%")

    @pytest.mark.usefixtures("small_units")
    def test_too_many_in_a_large_pool(self, small_pool: Path, math: Path, tmp_path: Path):
        """Where only windows are looked at first, the whole decides in the end."""
        rows = small_pool.read_bytes().split(b"\n")[:-1]
        options: dict[str, Any] = {"sample_bytes": 1 << 16}
        few = [b"{" if n % 80 == 7 else row for n, row in enumerate(rows)]
        pool = write(tmp_path / "few.jsonl", few)
        said = fails(pool, math, tmp_path / "few", "line 8: invalid_json", **options)
        assert f"{sum(row == b'{' for row in few)} of {len(few)} lines" in said
        assert len(bad_lines(tmp_path / "few")) == sum(row == b"{" for row in few)
        many = [b"{" if n % 3 == 1 else row for n, row in enumerate(rows)]
        pool = write(tmp_path / "many.jsonl", many)
        fails(pool, math, tmp_path / "many", "line 2: invalid_json", **options)
        assert not (tmp_path / "many" / "table").exists()

    def test_a_field_missing_in_some_files(self, math: Path, tmp_path: Path):
        write(tmp_path / "pool" / "a.jsonl", GOOD)
        write(tmp_path / "pool" / "b.jsonl", [b'{"content": "another name"}'] * 10)
        fails(tmp_path / "pool", math, tmp_path / "out", "10 missing_field", "b.jsonl, line 1")
        fails(tmp_path / "pool", math, tmp_path / "out1", "b.jsonl: gives no document", max_bad=0.5)
        found = select(tmp_path / "pool", math, tmp_path / "out2", max_bad=1.0)
        assert found.metrics["accounting"]["bad"] == {"missing_field": 10}

    def test_a_column_missing_in_some_parquet_files(self, math: Path, tmp_path: Path):
        write(tmp_path / "pool" / "a.parquet", GOOD)
        write(tmp_path / "pool" / "b.parquet", [b'{"content": "another name"}'] * 10)
        said = fails(tmp_path / "pool", math, tmp_path / "out", "b.parquet")
        assert "text" in said


class TestFiles:
    @pytest.mark.parametrize("damage", ["cut", "changed", "no such thing"])
    @pytest.mark.parametrize("form", ["jsonl.gz", "jsonl.zst", "parquet"])
    def test_damaged(self, form: str, damage: str, lines: list[bytes], math: Path, tmp_path: Path):
        pool = scatter(tmp_path / "pool", lines, ["a.jsonl", f"b.{form}"])
        path = pool / f"b.{form}"
        data = bytearray(path.read_bytes())
        if damage == "cut":
            data = data[: len(data) // 2]
        elif damage == "changed":
            middle = len(data) * 2 // 5  # of a row group, in the texts
            for place in range(middle, middle + 400):
                data[place] ^= 0x5A
        else:
            data = bytearray(b"this is no such file")
        path.write_bytes(data)
        fails(pool, math, tmp_path / "out", str(path), engine=2)

    def test_an_empty_file_among_others(self, math: Path, tmp_path: Path):
        """Empty in every way: no bytes, blank lines alone, no rows, nothing compressed."""
        pool = tmp_path / "pool"
        write(pool / "b.jsonl", [document(f"words, number {n}", g="x") for n in range(40)])
        (pool / "a.jsonl").write_bytes(b"")
        (pool / "c.jsonl").write_bytes(b"\n\n \n")
        (pool / "d.jsonl.gz").write_bytes(gzip.compress(b""))
        (pool / "e.jsonl.zst").write_bytes(zstandard.compress(b""))
        (pool / "f.txt").write_bytes(b"")
        table = pq.read_table(write(tmp_path / "rows.parquet", GOOD[:1])).slice(0, 0)
        pq.write_table(table, pool / "g.parquet")
        for options in ({}, {"group_by": "g", "id_field": "n"}):
            found = select(pool, math, **options)
            assert len(found) == 40
            assert found.metrics["accounting"]["blank"] == 3
            assert len(found.scores.to_arrow()) == 40

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            ({}, "the folder holds no file that dataworth reads"),
            ({"notes.pdf": b"%PDF"}, "1 with .pdf"),
            ({"a.jsonl": b""}, "the pool holds no document"),
            ({"a.jsonl": b"\n\n"}, "the pool holds no document"),
        ],
    )
    def test_nothing_there(self, files: dict[str, bytes], said: str, math: Path, tmp_path: Path):
        pool = tmp_path / "pool"
        pool.mkdir()
        for name, data in files.items():
            (pool / name).write_bytes(data)
        fails(pool, math, tmp_path / "out", str(pool), said)

    @pytest.mark.parametrize("name", ["missing.jsonl", "*.jsonl", "folder/"])
    def test_no_match(self, name: str, math: Path, tmp_path: Path):
        fails(f"{tmp_path}/{name}", math, tmp_path / "out", f"{tmp_path}/{name}".rstrip("/"))
        with pytest.raises(InputError, match="missing"):
            dataworth.select(GOOD_TEXTS, tmp_path / "missing.jsonl")

    def test_unreadable(self, math: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        pool = tmp_path / "pool"
        write(pool / "a.jsonl", GOOD)
        path = write(pool / "b.jsonl", GOOD)
        path.chmod(0)
        if os.access(path, os.R_OK):  # as root
            opened = find_module.Path.open

            def refuse(self: Path, *args: Any, **options: Any) -> Any:
                if self == path:
                    raise PermissionError(errno.EACCES, "Permission denied", str(self))
                return opened(self, *args, **options)

            monkeypatch.setattr(Path, "open", refuse)
        fails(pool, math, tmp_path / "out", f"{path}: cannot be read, permission denied")

    def test_smaller_than_the_budget(self, math: Path, tmp_path: Path):
        pool = write(tmp_path / "pool.jsonl", GOOD)
        found = dataworth.select(pool, math, "1B", out=tmp_path / "out")
        assert len(found) == 40
        assert "all 40 documents" in found.metrics["accounting"]["budget"]["note"]

    def test_one_document(self, math: Path, tmp_path: Path):
        pool = write(tmp_path / "pool.jsonl", GOOD[:1])
        assert len(dataworth.select(pool, math, "100%", out=tmp_path / "out")) == 1

    def test_only_signs_and_spaces(self, math: Path, tmp_path: Path):
        """Documents without a word have a utility all the same: nothing speaks for them."""
        odd = [document(text) for text in (" ", "\n\t", "\u200b", "...", "\U0001f600")]
        found = select(write(tmp_path / "pool.jsonl", [*GOOD, *odd]), math, tmp_path / "out")
        assert found.metrics["accounting"]["documents"] >= 40
        adds = found.metrics["accounting"]
        assert adds["documents"] == sum(adds["dropped"].values()) + adds["eligible"]

    def test_all_too_short(self, math: Path, tmp_path: Path):
        pool = write(tmp_path / "pool.jsonl", GOOD)
        steps = "dsir(minimum=1000)"
        found = dataworth.select(pool, math, "10%", steps=steps, out=tmp_path / "out")
        account = found.metrics["accounting"]
        assert len(found) == 0
        assert account["eligible"] == 0
        assert account["dropped"] == {"shorter than 1000 words": 40}
        assert any("Nothing was selected" in said for said in found.metrics["warnings"])
        assert written(tmp_path / "out") == []
        assert (tmp_path / "out" / "report.html").is_file()
        again = dataworth.load(tmp_path / "out")
        assert len(again.choose("10%")) == 0

    def test_all_dropped_by_a_step_before(self, math: Path, tmp_path: Path):
        pool = write(tmp_path / "pool.jsonl", GOOD)
        steps = ["length(minimum=1000)", "dsir"]
        fails(pool, math, tmp_path / "out", "no document of the pool", steps=steps)


GOOD_TEXTS = list(texts(GOOD))


class TestTargets:
    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"", "holds no document"),
            (b"\n \n", "holds no document"),
            (b'{"content": "another field"}\n', "1 of 1 lines are bad"),
            (b'{"text": ""}\n', "1 of 1 lines are bad"),
            (b'{"text": "..."}\n', ""),
        ],
    )
    def test_nothing_to_learn(self, data: bytes, said: str, tmp_path: Path):
        target = tmp_path / "wanted.jsonl"
        target.write_bytes(data)
        if not said:
            assert len(dataworth.select(GOOD_TEXTS, target, "50%")) > 0
            return
        with pytest.raises(InputError, match=said) as error:
            dataworth.select(GOOD_TEXTS, target)
        assert "wanted" in str(error.value)

    @pytest.mark.parametrize("name", ["", "a:b", "joint"])
    def test_names(self, name: str):
        with pytest.raises(DataworthError, match="cannot be named"):
            dataworth.select(GOOD_TEXTS, {name: GOOD_TEXTS})

    def test_the_pool_itself(self, lines: list[bytes], tmp_path: Path):
        """Nothing to gain: the utilities are near 0, and the selection is near random."""
        pool = write(tmp_path / "pool.jsonl", lines)
        found = dataworth.select(pool, pool, "10%", out=tmp_path / "out")
        (target,) = found.metrics["targets"]
        assert target["gain"]["value"] < 0.1 * target["gain"]["bound"]
        assert found.metrics["accounting"]["kept"]["documents"] > 10


class TestOutput:
    """Errors of writing, at every kind of file, leave what was there and nothing half-written."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 900 kB."""
        place = tmp_path / "disk"
        place.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(place)],
            capture_output=True,
            check=False,
        )
        if made.returncode:
            pytest.skip("needs a mount of its own")
        yield place
        subprocess.run(["umount", str(place)], check=True)

    def fill(self, disk: Path, leave: int) -> Path:
        """A file that takes all but `leave` bytes."""
        state = os.statvfs(disk)
        ballast = disk / "ballast"
        ballast.write_bytes(b"\0" * max(0, state.f_bavail * state.f_frsize - leave))
        return ballast

    @pytest.mark.usefixtures("small_units")
    @pytest.mark.parametrize("leave", [0, 20, 200, 340, 400, 450, 500, 600, 800])
    def test_disk_full(self, leave: int, disk: Path, lines: list[bytes], tmp_path: Path):
        """Wherever it strikes: told as such, no half files; with room again, the run goes on."""
        pool = write(tmp_path / "pool.jsonl", lines[:300])
        target = write(tmp_path / "target.jsonl", lines[300:350])
        options: dict[str, Any] = {"budget": "50%", "format": "jsonl", "shard_bytes": 50_000}
        whole = dataworth.select(pool, target, out=tmp_path / "whole", **options)
        ballast = self.fill(disk, leave * 1024)
        out = disk / "out"
        with pytest.raises(DataworthError, match=r"disk is full|cannot be written") as error:
            dataworth.select(pool, target, out=out, **options)
        assert str(disk) in str(error.value)
        assert leftovers(disk) == []
        for path in out.rglob("*.json"):
            json.loads(path.read_text())
        for path in out.rglob("*.parquet"):
            pq.read_table(path)
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        found = dataworth.select(pool, target, out=out, **options)
        assert len(found) == len(whole)
        assert shards(out) == shards(tmp_path / "whole")

    @pytest.mark.parametrize("place", ["table", "quarantine", "shard", "report"])
    def test_errors_of_writing(
        self, place: str, math: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """The same where nothing can be mounted: the system refuses to write."""
        pool = write(tmp_path / "pool.jsonl", [*GOOD, b"{"])
        options: dict[str, Any] = {"max_bad": 0.5, "format": "jsonl"}

        def full(*_: Any, **__: Any) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            if place == "table":
                patch.setattr(annotating.PartWriter, "add", full)
            elif place == "quarantine":
                patch.setattr(annotating.Quarantine, "add", full)
            elif place == "shard":
                patch.setattr(shards_module.os, "fsync", full)
            else:
                patch.setattr("dataworth.report.page.render", full)
            with pytest.raises(DataworthError, match="disk is full"):
                dataworth.select(pool, math, "50%", out=tmp_path / "out", **options)
        assert leftovers(tmp_path / "out") == []
        if place in ("table", "quarantine"):
            assert not list((tmp_path / "out" / "table").glob("*/*.parquet"))
        if place != "report":
            assert not list(tmp_path.glob("out/data/*"))
        dataworth.select(pool, math, "50%", out=tmp_path / "out", **options)
        assert len(bad_lines(tmp_path / "out")) == 1
        assert (tmp_path / "out" / "report.html").is_file()

    def test_no_right_to_write(self, math: Path, tmp_path: Path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DataworthError, match=r"cannot be written|is a file"):
            dataworth.select(GOOD_TEXTS, math, out=tmp_path / "file" / "out")

    def test_temporary_names_are_known(self):
        """What `sweep` removes is what a crash can leave."""
        assert files_module._TEMPORARY.fullmatch(
            shards_module.temporary_name(Path("a/train-00000")).name
        )

    def test_shards_that_are_there(self, math: Path, tmp_path: Path):
        found = dataworth.select(GOOD_TEXTS, math, "50%")
        found.write(tmp_path / "my data")
        with pytest.raises(DataworthError, match="holds a selection already"):
            found.write(tmp_path / "my data")
        found.write(tmp_path / "my data", format="jsonl", overwrite=True)
        assert [p.name for p in (tmp_path / "my data" / "data").iterdir()] == [
            "train-00000-of-00001.jsonl"
        ]
