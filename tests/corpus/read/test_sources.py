"""Finding the files of a corpus."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from dataworth.corpus import files as files_module
from dataworth.corpus.read import find as find_module
from dataworth.corpus.read.find import open_bytes
from dataworth.corpus.read.formats import format_of
from dataworth.corpus.read.sources import SourceFile, fingerprint, resolve
from dataworth.corpus.units import split
from dataworth.errors import DataworthError, InputError, MissingExtra

ROW = b'{"text": "a"}\n'


def names(source: Any, root: Path | None = None, **options: Any) -> list[str]:
    found = resolve(source, spool=None, **options)
    paths = [file.path for file in found]
    assert paths == sorted(set(paths))
    return [os.path.relpath(path, root) if root else path for path in paths]


def write(path: Path, data: bytes = ROW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    root = tmp_path / "pool"
    for name in ("b.jsonl", "a.jsonl", "deep/a.jsonl", "d.txt"):
        write(root / name)
    write(root / "deep/er/c.jsonl.zst", zstandard.compress(ROW))
    pq.write_table(pa.table({"text": ["a"]}), root / "e.parquet")
    for name in ("README.md", ".hidden.jsonl", ".cache/x.jsonl", "table.csv", "dataset_info.json"):
        write(root / name)
    return root


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", ("jsonl", None)),
        ("/x/A.JSONL", ("jsonl", None)),
        ("a.ndjson", ("jsonl", None)),
        ("a.json", ("jsonl", None)),
        ("c4-train.00000-of-01024.json.gz", ("jsonl", "gz")),
        ("a.jsonl.gz", ("jsonl", "gz")),
        ("a.jsonl.zst", ("jsonl", "zst")),
        ("a.jsonl.zstd", ("jsonl", "zst")),
        ("a.txt.gz", ("txt", "gz")),
        ("s3://bucket/a.parquet", ("parquet", None)),
        ("a.parquet.gz", None),
        ("a.csv", None),
        ("a.gz", None),
        ("jsonl", None),
        ("jsonl.gz", None),
        (".jsonl", None),
        ("a.jsonl.bz2", None),
    ],
)
def test_format_by_name(name: str, expected: tuple[str, str | None] | None) -> None:
    assert format_of(name) == expected


def test_one_file(pool: Path) -> None:
    path = pool / "a.jsonl"
    (file,) = resolve(str(path), spool=None)
    state = path.stat()
    assert file == SourceFile(str(path), "jsonl", None, state.st_size, state.st_mtime)
    assert resolve(path, spool=None) == [file]
    assert resolve(f"file://{path}", spool=None) == [file]
    assert not file.is_url


def test_relative_paths_become_absolute(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pool)
    assert names("a.jsonl") == [str(pool / "a.jsonl")]
    assert names("*.jsonl") == [str(pool / "a.jsonl"), str(pool / "b.jsonl")]
    assert names(Path("deep/a.jsonl")) == [str(pool / "deep/a.jsonl")]


def test_folder_takes_data_files_only(pool: Path) -> None:
    expected = ["a.jsonl", "b.jsonl", "d.txt", "deep/a.jsonl", "deep/er/c.jsonl.zst", "e.parquet"]
    assert names(pool, pool) == expected
    assert names(f"{pool}/", pool) == expected


def test_two_files_of_one_name_stay_apart(pool: Path) -> None:
    assert names([pool / "a.jsonl", pool / "deep" / "a.jsonl"], pool) == ["a.jsonl", "deep/a.jsonl"]


def test_globs(pool: Path) -> None:
    assert names(f"{pool}/*.jsonl", pool) == ["a.jsonl", "b.jsonl"]
    assert names(f"{pool}/**/*.jsonl", pool) == ["a.jsonl", "b.jsonl", "deep/a.jsonl"]
    assert names(f"{pool}/**", pool) == names(pool, pool)
    assert names(f"{pool}/*", pool) == names(pool, pool)
    assert names(f"{pool}/[ab].jsonl", pool) == ["a.jsonl", "b.jsonl"]
    assert names(f"{pool}/?.txt", pool) == ["d.txt"]


def test_a_name_with_glob_characters_is_a_name_first(pool: Path) -> None:
    write(pool / "x[1].jsonl")
    write(pool / "x1.jsonl")
    assert names(f"{pool}/x[1].jsonl", pool) == ["x[1].jsonl"]


def test_glob_in_a_folder_with_glob_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "run[1]" / "a.jsonl")
    monkeypatch.chdir(tmp_path / "run[1]")
    assert names("*.jsonl") == [str(tmp_path / "run[1]" / "a.jsonl")]


def test_lists_and_repeats(pool: Path) -> None:
    parts = [str(pool / "a.jsonl"), f"{pool}/*.jsonl", pool / "a.jsonl", str(pool / "deep")]
    expected = ["a.jsonl", "b.jsonl", "deep/a.jsonl", "deep/er/c.jsonl.zst"]
    assert names(parts, pool) == expected
    assert names([[pool / "a.jsonl"], pool / "b.jsonl"], pool) == ["a.jsonl", "b.jsonl"]


def test_links_to_folders_are_followed_once(pool: Path) -> None:
    (pool / "deep" / "loop").symlink_to(pool)
    (pool / "other").symlink_to(pool / "deep" / "er")
    assert "a.jsonl" in names(pool, pool)
    assert len(names(pool)) < 13


def test_home_is_expanded(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(pool))
    assert names("~/a.jsonl", pool) == ["a.jsonl"]
    assert names("~/*.jsonl", pool) == ["a.jsonl", "b.jsonl"]


def fails(source: Any, *words: str, **options: Any) -> None:
    """Asserts one line that holds all the words."""
    with pytest.raises(InputError) as caught:
        resolve(source, spool=None, **options)
    said = str(caught.value)
    assert "\n" not in said
    for word in words:
        assert word in said


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    fails(tmp_path / "none.jsonl", "none.jsonl", "no such file or folder")
    fails(f"{tmp_path}/*.jsonl", "*.jsonl", "no file matches")
    fails("a text of some words given as if it were a path", "list of strings")
    fails("x" * 5000, "no such file")
    fails("nul\0l", "no such file")
    fails("", "empty path")


def test_empty_folder(tmp_path: Path) -> None:
    fails(tmp_path, str(tmp_path), "it is empty")
    write(tmp_path / "a.csv")
    write(tmp_path / "b.csv")
    write(tmp_path / "README")
    fails(tmp_path, "2 with .csv", "1 with no extension", ".parquet")
    fails(f"{tmp_path}/*", "2 with .csv")


def test_unknown_extension(tmp_path: Path) -> None:
    fails(write(tmp_path / "a.csv"), "a.csv", ".csv is not a kind", ".jsonl")
    fails(write(tmp_path / "plain"), "no extension is not a kind")
    fails(write(tmp_path / "a.jsonl.bz2"), ".bz2 is not a kind")


def test_empty_file_is_fine(tmp_path: Path) -> None:
    (file,) = resolve(write(tmp_path / "a.jsonl", b""), spool=None)
    assert file.size == 0


def unreadable(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Makes a file unreadable; root needs the error from the system played."""
    path.chmod(0)
    if os.geteuid() == 0:
        opened = find_module.open_bytes

        def refuse(name: str, options: Any) -> Any:
            if name == str(path):
                raise PermissionError(13, "Permission denied", name)
            return opened(name, options)

        monkeypatch.setattr(find_module, "open_bytes", refuse)


def test_unreadable_file(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable(monkeypatch, pool / "b.jsonl")
    fails(pool / "b.jsonl", "b.jsonl", "permission denied")
    fails(pool, "b.jsonl", "permission denied")
    fails(f"{pool}/*.jsonl", "b.jsonl", "permission denied")


def test_unreadable_folder(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pool / "deep").chmod(0)
    if os.geteuid() == 0:
        walk = os.walk

        def refuse(top: Any, onerror: Any = None, followlinks: bool = False) -> Any:
            yield from walk(top, onerror=onerror, followlinks=followlinks)
            onerror(PermissionError(13, "Permission denied", str(pool / "deep")))

        monkeypatch.setattr(os, "walk", refuse)
    fails(pool, str(pool), "permission denied")
    (pool / "deep").chmod(0o755)


def test_dangling_link(pool: Path) -> None:
    (pool / "z.jsonl").symlink_to(pool / "nowhere.jsonl")
    fails(pool, "z.jsonl", "no such file")


def test_what_is_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    fails(tmp_path / "pipe.jsonl", "pipe.jsonl", "not a plain file")
    fails(tmp_path, "pipe.jsonl", "not a plain file")


class TestJson:
    def test_lines_are_taken(self, tmp_path: Path) -> None:
        write(tmp_path / "a.json", ROW * 3)
        write(tmp_path / "b.json.gz", gzip.compress(ROW * 3))
        write(tmp_path / "c.json.zst", zstandard.compress(ROW * 3))
        write(tmp_path / "d.json", b"\xef\xbb\xbf\n" + ROW)
        write(tmp_path / "e.json", b'{"text": "' + b"x" * 100_000 + b'"}')
        write(tmp_path / "f.json", b'{"text": broken}\n' + ROW)
        write(tmp_path / "g.json", b"")
        assert len(names(tmp_path)) == 7

    def test_one_value_is_refused(self, tmp_path: Path) -> None:
        data = json.dumps([{"text": "a"}, {"text": "b"}], indent=2).encode()
        fails(write(tmp_path / "a.json", data), "a.json", "one object a line", "jq")
        fails(write(tmp_path / "b.json", b'[{"text": "a"}\n]'), "one object a line")
        fails(write(tmp_path / "c.json", b'{\n "text": "a"\n}'), "one object a line")
        fails(write(tmp_path / "d.json.gz", gzip.compress(data)), "one object a line")

    def test_one_value_in_a_folder_is_left_out_and_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write(tmp_path / "a.jsonl")
        write(tmp_path / "settings.json", b'{\n "a": 1\n}')
        with caplog.at_level(logging.WARNING, "dataworth"):
            assert names(tmp_path, tmp_path) == ["a.jsonl"]
        assert "settings.json" in caplog.text

    def test_a_damaged_file_is_named(self, tmp_path: Path) -> None:
        fails(write(tmp_path / "a.json.gz", b"\x1f\x8bnonsense"), "a.json.gz", "cannot be read")


class TestRunFolders:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        for name in ("run.json", "table/u.parquet", "quarantine/bad.jsonl", "fitted/d/a.json"):
            write(tmp_path / "out" / name)
        return tmp_path / "out"

    def test_only_the_selection_is_taken(self, run: Path) -> None:
        write(run / "data" / "train-00000-of-00001.jsonl")
        write(run.parent / "more.jsonl")
        assert names(run, run) == ["data/train-00000-of-00001.jsonl"]
        assert names(run.parent, run) == ["../more.jsonl"]
        (run.parent / "more.jsonl").unlink()
        assert names(run.parent, run) == ["data/train-00000-of-00001.jsonl"]
        assert names(f"{run.parent}/*", run) == names(run.parent, run)

    def test_without_a_selection(self, run: Path) -> None:
        fails(run, "run that wrote no selection")

    def test_a_file_called_run_json_alone_makes_no_run(self, tmp_path: Path) -> None:
        write(tmp_path / "run.json")
        write(tmp_path / "a.jsonl")
        assert names(tmp_path, tmp_path) == ["a.jsonl", "run.json"]


class TestDocuments:
    """What does not lie in files is spooled."""

    def rows(self, source: Any, spool: Path, **options: Any) -> list[dict[str, Any]]:
        (file,) = resolve(source, spool=spool, **options)
        assert Path(file.path).parent == spool
        assert file.format == "jsonl"
        return [orjson.loads(line) for line in Path(file.path).read_bytes().splitlines()]

    @pytest.mark.parametrize(
        "source",
        [
            ["one", "two"],
            ("one", "two"),
            [{"text": "one"}, {"text": "two"}],
            ["one", {"text": "two"}],
            pd.Series(["one", "two"]),
            pa.array(["one", "two"]),
            pa.chunked_array([["one"], ["two"]]),
        ],
    )
    def test_iterables(self, tmp_path: Path, source: Any) -> None:
        assert self.rows(source, tmp_path) == [{"text": "one"}, {"text": "two"}]

    def test_one_shot_generator(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "dataworth"):
            rows = self.rows((str(i) for i in range(2_500)), tmp_path)
        assert [row["text"] for row in rows] == [str(i) for i in range(2_500)]
        assert "2500 documents" in caplog.text

    def test_sets_in_a_fixed_order(self, tmp_path: Path) -> None:
        assert [r["text"] for r in self.rows({"b b", "a a"}, tmp_path)] == ["a a", "b b"]

    def test_text_field(self, tmp_path: Path) -> None:
        assert self.rows(["x"], tmp_path, text_field="body") == [{"body": "x"}]

    def test_the_same_documents_give_the_same_untouched_file(self, tmp_path: Path) -> None:
        first = resolve(iter(["a", "b"]), spool=tmp_path)
        os.utime(first[0].path, (1, 1))
        again = resolve(["a", "b"], spool=tmp_path)
        assert again[0].path == first[0].path
        assert again[0].modified == 1
        assert resolve(["a", "c"], spool=tmp_path)[0].path != first[0].path
        assert len(list(tmp_path.iterdir())) == 2

    def test_other_values(self, tmp_path: Path) -> None:
        stamp = pd.Timestamp("2020-01-02T03:04:05").to_pydatetime()
        row = self.rows([{"text": "a", "when": stamp, "n": pd.array([1, 2]).to_numpy()}], tmp_path)
        assert row == [{"text": "a", "when": "2020-01-02T03:04:05", "n": [1, 2]}]

    def test_a_lone_surrogate_is_left_to_the_reader(self, tmp_path: Path) -> None:
        (file,) = resolve([{"text": "a\ud800"}, "b"], spool=tmp_path)
        lines = Path(file.path).read_bytes().splitlines()
        assert lines == [rb'{"text": "a\ud800"}', b'{"text":"b"}']

    def test_without_a_folder_they_lie_in_a_temporary_one(self) -> None:
        (file,) = resolve(["a"], spool=None)
        assert Path(file.path).read_bytes() == b'{"text":"a"}\n'

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ([], "empty list"),
            (iter([]), "empty"),
            (iter(["a", 3]), "document 1 is of type int"),
            (iter([b"a"]), "document 0 is of type bytes"),
            ([{"text": "a", "raw": b"x"}], "document 0 holds a value"),
            (7, "int is no corpus"),
            (b"text", "bytes is no corpus"),
            ([7], "int is no corpus"),
            (None, "NoneType is no corpus"),
            ({"web": "a.jsonl"}, "'web'"),
            (pa.table({}), "holds no rows"),
            (pa.table({"text": pa.array([], pa.string())}), "holds no rows"),
        ],
    )
    def test_errors(self, tmp_path: Path, source: Any, words: str) -> None:
        with pytest.raises(InputError, match=words):
            resolve(source, spool=tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_an_error_of_the_iterator_is_its_own(self, tmp_path: Path) -> None:
        def broken() -> Iterator[str]:
            yield "a"
            raise OSError("of the generator")

        with pytest.raises(OSError, match="of the generator"):
            resolve(broken(), spool=tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_disk_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Full(io.BytesIO):
            def write(self, _: Any) -> int:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr("dataworth.corpus.read.spool.open_for_writing", lambda _: Full())
        with pytest.raises(DataworthError, match="the disk is full"):
            resolve(["a"], spool=tmp_path)
        with pytest.raises(DataworthError, match="the disk is full"):
            resolve(pa.table({"text": ["a"]}), spool=tmp_path)


class TestAmbiguity:
    def test_paths_if_all_are(self, pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(pool)
        assert len(names(["a.jsonl", "deep", "deep/*.jsonl"])) == 3

    def test_a_missing_data_file_is_an_error_and_no_document(self, tmp_path: Path) -> None:
        fails([str(tmp_path / "a.jsonl"), "b.parquet"], "no such file")
        fails(["pool/*"], "no file matches")

    def test_questions_are_documents(self, tmp_path: Path) -> None:
        texts = ["What is this?", "Why?", "*", "a [b] c", "http is a protocol: see http://x.org y"]
        (file,) = resolve(texts, spool=tmp_path)
        assert len(Path(file.path).read_bytes().splitlines()) == 5

    def test_both_are_refused(self, pool: Path) -> None:
        path = str(pool / "a.jsonl")
        fails([path, "Some text."], "mixes files and documents", "a.jsonl", "Some text.", "Path")
        fails([Path(path), "Some text."], "mixes files and documents")
        fails([path, {"text": "a"}], "mixes files and documents")
        fails(["Some text.", "x" * 500, path], "element 2")


class TestDatasets:
    @pytest.fixture(autouse=True)
    def offline(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def test_dataset_keeps_its_types(self, tmp_path: Path) -> None:
        import datasets

        data = datasets.Dataset.from_dict(
            {"text": [f"t{i}" for i in range(2_500)], "n": list(range(2_500))}
        )
        (file,) = resolve(data, spool=tmp_path / "spool")
        assert file.format == "parquet"
        table = pq.read_table(file.path)
        assert table.column("n").to_pylist() == list(range(2_500))
        assert table.schema.field("n").type == pa.int64()
        assert split([file])[0].end == 2_500
        chosen = data.select([3, 1])
        (file,) = resolve(chosen, spool=tmp_path / "spool")
        assert pq.read_table(file.path).column("text").to_pylist() == ["t3", "t1"]

    def test_stream(self, tmp_path: Path) -> None:
        import datasets

        data = datasets.IterableDataset.from_generator(lambda: ({"text": str(i)} for i in range(3)))
        (file,) = resolve(data, spool=tmp_path)
        assert Path(file.path).read_bytes().count(b"\n") == 3

    def test_a_split_must_be_chosen(self, tmp_path: Path) -> None:
        import datasets

        both = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["a"]})})
        fails(both, "'train'")
        empty = datasets.Dataset.from_dict({"text": []})
        fails(empty, "holds no rows")

    def test_list_with_files(self, pool: Path, tmp_path: Path) -> None:
        import datasets

        data = datasets.Dataset.from_dict({"text": ["a"]})
        found = resolve([data, pool / "a.jsonl"], spool=tmp_path / "spool")
        assert [file.format for file in found] == ["jsonl", "parquet"]

    def test_tables(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"text": ["a", "b"], "n": [1, 2]})
        for source in (frame, pa.Table.from_pandas(frame), pa.table({"text": ["a", "b"]})):
            (file,) = resolve(source, spool=tmp_path)
            assert pq.read_table(file.path).column("text").to_pylist() == ["a", "b"]


class TestUrls:
    @pytest.fixture
    def memory(self) -> Iterator[Any]:
        system = fsspec.filesystem("memory")
        for name in ("/pool/a.jsonl", "/pool/deep/b.jsonl", "/pool/.x.jsonl", "/pool/c.csv"):
            system.pipe(name, ROW)
        yield system
        system.rm("/pool", recursive=True)

    def test_file_folder_glob(self, memory: Any) -> None:
        both = ["memory:///pool/a.jsonl", "memory:///pool/deep/b.jsonl"]
        assert names("memory:///pool/a.jsonl") == both[:1]
        assert names("memory://pool") == both
        assert names("memory:///pool/*.jsonl") == both[:1]
        assert names("memory:///pool/**/*.jsonl") == both
        assert names(["memory:///pool/a.jsonl", "memory:///pool/deep/*"]) == both

    def test_a_url_is_known_as_one(self, memory: Any) -> None:
        (file,) = resolve("memory:///pool/a.jsonl", spool=None)
        assert file.is_url
        assert file.size == len(ROW)
        assert file.modified is not None
        assert fingerprint(file)["size"] == len(ROW)

    def test_errors(self, memory: Any) -> None:
        fails("memory:///pool/none.jsonl", "memory:///pool/none.jsonl", "no such file")
        fails("memory:///pool/*.parquet", "no file matches")
        fails("memory:///pool/c.csv", ".csv is not a kind")
        fails("nonsense://a.jsonl", "nonsense://a.jsonl")

    def test_a_missing_package_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(*_: Any, **__: Any) -> Any:
            raise ImportError("Install s3fs to access S3")

        monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
        with pytest.raises(MissingExtra, match=r"\[s3\]"):
            resolve("s3://bucket/a.jsonl", spool=None)
        with pytest.raises(MissingExtra, match=r"\[hf\]"):
            resolve("hf://datasets/a/b/c.jsonl", spool=None)
        fails("gs://bucket/a.jsonl", "gs://bucket/a.jsonl")

    def test_errors_of_a_client_are_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: Any, **__: Any) -> Any:
            raise RuntimeError("no\ncredentials")

        monkeypatch.setattr(fsspec.core, "url_to_fs", broken)
        fails("s3://bucket/a.jsonl", "RuntimeError: no credentials", "storage options")

    def test_inside_an_archive(self, tmp_path: Path) -> None:
        import zipfile

        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("in/a.jsonl", ROW)
        url = f"zip://in/a.jsonl::{tmp_path}/a.zip"
        (file,) = resolve(url, spool=None)
        assert file.path == url
        assert file.size == len(ROW)
        with open_bytes(url, {}) as stream:
            assert stream.read() == ROW
        fails(f"zip://in/*.jsonl::{tmp_path}/a.zip", "name each file")


class TestFingerprint:
    def test_it_changes_with_the_file(self, tmp_path: Path) -> None:
        data = bytearray(os.urandom(200_000))
        path = write(tmp_path / "a.jsonl", bytes(data))
        (file,) = resolve(path, spool=None)
        first = fingerprint(file)
        assert first == {"size": 200_000, "modified": file.modified, "hash": first["hash"]}
        for place, changes in ((0, True), (65_535, True), (100_000, False), (199_999, True)):
            other = bytearray(data)
            other[place] ^= 1
            path.write_bytes(other)
            assert (fingerprint(file)["hash"] != first["hash"]) == changes
        path.write_bytes(data + b"x")
        assert fingerprint(file)["size"] == 200_001

    @pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 131_072])
    def test_small_files(self, tmp_path: Path, size: int) -> None:
        path = write(tmp_path / "a.jsonl", b"x" * size)
        (file,) = resolve(path, spool=None)
        first = fingerprint(file)
        if size:
            path.write_bytes(b"x" * (size - 1) + b"y")
            assert fingerprint(file)["hash"] != first["hash"]

    def test_vanished(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl")
        (file,) = resolve(path, spool=None)
        path.unlink()
        with pytest.raises(InputError, match=r"a\.jsonl: no such file"):
            fingerprint(file)


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, Any]]:
    """A server that speaks S3, on loopback: the storage options for it."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = server_module.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    yield {
        "key": "someone",
        "secret": "something",
        "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}"},
    }
    server.stop()


@pytest.fixture(scope="module")
def bucket(s3: dict[str, Any]) -> dict[str, Any]:
    system = fsspec.filesystem("s3", **s3)
    system.mkdir("pool")
    rows = b"".join(b'{"text": "document %d"}\n' % number for number in range(5_000))
    system.pipe("pool/raw/a.jsonl", rows)
    system.pipe("pool/raw/deep/b.jsonl.zst", zstandard.compress(rows))
    system.pipe("pool/raw/README.md", b"about")
    sink = io.BytesIO()
    table = pa.table({"text": [f"row {number}" for number in range(1_000)]})
    pq.write_table(table, sink, row_group_size=100)
    system.pipe("pool/raw/c.parquet", sink.getvalue())
    return s3


class TestS3:
    def test_find(self, bucket: dict[str, Any]) -> None:
        raw = "s3://pool/raw"
        everything = [f"{raw}/a.jsonl", f"{raw}/c.parquet", f"{raw}/deep/b.jsonl.zst"]
        assert names(raw, storage_options=bucket) == everything
        assert names(f"{raw}/", storage_options=bucket) == everything
        assert names(f"{raw}/*.jsonl", storage_options=bucket) == everything[:1]
        assert names(f"{raw}/**/*.zst", storage_options=bucket) == everything[2:]
        assert names([everything[0], everything[1]], storage_options=bucket) == everything[:2]

    def test_read(self, bucket: dict[str, Any]) -> None:
        found = resolve("s3://pool/raw", spool=None, storage_options=bucket)
        assert all(file.modified is not None for file in found)
        with find_module.open_bytes(found[0].path, bucket) as stream:
            data = stream.read()
        assert len(data) == found[0].size
        assert data.count(b"\n") == 5_000
        print_of = fingerprint(found[0], bucket)
        assert print_of["hash"] == fingerprint(found[0], bucket)["hash"]

    def test_units(self, bucket: dict[str, Any]) -> None:
        found = resolve("s3://pool/raw", spool=None, storage_options=bucket)
        units = split(found, 10_000, storage_options=bucket)
        assert [u.file_index for u in units if u.file.format == "parquet"]
        rows = [(u.start, u.end) for u in units if u.file.format == "parquet"]
        assert rows[0][0] == 0
        assert rows[-1][1] == 1_000

    def test_errors(self, bucket: dict[str, Any]) -> None:
        fails("s3://pool/none.jsonl", "s3://pool/none.jsonl", storage_options=bucket)
        fails("s3://pool/none/*.jsonl", "no file matches", storage_options=bucket)
        fails("s3://nowhere/a.jsonl", "s3://nowhere/a.jsonl", storage_options=bucket)


class TestFiles:
    def test_numbers_for_people(self) -> None:
        said = [files_module.readable(size) for size in (0, 999, 1_500, 2.5e6, 3e9, 4e12, 5e15)]
        assert said == ["0 bytes", "999 bytes", "1.5 kB", "2.5 MB", "3.0 GB", "4.0 TB", "5000.0 TB"]

    def test_a_file_is_whole_or_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"old")
        with pytest.raises(KeyboardInterrupt), files_module.replacing(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt
        assert path.read_bytes() == b"old"
        files_module.write_whole(path, b"new")
        assert path.read_bytes() == b"new"
        assert [p.name for p in tmp_path.iterdir()] == ["a"]

    def test_no_right_to_write(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"a file where a folder should be")
        with pytest.raises(DataworthError, match="cannot be written"):
            files_module.write_whole(tmp_path / "a" / "b", b"")
