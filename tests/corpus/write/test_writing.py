"""Writing the chosen rows."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dataworth.corpus.fields import Fields
from dataworth.corpus.read.sources import SourceFile, resolve
from dataworth.corpus.write import convert, shards
from dataworth.corpus.write.card import card, size_category, write_card
from dataworth.corpus.write.spill import POSITION, Spill, even_edges
from dataworth.corpus.write.writing import Limits, ShardInfo, ShardWriter, default_format
from dataworth.errors import ConfigError, DataworthError, InputError, RunError

FORMATS = ("jsonl", "jsonl.gz", "jsonl.zst", "parquet")


def content(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        return gzip.decompress(data)
    if path.name.endswith(".zst"):
        # What reads one frame only must get everything.
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return data


def written(folder: Path) -> list[bytes]:
    return b"".join(content(path) for path in sorted(folder.iterdir())).splitlines()


def lines(count: int, size: int = 0) -> list[bytes]:
    return [b'{"text": "%d%s"}' % (number, b"x" * (number % (size + 1))) for number in range(count)]


def spans(count: int, parts: int, seed: int = 0) -> list[NDArray[np.int64]]:
    """All positions, shuffled, in parts of uneven sizes."""
    generator = np.random.default_rng(seed)
    cuts = np.sort(generator.integers(0, count + 1, parts - 1))
    return np.split(generator.permutation(count), cuts)


def limits(options: dict[str, Any]) -> Limits:
    """Takes what belongs there out of the options."""
    names = ("shard_bytes", "memory_bytes", "bucket_bytes", "threads")
    return Limits(**{name: options.pop(name) for name in names if name in options})


def write(
    folder: Path, rows: list[bytes], form: str = "jsonl", parts: int = 5, seed: int = 0, **more: Any
) -> list[ShardInfo]:
    """Writes rows, which arrive shuffled."""
    options = {"expected_bytes": sum(map(len, rows)), "work": folder.parent / "work", **more}
    options["limits"] = limits(options)
    with ShardWriter(folder, form, total_rows=len(rows), **options) as writer:
        for positions in spans(len(rows), parts, seed):
            writer.add(positions, [rows[position] for position in positions])
        return writer.finish()


@pytest.mark.parametrize("form", FORMATS[:3])
def test_rows_are_their_own_bytes_in_order(tmp_path: Path, form: str) -> None:
    rows = [b'{"text":"\\u00e9 \xc3\xa9"}', b'{ "a" : 1.0e2,  "text":"x","a":2 }', b'{"text":""}\t']
    (info,) = write(tmp_path / "data", rows, form)
    assert info.name == f"train-00000-of-00001.{form}"
    assert written(tmp_path / "data") == rows
    path = tmp_path / "data" / info.name
    assert info == ShardInfo(info.name, 3, path.stat().st_size, sum(map(len, rows)) + 3)
    assert content(path).endswith(b"\n")
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_shards_have_even_sizes_and_the_rows_in_order(tmp_path: Path, form: str) -> None:
    rows = lines(5_000, 100)
    infos = write(tmp_path / "data", rows, form, shard_bytes=50_000)
    total = sum(info.raw_bytes for info in infos)
    assert len(infos) == -(-total // 50_000) > 4
    assert [info.name for info in infos] == [
        f"train-{number:05d}-of-{len(infos):05d}.{form}" for number in range(len(infos))
    ]
    assert sum(info.rows for info in infos) == 5_000
    if form == "parquet":
        tables = [pq.read_table(tmp_path / "data" / info.name) for info in infos]
        texts = pa.concat_tables(tables).column("text").to_pylist()
        assert texts == [orjson.loads(row)["text"] for row in rows]
    else:
        assert total == sum(map(len, rows)) + 5_000
        assert max(info.raw_bytes for info in infos) < 50_000 + 2 * 130
        assert written(tmp_path / "data") == rows


@pytest.mark.parametrize("form", FORMATS)
def test_the_bytes_do_not_depend_on_how_the_rows_came(tmp_path: Path, form: str) -> None:
    rows = lines(3_000, 200)
    options = {"shard_bytes": 100_000, "bucket_bytes": 20_000}
    write(tmp_path / "a", rows, form, parts=1, **options)
    write(tmp_path / "b", rows, form, parts=40, seed=1, memory_bytes=5_000, threads=3, **options)
    with ShardWriter(
        tmp_path / "c",
        form,
        total_rows=3_000,
        expected_bytes=sum(map(len, rows)),
        work=tmp_path / "work",
        limits=Limits(memory_bytes=30_000, **options),
    ) as writer:

        def add(positions: NDArray[np.int64]) -> None:
            writer.add(positions, [rows[position] for position in positions])

        with ThreadPoolExecutor(7) as threads:
            list(threads.map(add, spans(3_000, 30, 2)))
        writer.finish()
    first = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert len(first) > 2
    for other in ("b", "c"):
        assert {path.name: path.read_bytes() for path in (tmp_path / other).iterdir()} == first


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.binary(max_size=50).filter(lambda row: b"\n" not in row and b"\r" not in row)),
    seed=st.integers(0, 10),
    shard=st.integers(1, 400),
    bucket=st.integers(1, 400),
    memory=st.integers(0, 400),
    expected=st.integers(0, 10_000),
)
def test_any_rows_any_limits(
    tmp_path_factory: pytest.TempPathFactory, rows: list[bytes], seed: int, **sizes: int
) -> None:
    folder = tmp_path_factory.mktemp("any") / "data"
    infos = write(
        folder,
        rows,
        seed=seed,
        shard_bytes=sizes["shard"],
        bucket_bytes=sizes["bucket"],
        memory_bytes=sizes["memory"],
        expected_bytes=sizes["expected"],
    )
    data = b"".join((folder / info.name).read_bytes() for info in infos)
    assert data == b"".join(row + b"\n" for row in rows)
    assert sum(info.rows for info in infos) == len(rows)
    assert all(info.rows for info in infos) or not rows
    assert {info.name for info in infos} == {path.name for path in folder.iterdir()}
    assert list((folder.parent / "work").iterdir()) == []


def test_memory_and_a_wrong_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets that turn out too large are split again, so that none is large."""
    seen: list[int] = []
    buckets = Spill.buckets

    def watch(self: Spill, limit: int) -> Iterator[tuple[int, int, list[pa.Table]]]:
        for low, high, tables in buckets(self, limit):
            seen.append(sum(table.nbytes for table in tables))
            yield low, high, tables

    monkeypatch.setattr(Spill, "buckets", watch)
    rows = lines(20_000, 100)
    write(tmp_path / "data", rows, expected_bytes=1, bucket_bytes=10_000, memory_bytes=50_000)
    assert written(tmp_path / "data") == rows
    assert len(seen) > 50
    assert max(seen) < 25_000


def test_one_huge_row(tmp_path: Path) -> None:
    rows = [b"a" * 10, b"b" * 1_000_000, b"c" * 10]
    infos = write(tmp_path / "data", rows, shard_bytes=1_000, bucket_bytes=100, memory_bytes=100)
    assert written(tmp_path / "data") == rows
    assert [info.rows for info in infos] in ([1, 1, 1], [1, 2], [2, 1])


def test_repeats(tmp_path: Path) -> None:
    with ShardWriter(
        tmp_path / "data", "jsonl", total_rows=5, expected_bytes=10, work=tmp_path
    ) as writer:
        writer.add(np.array([4, 0, 2]), [b"a", b"b"], index=np.array([0, 1, 0]))
        writer.add(np.array([1, 3]), [b"c"], index=np.array([0, 0]))
        writer.finish()
    assert written(tmp_path / "data") == [b"b", b"c", b"a", b"c", b"a"]


def test_nothing_chosen_is_one_empty_shard(tmp_path: Path) -> None:
    for form in FORMATS:
        (info,) = write(tmp_path / form, [], form)
        assert info.rows == info.raw_bytes == 0
        if form != "parquet":
            assert content(tmp_path / form / info.name) == b""
    assert pq.read_table(tmp_path / "parquet").column_names == ["text"]


def test_text_files_become_rows(tmp_path: Path) -> None:
    file = SourceFile("/pool/a.txt", "txt", None, 10, None)
    with ShardWriter(
        tmp_path / "data", "jsonl", total_rows=2, expected_bytes=10, work=tmp_path
    ) as writer:
        writer.add(np.array([1, 0]), ["größe\n2".encode(), b'"b"'], file=file)
        writer.finish()
    assert [orjson.loads(row) for row in written(tmp_path / "data")] == [
        {"text": '"b"', "source": "/pool/a.txt"},
        {"text": "größe\n2", "source": "/pool/a.txt"},
    ]


def test_pieces() -> None:
    rows = convert.piece_rows([b"a b", b"c"], "/pool/a.jsonl", [0, 17])
    assert [orjson.loads(row) for row in rows] == [
        {"text": "a b", "source": "/pool/a.jsonl", "source_offset": 0},
        {"text": "c", "source": "/pool/a.jsonl", "source_offset": 17},
    ]


def test_arrow_rows(tmp_path: Path) -> None:
    with ShardWriter(
        tmp_path / "data", "jsonl", total_rows=2, expected_bytes=10, work=tmp_path
    ) as writer:
        writer.add(np.array([1]), pa.array([b"a"], pa.binary()))
        writer.add(np.array([0]), pa.array([b"b"], pa.large_binary()))
        writer.add(np.array([], np.int64), [])
        writer.finish()
    assert written(tmp_path / "data") == [b"b", b"a"]


def test_default_format() -> None:
    jsonl = SourceFile("/a.jsonl", "jsonl", None, 1, None)
    parquet = SourceFile("/a.parquet", "parquet", None, 1, None)
    assert default_format([parquet, parquet]) == "parquet"
    assert default_format([parquet, jsonl]) == "jsonl.zst"
    assert default_format([]) == "jsonl.zst"
    assert default_format([parquet], Fields(split_words=100)) == "jsonl.zst"


class TestFailures:
    def test_unknown_format(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="'csv': one of jsonl, "):
            write(tmp_path / "data", [b"{}"], "csv")

    def test_existing_output_is_left_alone(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        write(folder, [b"old"])
        with pytest.raises(RunError, match="holds a selection already"):
            write(folder, [b"new"])
        assert written(folder) == [b"old"]
        (tmp_path / "data" / "notes.md").write_bytes(b"mine")
        write(folder, [b"new"] * 10, "jsonl.zst", shard_bytes=1, overwrite=True)
        assert not list(folder.glob("*.jsonl"))
        assert len(list(folder.glob("*.zst"))) == 10
        assert (folder / "notes.md").read_bytes() == b"mine"

    def test_an_interrupted_run_leaves_nothing(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        write(folder, [b"old"])
        with (
            pytest.raises(KeyboardInterrupt),
            ShardWriter(
                folder,
                "jsonl",
                total_rows=2,
                expected_bytes=9,
                work=tmp_path / "work",
                limits=Limits(memory_bytes=0),
                overwrite=True,
            ) as writer,
        ):
            writer.add(np.array([0]), [b"a"])
            raise KeyboardInterrupt
        assert written(folder) == [b"old"]
        assert list((tmp_path / "work").iterdir()) == []

    @pytest.mark.parametrize("form", FORMATS)
    def test_interrupted_while_writing(
        self, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finish = shards.Sink.finish
        calls = iter(range(100))

        def interrupt(self: shards.Sink) -> int:
            if next(calls) == 2:
                raise KeyboardInterrupt
            return finish(self)

        monkeypatch.setattr(shards.Sink, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "data", lines(50), form, shard_bytes=100)
        assert list((tmp_path / "data").iterdir()) == []

    def test_what_a_crash_left_is_cleared(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        (folder / ".train-00003.123-00ff00ff.tmp").write_bytes(b"half")
        (folder / ".mine.tmp").write_bytes(b"other")
        write(folder, [b"a"])
        assert sorted(path.name for path in folder.iterdir()) == [
            ".mine.tmp",
            "train-00000-of-00001.jsonl",
        ]

    def test_missing_rows(self, tmp_path: Path) -> None:
        with ShardWriter(
            tmp_path / "data", "jsonl", total_rows=3, expected_bytes=9, work=tmp_path
        ) as writer:
            writer.add(np.array([0]), [b"a"])
            with pytest.raises(RunError, match="2 of the 3 chosen rows were not found"):
                writer.finish()
        assert not (tmp_path / "data").exists()

    def test_wrong_calls(self, tmp_path: Path) -> None:
        with ShardWriter(
            tmp_path / "data", "jsonl", total_rows=3, expected_bytes=9, work=tmp_path
        ) as writer:
            with pytest.raises(ValueError, match="2 positions for 1 rows"):
                writer.add(np.array([0, 1]), [b"a"])
            for outside in (3, -1):
                with pytest.raises(IndexError):
                    writer.add(np.array([outside]), [b"a"])

    def test_columns_from_nowhere(self, tmp_path: Path) -> None:
        table = pa.table({"text": ["a"], "new": [1]})
        options: dict[str, Any] = {"total_rows": 1, "expected_bytes": 9, "work": tmp_path}
        with (
            ShardWriter(tmp_path / "a", "parquet", **options) as writer,
            pytest.raises(ValueError, match="give the schema"),
        ):
            writer.add(np.array([0]), table)
        with (
            ShardWriter(
                tmp_path / "a", "parquet", schema=pa.schema({"text": pa.string()}), **options
            ) as writer,
            pytest.raises(RunError, match="column 'new'"),
        ):
            writer.add(np.array([0]), table)

    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize("room", [0, 3, 3_000])
    def test_disk_full_in_a_shard(
        self, tmp_path: Path, form: str, room: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        generator = np.random.default_rng(0)
        rows = [b'{"text": "%s"}' % generator.bytes(20).hex().encode() for _ in range(2_000)]
        monkeypatch.setattr(shards, "open_for_writing", lambda path: Full(path, room))
        with pytest.raises(DataworthError, match=r"data.train-00000: the disk is full.*free some"):
            write(tmp_path / "data", rows, form)
        assert list((tmp_path / "data").iterdir()) == []

    def test_disk_full_while_rows_wait(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path, mode: str) -> Any:
            assert mode == "ab"
            return Full(path, 100)

        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(DataworthError, match=r"work.*the disk is full \(about .* needed\)"):
            write(tmp_path / "data", lines(100), memory_bytes=1_000)
        monkeypatch.undo()
        assert list((tmp_path / "work").iterdir()) == []

    def test_no_right_to_write(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_bytes(b"a file")
        with pytest.raises(DataworthError, match=r"data: cannot be written"):
            write(tmp_path / "data", [b"{}"])
        with pytest.raises(DataworthError, match="cannot be written"):
            write(tmp_path / "other", [b"{}"], work=tmp_path / "data")


class Full(io.BufferedWriter):
    """A file on a disk with so many bytes of room."""

    def __init__(self, path: Path, room: int) -> None:
        super().__init__(io.FileIO(path, "w"))
        self.room = room

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if size > self.room:
            raise OSError(28, "No space left on device")
        self.room -= size
        return super().write(data)


class TestParquet:
    def pool(self, folder: Path, *tables: pa.Table) -> list[SourceFile]:
        folder.mkdir(exist_ok=True)
        for number, table in enumerate(tables):
            pq.write_table(table, folder / f"{number}.parquet")
        return resolve(folder, spool=None)

    def copy(self, files: list[SourceFile], out: Path, form: str = "parquet", **more: int) -> None:
        """Writes all rows of all files, in reverse."""
        tables = [pq.read_table(file.path) for file in files]
        total = sum(map(len, tables))
        with ShardWriter(
            out,
            form,
            total_rows=total,
            expected_bytes=100 * total,
            work=out.parent / "work",
            schema=convert.parquet_schema(files),
            limits=Limits(**more),
        ) as writer:
            at = total
            for table in tables:
                for start in range(0, len(table), 7):
                    part = table.slice(start, 7)
                    at -= len(part)
                    writer.add(np.arange(at + len(part) - 1, at - 1, -1), part)
            writer.finish()

    def test_all_columns_and_types_are_kept(self, tmp_path: Path) -> None:
        table = pa.table(
            {
                "text": [f"t{number}" for number in range(100)],
                "when": pa.array(
                    [datetime.datetime(2020, 1, 2, 3, 4, 5)] * 100, pa.timestamp("us")
                ),
                "price": pa.array([decimal.Decimal("1.50")] * 100, pa.decimal128(10, 2)),
                "raw": [b"\x00\xff"] * 100,
                "tags": [["a", None]] * 100,
                "meta": [{"lang": "de", "n": None}] * 100,
                "kind": pa.array(["x", "y"] * 50).dictionary_encode(),
                "vector": pa.array([[1.0, 2.0]] * 100, pa.list_(pa.float32(), 2)),
                "none": pa.nulls(100),
                "small": pa.array([1] * 100, pa.uint8()),
                "map": pa.array([[("k", 1)]] * 100, pa.map_(pa.string(), pa.int32())),
            },
            metadata={"note": "kept"},
        )
        files = self.pool(tmp_path / "pool", table)
        expected = pq.read_table(files[0].path)
        small = {"memory_bytes": 1_000, "bucket_bytes": 2_000}
        for more in ({}, small):
            out = tmp_path / f"out{len(more)}"
            self.copy(files, out, "parquet", **more)
            (path,) = out.iterdir()
            result = pq.read_table(path)
            assert result.schema.equals(expected.schema, check_metadata=True)
            assert result.take(pa.array(np.arange(99, -1, -1))).to_pylist() == expected.to_pylist()

    def test_different_schemas_are_put_together(self, tmp_path: Path) -> None:
        files = self.pool(
            tmp_path / "pool",
            pa.table({"text": ["a"], "n": pa.array([1], pa.int32()), "meta": [{"x": 1}]}),
            pa.table({"n": [2.5], "text": ["b"], "meta": [{"y": "z"}], "more": ["m"]}),
            pa.table({"text": ["c"]}),
        )
        self.copy(files, tmp_path / "out", memory_bytes=0)
        assert pq.read_table(tmp_path / "out").to_pylist() == [
            {"text": "c", "n": None, "meta": None, "more": None},
            {"text": "b", "n": 2.5, "meta": {"x": None, "y": "z"}, "more": "m"},
            {"text": "a", "n": 1.0, "meta": {"x": 1, "y": None}, "more": None},
        ]

    def test_a_column_that_may_not_be_null_but_is_missing_elsewhere(self, tmp_path: Path) -> None:
        strict = pa.schema([pa.field("text", pa.string()), pa.field("n", pa.int64(), False)])
        files = self.pool(
            tmp_path / "pool",
            pa.table({"text": ["a"], "n": [1]}, strict),
            pa.table({"text": ["b"]}),
        )
        self.copy(files, tmp_path / "out")
        assert pq.read_table(tmp_path / "out").column("n").to_pylist() == [None, 1]

    def test_different_dictionaries(self, tmp_path: Path) -> None:
        parts = [pa.array([f"{i}"] * 3).dictionary_encode() for i in range(3)]
        files = self.pool(tmp_path / "pool", *(pa.table({"text": part}) for part in parts))
        self.copy(files, tmp_path / "out", memory_bytes=0)
        table = pq.read_table(tmp_path / "out")
        assert pa.types.is_dictionary(table.schema.field(0).type)
        assert table.column(0).to_pylist() == list("222111000")

    def test_types_that_do_not_fit_are_named(self, tmp_path: Path) -> None:
        files = self.pool(
            tmp_path / "pool", pa.table({"text": ["a"], "n": [1]}), pa.table({"n": ["x"]})
        )
        with pytest.raises(InputError) as caught:
            convert.parquet_schema(files)
        said = str(caught.value)
        for word in ("'n'", "int64", "string", files[0].path, files[1].path, "jsonl"):
            assert word in said

    def test_a_damaged_file_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        path.write_bytes(b"PAR1")
        with pytest.raises(InputError, match=r"a\.parquet"):
            convert.parquet_schema(resolve(path, spool=None))

    def test_no_parquet_no_schema(self) -> None:
        assert convert.parquet_schema([SourceFile("/a.jsonl", "jsonl", None, 1, None)]) is None

    def test_to_json_lines(self, tmp_path: Path) -> None:
        utc = datetime.UTC
        table = pa.table(
            {
                "text": ["größe"],
                "when": pa.array([datetime.datetime(2020, 1, 2, 3, 4, 5)], pa.timestamp("us")),
                "zone": pa.array(
                    [datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=utc)], pa.timestamp("s", "UTC")
                ),
                "nano": pa.array([1_577_934_245_000_000_001], pa.timestamp("ns")),
                "milli": pa.array([1_577_934_245_001_000_000], pa.timestamp("ns")),
                "day": [datetime.date(2020, 1, 2)],
                "price": [decimal.Decimal("1.50")],
                "took": [datetime.timedelta(seconds=1.5)],
                "meta": [{"lang": "de", "tags": ["a", None]}],
                "kind": pa.array(["x"]).dictionary_encode(),
                "none": pa.nulls(1),
            }
        )
        files = self.pool(tmp_path / "pool", table)
        self.copy(files, tmp_path / "out", "jsonl.zst")
        (row,) = written(tmp_path / "out")
        assert orjson.loads(row) == {
            "text": "größe",
            "when": "2020-01-02T03:04:05",
            "zone": "2020-01-02T03:04:05+00:00",
            "nano": "2020-01-02T03:04:05.000000001",
            "milli": "2020-01-02T03:04:05.001000",
            "day": "2020-01-02",
            "price": "1.50",
            "took": 1.5,
            "meta": {"lang": "de", "tags": ["a", None]},
            "kind": "x",
            "none": None,
        }

    @pytest.mark.parametrize(
        "column",
        [
            pa.array([b"x"]),
            pa.array([{"a": [b"x"]}]),
            pa.array([b"x"], pa.binary(1)),
            pa.array([b"x"]).dictionary_encode(),
        ],
    )
    def test_bytes_are_refused_as_json(self, column: pa.Array) -> None:
        with pytest.raises(InputError, match=r"column 'raw'.*cannot hold bytes"):
            convert.json_lines(pa.table({"text": ["a"], "raw": column}))


class TestJsonToParquet:
    def table(self, tmp_path: Path, rows: list[dict[str, Any]], **more: Any) -> pa.Table:
        encoded = [orjson.dumps(row) for row in rows]
        write(tmp_path / "out", encoded, "parquet", **more)
        return pq.read_table(tmp_path / "out")

    def test_types(self, tmp_path: Path) -> None:
        rows: list[dict[str, Any]] = [
            {"text": "a", "n": 1, "x": 1, "when": "2020-01-02T03:04:05", "meta": {"b": 1, "a": []}},
            {"n": 2, "text": "b", "x": 1.5, "when": "2020-01-02", "meta": {"c": "z"}},
            {"text": "c", "ok": True, "none": None, "meta": {"a": ["t"]}},
        ]
        for parts in (1, 3):
            table = self.table(tmp_path / str(parts), rows, parts=parts)
            assert table.column_names == ["text", "n", "x", "when", "meta", "ok", "none"]
            assert table.schema.field("n").type == pa.int64()
            assert table.schema.field("x").type == pa.float64()
            assert table.schema.field("when").type == pa.string()
            assert table.column("when").to_pylist() == [row.get("when") for row in rows]
            assert table.column("meta").to_pylist() == [
                {"b": 1, "a": [], "c": None},
                {"b": None, "a": None, "c": "z"},
                {"b": None, "a": ["t"], "c": None},
            ]

    @pytest.mark.parametrize("parts", [1, 2])
    @pytest.mark.parametrize(
        "values", [(1, "a"), ("a", 1), (1, [1]), ({"a": 1}, "b"), (True, 1), (-1, 2**63), ([1], {})]
    )
    def test_conflicts(self, tmp_path: Path, values: tuple[Any, Any], parts: int) -> None:
        rows = [b'{"n": %s}' % orjson.dumps(value) for value in values]
        with pytest.raises(InputError, match=r"field 'n'.*jsonl") as caught:
            write(tmp_path / "out", rows, "parquet", parts=parts, seed=3)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()

    def test_an_object_that_is_always_empty(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="field 'meta' holds an object that is always empty"):
            self.table(tmp_path, [{"text": "a", "meta": {"in": {}}}])
        table = self.table(tmp_path / "b", [{"meta": {}}, {"meta": {"a": 1}}], parts=2)
        assert table.column("meta").to_pylist() == [{"a": None}, {"a": 1}]

    def test_mixed_pool(self, tmp_path: Path) -> None:
        known = pa.table({"text": ["p"], "n": pa.array([1], pa.int32())})
        with ShardWriter(
            tmp_path / "out",
            "parquet",
            total_rows=3,
            expected_bytes=100,
            work=tmp_path,
            schema=known.schema,
            limits=Limits(memory_bytes=0),
        ) as writer:
            writer.add(np.array([2, 0]), [b'{"text":"j","n":7}', b'{"text":"k","more":[1]}'])
            writer.add(np.array([1]), known)
            writer.finish()
        assert pq.read_table(tmp_path / "out").to_pylist() == [
            {"text": "k", "n": None, "more": [1]},
            {"text": "p", "n": 1, "more": None},
            {"text": "j", "n": 7, "more": None},
        ]


class TestSpill:
    def test_even_edges(self) -> None:
        assert even_edges(0, 10, 3).tolist() == [0, 3, 6, 10]
        assert even_edges(5, 5, 1).tolist() == [5, 5]

    def test_nothing_is_written_before_it_must(self, tmp_path: Path) -> None:
        spill = Spill(even_edges(0, 100, 10), tmp_path / "spill", 10_000)
        spill.add(np.arange(50), pa.table({"a": ["x"] * 50}))
        assert not (tmp_path / "spill").exists()
        spill.add(np.arange(50, 100), pa.table({"a": ["x" * 1_000] * 50}))
        assert len(list((tmp_path / "spill").iterdir())) == 10
        seen = []
        for low, high, tables in spill.buckets(10_000):
            positions = pa.concat_tables(tables).column(POSITION).to_numpy()
            assert sorted(positions) == list(range(low, high))
            seen += list(range(low, high))
        assert seen == list(range(100))
        assert list((tmp_path / "spill").iterdir()) == []

    def test_added_from_threads(self, tmp_path: Path) -> None:
        spill = Spill(even_edges(0, 4_000, 16), tmp_path / "spill", 2_000)

        def add(start: int) -> None:
            for at in range(start, 4_000, 80):
                spill.add(np.arange(at, at + 10), pa.table({"a": np.arange(at, at + 10)}))

        threads = [threading.Thread(target=add, args=(start,)) for start in range(0, 80, 10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rows = [pa.concat_tables(tables) for _, _, tables in spill.buckets(10**9)]
        table = pa.concat_tables(rows).sort_by(POSITION)
        assert table.column("a").to_pylist() == list(range(4_000))
        assert table.column(POSITION).to_pylist() == list(range(4_000))


class TestCard:
    @pytest.mark.parametrize("form", FORMATS)
    def test_opened_by_datasets_with_no_code(
        self, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
        import datasets

        out = tmp_path / "out"
        rows = lines(300, 20)
        infos = write(out / "data", rows, form, shard_bytes=2_000)
        assert len(infos) > 2
        # What else a run leaves must not be taken for data.
        (out / "table").mkdir()
        pq.write_table(pa.table({"uid": [1]}), out / "table" / "unit.parquet")
        (out / "run.json").write_bytes(b"{}")
        path = write_card(out, shards.check_format(form), body="# A selection", rows=300)
        assert path.read_text().endswith("---\n\n# A selection\n")
        data = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
        assert list(data) == ["train"]
        assert data["train"]["text"][:] == [orjson.loads(row)["text"] for row in rows]

    def test_header(self) -> None:
        text = card("parquet", body="x", folder=".")
        assert "path: train-*.parquet\n" in text
        assert "size_categories" not in text

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            (0, "n<1K"),
            (999, "n<1K"),
            (1_000, "1K<n<10K"),
            (5 * 10**6, "1M<n<10M"),
            (10**9, "n>1B"),
        ],
    )
    def test_size_category(self, rows: int, expected: str) -> None:
        assert size_category(rows) == expected
