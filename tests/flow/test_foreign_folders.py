"""Folders of runs that someone else made, or that were damaged: one line, and nothing is read or
copied that is not of the pool that was scored."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataworth
from dataworth.errors import DataworthError

ROWS = [{"text": f"number {i:03d} of the documents, plus {i % 7} words"} for i in range(60)]
TARGET = [f"a number of documents plus {i} words" for i in range(20)]
SECRET = "the secret of another person, which is of no pool at all"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run over two files, with both methods that need no model."""
    place = tmp_path_factory.mktemp("made")
    for name, rows in (("a", ROWS[:30]), ("b", ROWS[30:])):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (place / f"{name}.jsonl").write_text(lines)
    files = [place / "a.jsonl", place / "b.jsonl"]
    dataworth.select(files, {"t": TARGET}, "20-docs", steps=["dsir", "bm25"], out=place / "run")
    return place


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to damage."""
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


def use(run: Path) -> None:
    """Do all that a finished run's folder is read for."""
    scores = dataworth.load(run, engine=1)
    chosen = scores.choose("40-docs")
    chosen.write(run.parent / "written", overwrite=True)
    chosen.report(run.parent / "report.html")
    chosen.explain(ROWS[3]["text"])
    dataworth.explain(run, ROWS[3]["text"])


def fails(run: Path, *said: str) -> None:
    with pytest.raises(DataworthError) as caught:
        use(run)
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


def change(path: Path, edit: Callable[[Any], None]) -> None:
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("prefix", ["", "file://"])
@pytest.mark.parametrize("forged", [(), ("size",), ("size", "modified"), ("size", "hash")])
def test_a_record_that_names_another_file(
    prefix: str, forged: tuple[str, ...], run: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text("".join(json.dumps({"text": SECRET}) + "\n" for _ in range(40)))
    state = secret.stat()
    facts = {"size": state.st_size, "modified": state.st_mtime, "hash": "0" * 32}

    def edit(record: dict[str, Any]) -> None:
        for item in record["inputs"]["pool"]:
            item |= {"path": f"{prefix}{secret}"} | {name: facts[name] for name in forged}

    change(run / "run.json", edit)
    fails(run, "secret.jsonl")
    for path in tmp_path.rglob("*"):
        assert path == secret or path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_a_record_whose_file_is_swapped_in_the_middle(run: Path, tmp_path: Path) -> None:
    """Equal at both ends, of the same size and time: the rows themselves are compared."""
    pool, filler = tmp_path / "large.jsonl", "x" * 1000
    rows = [{"text": f"number {i:03d} of the documents, {filler}"} for i in range(300)]
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = dataworth.score(pool, {"t": TARGET}, out=tmp_path / "other", engine=1)
    state = pool.stat()
    data = pool.read_bytes()
    middle = slice(len(data) // 2 - 40_000, len(data) // 2 + 40_000)
    pool.write_bytes(
        data[: middle.start] + data[middle].replace(b"xxxx", b"yyyy") + data[middle.stop :]
    )
    os.utime(pool, ns=(state.st_atime_ns, state.st_mtime_ns))
    chosen = scores.choose("300-docs")
    with pytest.raises(DataworthError, match=r"large\.jsonl: the row at \d+ is not the one"):
        chosen.report(tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: r.update(inputs={"pool": []}),
        lambda r: r["inputs"]["pool"][0].pop("hash"),
        lambda r: r["inputs"]["pool"][0].update(path="a.jsonl"),
        lambda r: r["inputs"]["pool"][0].update(path="/a\0.jsonl"),
        lambda r: r["inputs"]["pool"][0].update(format="exe"),
        lambda r: r["inputs"]["pool"][0].update(size=10**30),
        lambda r: r["inputs"]["pool"][0].update(size=-1),
        lambda r: r.update(units=[]),
        lambda r: r.update(list="../../x"),
        lambda r: r.update(list=3),
    ],
)
def test_a_record_that_is_none(edit: Callable[[Any], None], run: Path) -> None:
    change(run / "run.json", edit)
    fails(run)


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: r.pop("settings"),
        lambda r: r["settings"].update(steps=[{"dsir": {"buckets": [1]}}]),
        lambda r: r["settings"].update(fields=7),
        lambda r: r.update(names=["../../../.."]),
        lambda r: r.update(names=3),
        lambda r: r.update(targets="../" + r["targets"]),
        lambda r: r.update(sample="/sample-0123456789abcdef"),
        lambda r: r.update(fitted=["../x-0123456789abcdef"]),
        lambda r: r.update(fitted=[]),
        lambda r: r["layout"].update(documents="../" + r["layout"]["documents"]),
        lambda r: r["layout"].update(tokens_per_byte="x"),
        lambda r: r["layout"].update(parts=7),
        lambda r: r["layout"]["sources"][0].update(folder="/etc"),
        lambda r: r["layout"]["sources"][0].pop("name"),
    ],
)
def test_a_list_of_steps_that_is_none(edit: Callable[[Any], None], run: Path) -> None:
    (path,) = (run / "lists").glob("*.json")
    change(path, edit)
    fails(run)


def column(path: Path, name: str, values: Callable[[np.ndarray], np.ndarray]) -> None:
    table = pq.read_table(path)
    about = pq.read_metadata(path).metadata
    place = table.column_names.index(name)
    kind = table.schema.field(name).type
    changed = pa.array(values(table[name].to_numpy()), kind)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table.set_column(place, name, changed))
        writer.add_key_value_metadata(about)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("file", lambda v: v + 7, "damaged, or of another run"),
        ("file", lambda v: v - 7, "damaged, or of another run"),
        ("file", lambda v: 1 - v, "damaged, or of another run"),
        ("offset", lambda v: v * 0 + 2**62, "jsonl"),
        ("offset", lambda v: v + 1, "jsonl"),
        ("bytes", lambda v: v * 0 + 2**62, "jsonl"),
        ("bytes", lambda v: v * 0, "jsonl"),
    ],
)
def test_a_table_of_another_pool(
    name: str, values: Callable[[np.ndarray], np.ndarray], said: str, run: Path
) -> None:
    for path in (run / "table").glob("documents-*/*.parquet"):
        column(path, name, values)
    fails(run, said)


@pytest.mark.parametrize("damage", ["empty", "half", "garbage", "pickle"])
def test_damaged_files(damage: str, run: Path) -> None:
    kinds = ("**/*.parquet", "**/*.npz", "**/*.json")
    files = [path for kind in kinds for path in sorted(run.glob(kind))]
    # What steps said of the sample is read where further steps are fitted alone.
    files = [path for path in files if not path.match("sample-*/*.npz")]
    assert len(files) >= 10
    for path in files:
        data = path.read_bytes()
        made = {
            "empty": b"",
            "half": data[: len(data) // 2],
            "garbage": np.random.default_rng(0).bytes(len(data)),
            "pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x05hello\x94.",
        }
        path.write_bytes(made[damage])
        if path.parent.parent.name != "selections":
            fails(run, path.name if path.parent.parent.name != "t" else "t/")
        path.write_bytes(data)
    use(run)


@pytest.mark.parametrize(
    "edit",
    [
        lambda arrays: {"weights": arrays["weights"][:-1]},
        lambda arrays: {"weights": arrays["weights"].astype(np.float32)},
        lambda arrays: {"weights": np.array([{}], object)},
        lambda arrays: {"bias": arrays["bias"][:0]},
        lambda arrays: {"bias": np.array(["a"])},
    ],
)
def test_arrays_of_another_shape(edit: Callable[[Any], dict[str, Any]], run: Path) -> None:
    (folder,) = (run / "fitted").glob("dsir-*")
    arrays = {name: np.load(folder / f"{name}.npy") for name in ("weights", "bias")}
    for name, array in edit(arrays).items():
        np.save(folder / f"{name}.npy", array)
    with pytest.raises(DataworthError, match=rf"{folder.name}.*run the same command again"):
        dataworth.load(run).choose("40-docs", utility="dsir").explain(ROWS[3]["text"])


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", "a\\b", "a\0b", "x" * 200, "", "a:b"])
def test_names_of_targets_that_are_no_folders(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataworthError, match="cannot be named"):
        dataworth.score([{"text": "a"}], {name: TARGET}, out=tmp_path / "out", engine=1)
    assert not (tmp_path / "x").exists()


def test_a_damaged_note_on_the_sample(made: Path, run: Path) -> None:
    (path,) = run.glob("fitted/sample-*/dsir-*.npz")
    path.write_bytes(path.read_bytes()[:100])
    files = [made / "a.jsonl", made / "b.jsonl"]
    with pytest.raises(DataworthError, match=rf"{path.name}: cannot be read"):
        dataworth.score(files, {"t": TARGET}, steps=["dsir", "bm25(k1=1)"], out=run)
