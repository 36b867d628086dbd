"""The run's folder and its files: whole or not there, known again, and never someone else's."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataworth.engine import files
from dataworth.engine.files import atomic, atomic_folder, sweep, write_json, write_parquet
from dataworth.errors import DataworthError, RunError
from dataworth.table.folder import WorkFolder, differences, differing
from dataworth.table.run import RunFolder


class TestAtomic:
    def test_whole(self, tmp_path: Path):
        path = tmp_path / "deep" / "a.json"
        write_json(path, {"é": 1})
        assert json.loads(path.read_text("utf-8")) == {"é": 1}
        assert [p.name for p in path.parent.iterdir()] == ["a.json"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
    def test_stopped(self, error: type[BaseException], tmp_path: Path):
        path = tmp_path / "a"
        path.write_text("old")
        with pytest.raises(error), atomic(path) as temporary:
            temporary.write_text("ne")
            raise error
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["a"]

    def test_full(self, tmp_path: Path):
        with pytest.raises(DataworthError, match=r"a: the disk is full"), atomic(tmp_path / "a"):
            raise OSError(errno.ENOSPC, "No space left on device")
        full = pytest.raises(DataworthError, match=r"b: the disk is full")
        with full, atomic_folder(tmp_path / "b") as temporary:
            (temporary / "c").write_text("half")
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        assert list(tmp_path.iterdir()) == []

    def test_folder(self, tmp_path: Path):
        place = tmp_path / "a"
        (place / "old").mkdir(parents=True)
        with atomic_folder(place) as temporary:
            (temporary / "new").write_text("")
        assert [p.name for p in place.iterdir()] == ["new"]
        with pytest.raises(ZeroDivisionError), atomic_folder(place) as temporary:
            (temporary / "newer").write_text("")
            raise ZeroDivisionError
        assert [p.name for p in place.iterdir()] == ["new"]
        assert [p.name for p in tmp_path.iterdir()] == ["a"]

    def test_folder_without_files(self, tmp_path: Path):
        with atomic_folder(tmp_path / "a"):
            pass
        assert (tmp_path / "a").is_dir()

    def test_sweep(self, tmp_path: Path):
        write_parquet(tmp_path / "table" / "a.parquet", pa.table({"a": ["x"]}))
        ours = [
            ".partial-7-a.parquet",
            "deep/.partial-00-step/arrays.npz",
            ".a.jsonl.7-0a1b2c3d.tmp",
        ]
        others = [".hidden", "deep/.config/x", "a.tmp", ".a.tmp"]
        for name in ours + others:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("half")
        sweep(tmp_path)
        left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
        assert left == {*others, "table/a.parquet"}
        sweep(tmp_path / "nowhere")

    def test_damaged_json(self, tmp_path: Path):
        (tmp_path / "a.json").write_text("{")
        with pytest.raises(DataworthError, match=r"a\.json: cannot be read"):
            files.read_json(tmp_path / "a.json")


READ_A: dict[str, Any] = {"score": {"fields": {"text": ["a"], "id": None}, "steps": []}}
READ_B: dict[str, Any] = {"score": {"fields": {"text": ["b"], "id": None}, "steps": []}}


def files_of(*sizes: int, **more: Any) -> dict[str, Any]:
    """A record of inputs."""
    known = {"format": "jsonl", "compression": None, "hash": "0", "modified": 0.0, **more}
    return {"pool": [{"path": f"/pool/{n}", "size": size, **known} for n, size in enumerate(sizes)]}


def scored(folder: Path) -> None:
    """As if a part were done."""
    (folder / "table" / "documents-0").mkdir(parents=True)
    (folder / "table" / "documents-0" / "00000.parquet").write_text("")


class TestFolder:
    def test_record(self, tmp_path: Path):
        with RunFolder.open(tmp_path / "run", READ_A, overwrite=False) as run:
            run.update(units=3)
            run.check_inputs(files_of(1))
            run.keep_inputs(files_of(1))
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        assert record["configuration"] == READ_A
        assert record["units"] == 3
        assert record["made_by"]["dataworth"]
        assert record["made_by"]["python"]

    def test_locked(self, tmp_path: Path):
        refused = pytest.raises(RunError, match="another process")
        with RunFolder.open(tmp_path, READ_A, overwrite=False), refused:
            RunFolder.open(tmp_path, READ_A, overwrite=False)
        RunFolder.open(tmp_path, READ_A, overwrite=False).close()

    def test_free_again_after_a_refusal(self, tmp_path: Path):
        RunFolder.open(tmp_path, READ_A, overwrite=False).close()
        scored(tmp_path)
        for _ in range(2):
            with pytest.raises(RunError, match=r"text: .*a.* → .*b"):
                RunFolder.open(tmp_path, READ_B, overwrite=False)
        RunFolder.open(tmp_path, READ_A, overwrite=False).close()

    def test_a_run_within_files_of_others(self, tmp_path: Path):
        """Once it is a run's folder, other files in it are let be, with overwrite too."""
        RunFolder.open(tmp_path, READ_A, overwrite=False).close()
        (tmp_path / "notes").mkdir()
        (tmp_path / "notes" / "mine.txt").write_text("mine")
        RunFolder.open(tmp_path, READ_B, overwrite=True).close()
        assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"

    @pytest.mark.parametrize(
        "work", ["table/documents-0/00000.parquet", "data/train.jsonl", "selections/a/b"]
    )
    def test_a_first_attempt_has_nothing_to_lose(self, work: str, tmp_path: Path):
        """Without scores another configuration, or other inputs, start afresh; with them not."""
        with RunFolder.open(tmp_path, READ_A, overwrite=False) as run:
            run.check_inputs(files_of(1))
            run.keep_inputs(files_of(1))
            run.update(units=3)
        (tmp_path / "fitted").mkdir()
        with RunFolder.open(tmp_path, READ_B, overwrite=False) as run:
            assert run.record["configuration"] == READ_B
            assert not (tmp_path / "fitted").exists()
            run.check_inputs(files_of(1))
            run.keep_inputs(files_of(1))
            run.update(units=3)
            (tmp_path / "fitted").mkdir()
            run.check_inputs(files_of(2))
            run.keep_inputs(files_of(2))
            assert not (tmp_path / "fitted").exists()
            assert "units" not in run.record
            (tmp_path / work).parent.mkdir(parents=True)
            (tmp_path / work).write_text("")
            with pytest.raises(RunError):
                run.check_inputs(files_of(3))
        with pytest.raises(RunError):
            RunFolder.open(tmp_path, READ_A, overwrite=False)

    def test_other_steps_are_further_columns(self, tmp_path: Path):
        RunFolder.open(tmp_path, READ_A, overwrite=False).close()
        scored(tmp_path)
        more = {"score": {**READ_A["score"], "steps": ["length"], "seed": 1}}
        with RunFolder.open(tmp_path, more, overwrite=False) as run:
            assert run.record["configuration"] == more
        chosen = {**more, "choose": {"budget": "1%"}}
        RunFolder.open(tmp_path, chosen, overwrite=False).close()
        with RunFolder.open(tmp_path, READ_A, overwrite=False) as run:
            assert run.record["configuration"] == chosen
        with pytest.raises(RunError, match="budget"):
            RunFolder.open(tmp_path, {**more, "choose": {"budget": "2%"}}, overwrite=False)

    def test_an_earlier_layout_is_refused(self, tmp_path: Path):
        RunFolder.open(tmp_path, READ_A, overwrite=False).close()
        (tmp_path / "table").mkdir()
        (tmp_path / "table" / "00000.parquet").write_text("")
        with pytest.raises(RunError, match="an earlier version of dataworth"):
            RunFolder.open(tmp_path, READ_A, overwrite=False)
        RunFolder.open(tmp_path, READ_A, overwrite=True).close()

    def test_many_changed_inputs(self, tmp_path: Path):
        run = RunFolder.open(tmp_path, {}, overwrite=False)
        run.keep_inputs(files_of(*range(30)))
        assert run.check_inputs(files_of(*range(30))) == []
        scored(tmp_path)
        for _ in range(2):  # until they are known to be the same, and kept
            assert run.check_inputs(files_of(*range(30), modified=1.0)) == list(range(30))
        run.keep_inputs(files_of(*range(30), modified=1.0))
        assert run.check_inputs(files_of(*range(30), modified=1.0)) == []
        with pytest.raises(RunError) as error:
            run.check_inputs(files_of(*[-1] * 30, modified=1.0))
        said = str(error.value)
        assert "/pool/0: changed (size)" in said
        assert "… 20 more" in said
        run.close()


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a: 1 → 2"]),
        ({"a": {"b": [1]}, "c": 1}, {"a": {"b": [1, 2]}, "c": 1}, ["a.b: [1] → [1, 2]"]),
        ({"a": 1}, {"b": 1}, ["a: 1 → not set", "b: not set → 1"]),
        ({"a": None}, {"a": "x"}, ["a: None → 'x'"]),
    ],
)
def test_differences(before: Any, now: Any, said: list[str]):
    assert list(differences(before, now)) == said


class TestWorkFolder:
    """What all kinds of folders share."""

    class Box(WorkFolder):
        noun = "box"
        record_file = "box.json"
        mark = "lid"
        ours = ("inner",)
        our_files = ("label.txt",)
        early = ("paper",)

    def test_starting_afresh_leaves_what_is_not_ours(self, tmp_path: Path) -> None:
        (tmp_path / "inner").mkdir()
        for name in ("inner/a", "label.txt", "theirs.txt"):
            (tmp_path / name).write_text("x")
        (tmp_path / "box.json").write_text('{"lid": 1}')
        with self.Box.locked(tmp_path) as box:
            box.clear()
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "theirs.txt"]

    @pytest.mark.parametrize("record", ["[]", "{}", "not json"])
    def test_a_file_of_that_name_is_no_record(self, tmp_path: Path, record: str) -> None:
        (tmp_path / "box.json").write_text(record)
        with pytest.raises(RunError, match="holds no box of dataworth"):
            self.Box.locked(tmp_path)

    def test_what_may_be_there_early(self, tmp_path: Path) -> None:
        (tmp_path / "paper").mkdir()
        with (
            self.Box.locked(tmp_path),
            pytest.raises(RunError, match="another process is working"),
        ):
            self.Box.locked(tmp_path)

    def test_many_differences_are_cut_short(self, tmp_path: Path) -> None:
        said = str(differing(tmp_path, "holds another box", [f"line {i}" for i in range(13)]))
        assert "line 9" in said and "line 10" not in said and "… 3 more" in said
        assert "--overwrite" in said
