"""A run goes on where it stopped, whatever stopped it, and refuses what is not its own."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dataworth
from dataworth.engine.local import Engine
from dataworth.errors import DataworthError, RunError
from dataworth.flow.annotating import Annotate
from flow.pools import (
    bad_lines,
    chosen,
    cut_small,
    document,
    leftovers,
    scatter,
    shards,
    utilities,
    write,
)

OPTIONS: dict[str, Any] = {
    "format": "jsonl",
    "shard_bytes": 30_000,
    "steps": ("length(minimum=5)", "dsir(minimum=10, raw=all)"),
    "max_bad": 0.02,
}


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def made(lines: list[bytes], math: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pool (four files, eight units, some bad lines) and a run on it.

    Nothing stopped the run. Shared by all tests: they work on copies.
    """
    place = tmp_path_factory.mktemp("made")
    names = ["a.jsonl", "b.jsonl", "c.jsonl.zst", "d.parquet"]
    folder = scatter(place / "pool", lines, names)
    for name in ("a.jsonl", "b.jsonl"):
        found = (folder / name).read_bytes().split(b"\n")
        for number in (20, 130):
            found[number] = b'{"text": 1}'
        (folder / name).write_bytes(b"\n".join(found))
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        run = dataworth.select(folder, math, "20%", out=place / "fresh", engine=1, **OPTIONS)
    assert len(run.scores.scored.corpus.units) >= 6
    return place


@pytest.fixture
def pool(made: Path, tmp_path: Path, small_units: None) -> Path:
    """A copy of that pool."""
    return Path(shutil.copytree(made / "pool", tmp_path / "pool"))


@pytest.fixture
def select(pool: Path, math: Path) -> Callable[..., dataworth.Selection]:
    """The command of all these tests."""

    def run(out: Path, **options: Any) -> dataworth.Selection:
        return dataworth.select(pool, math, "20%", out=out, **{**OPTIONS, **options})

    return run


@pytest.fixture
def fresh(made: Path, pool: Path, tmp_path: Path) -> Path:
    """The run that nothing stopped, as if it had been made of the copy."""
    out = Path(shutil.copytree(made / "fresh", tmp_path / "fresh"))
    for path in [*out.rglob("*.json"), *out.glob("quarantine/*")]:
        said, times = path.read_text("utf-8"), path.stat()
        path.write_text(said.replace(str(made / "pool"), str(pool)), "utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return out


def same(one: Path, two: Path) -> None:
    """Two runs left the same, and nothing else."""
    assert shards(one) == shards(two)
    first, second = dataworth.load(one), dataworth.load(two)
    assert utilities(first) == utilities(second)
    assert bad_lines(one) == bad_lines(two)
    assert {p.name for p in one.iterdir()} == {p.name for p in two.iterdir()}
    names = [sorted(p.name for p in (f / "selections").iterdir()) for f in (one, two)]
    assert names[0] == names[1]
    assert first.table.tally == second.table.tally
    assert leftovers(one) == leftovers(two) == []
    for part in ("fit", "held_out"):
        assert [d.uid.tolist() for d in getattr(first.scored.targets, part).values()] == [
            d.uid.tolist() for d in getattr(second.scored.targets, part).values()
        ]


class TestResume:
    def test_a_finished_run_is_left_alone(self, select: Any, fresh: Path):
        times = {p: p.stat().st_mtime_ns for p in fresh.rglob("*") if p.name[0] != "."}
        found = select(fresh, engine=2)
        after = {p: p.stat().st_mtime_ns for p in fresh.rglob("*") if p.name[0] != "."}
        changed = {str(p.relative_to(fresh)) for p in after if times.get(p) != after[p]}
        assert changed <= {"run.json"}
        assert len(found) == len(dataworth.load(fresh).choose("20%"))

    @pytest.mark.parametrize(
        "gone",
        [
            ["table/documents-*/00000.parquet"],
            ["table/*/00001.parquet", "table/*/00004.parquet", "data", "run.json:selection"],
            ["table/dsir-*/00002.parquet", "data", "run.json:selection"],
            ["table/dsir-*"],
            ["table"],
            ["fitted"],
            ["fitted/sample-*/sample.json", "table/documents-*/00003.parquet"],
            ["fitted/targets-*"],
            ["lists", "fitted/dsir-*"],
            ["selections", "data", "report.html", "README.md", "run.json:selection"],
        ],
        ids=lambda gone: gone[0],
    )
    def test_deleted_parts_are_made_again(
        self, gone: list[str], select: Any, fresh: Path, tmp_path: Path
    ):
        out = tmp_path / "out"
        select(out, engine=3)
        for name in gone:
            if name == "run.json:selection":
                record = json.loads((out / "run.json").read_text())
                del record["selection"]
                (out / "run.json").write_text(json.dumps(record))
                continue
            paths = list(out.glob(name))
            assert paths
            for path in paths:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        select(out, engine=2)
        same(out, fresh)

    def test_killed_at_every_rename(
        self,
        lines: list[bytes],
        small_units: None,
        math: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ):
        """What is there under its final name is whole; what is not, is made again."""
        names = ["a.jsonl", "c.jsonl.zst", "d.parquet"]
        pool, fresh = scatter(tmp_path / "pool", lines[:200], names), tmp_path / "fresh"
        write(pool / "b.jsonl", [b'{"text": 1}', *lines[200:240]])

        def select(out: Path, **options: Any) -> None:
            dataworth.select(pool, math, "20%", out=out, **{**OPTIONS, **options})

        select(fresh)
        assert len(dataworth.load(fresh).scored.corpus.units) >= 3
        assert len(shards(fresh)) >= 2
        replace = Path.replace
        left = 0

        def rename(self: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise KilledError
            left -= 1
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", rename)
        done = 0
        for stop in range(100):
            out = tmp_path / f"out-{stop}"
            left = stop
            try:
                select(out, engine=1 + stop % 3)
                break
            except KilledError:
                done += 1
            left = 10_000
            # What a true kill leaves beside it.
            for folder in (out, out / "table", out / "fitted", out / "data"):
                if folder.is_dir() and (out / "run.json").is_file():
                    (folder / ".partial-99-00001.parquet").write_bytes(b"PAR1 half")
                    (folder / ".x.jsonl.99-0123abcd.tmp").write_bytes(b"half")
                    (folder / ".partial-00-step").mkdir()
                    (folder / ".partial-00-step" / "weights.npy").write_bytes(b"half")
            select(out, engine=1 + stop % 2)
            same(out, fresh)
            shutil.rmtree(out)
        assert done > 20

    @pytest.mark.usefixtures("standing_processes")
    @pytest.mark.parametrize("kind", ["threads", "processes"])
    def test_a_worker_fails(
        self,
        kind: Any,
        select: Any,
        fresh: Path,
        pool: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ):
        """The error comes through; what other workers finished is kept."""
        damaged = next(pool.glob("c.*"))
        whole = damaged.read_bytes()
        state = damaged.stat()
        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            if kind == "threads":
                annotate = Annotate.__call__

                def fail(self: Annotate, unit: Any, tick: Any) -> None:
                    if unit.index == 4:
                        raise ZeroDivisionError("a defect")
                    annotate(self, unit, tick)

                patch.setattr(Annotate, "__call__", fail)
                with pytest.raises(ZeroDivisionError, match="a defect"):
                    select(out, engine=2)
            else:
                damaged.write_bytes(whole[: len(whole) // 2])
                with pytest.raises(DataworthError, match=r"c\.jsonl\.zst"):
                    select(out, engine=Engine(2, "processes"))
                damaged.write_bytes(whole)
                os.utime(damaged, ns=(state.st_atime_ns, state.st_mtime_ns))
                shutil.rmtree(out)
        assert leftovers(out) == [] if out.exists() else True
        select(out, engine=2)
        same(out, fresh)

    def test_stopped_by_hand(
        self, select: Any, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Ctrl-C: other workers leave their units, nothing half-written stays."""
        out = tmp_path / "out"
        annotate = Annotate.__call__

        def interrupt(self: Annotate, unit: Any, tick: Any) -> None:
            if unit.index == 2:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.2)
            annotate(self, unit, tick)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Annotate, "__call__", interrupt)
            select(out, engine=2)
        assert leftovers(out) == []
        assert not (out / "data").exists()
        select(out, engine=2)
        same(out, fresh)

    def test_killed_for_real(
        self, pool: Path, math: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """kill -9 at random moments, then the same command again."""
        program = (
            "import sys, dataworth, dataworth.flow.scoring; print('ready', flush=True)\n"
            "dataworth.select(sys.argv[1], sys.argv[2], '20%', out=sys.argv[3], format='jsonl',"
            " max_bad=0.02)\n"
        )

        def start(out: Path) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-c", program, pool, math, out], stdout=subprocess.PIPE
            )

        with start(tmp_path / "whole") as process:
            assert process.stdout is not None
            process.stdout.readline()
            ready = time.monotonic()
            assert process.wait() == 0
        lasted = time.monotonic() - ready
        out = tmp_path / "out"
        draw = random.Random(time.time_ns())
        for _ in range(3):
            with start(out) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(draw.random() * lasted)
                process.kill()
                process.wait()
        with start(out) as process:
            assert process.wait() == 0
        assert shards(out) == shards(tmp_path / "whole")
        monkeypatch.undo()  # the other processes know no small units
        runs = [dataworth.load(out).choose("20%") for out in (out, tmp_path / "whole")]
        assert chosen(runs[0]) == chosen(runs[1])
        assert leftovers(out) == []


class TestRefuse:
    def test_another_configuration(self, select: Any, fresh: Path):
        before = shards(fresh)
        with pytest.raises(RunError) as error:
            select(fresh, seed=7, steps=("dsir(ngrams=3)",), format="jsonl.gz")
        said = str(error.value)
        assert str(fresh) in said
        assert "score.seed: 0 → 7" in said
        assert "write.form: 'jsonl' → 'jsonl.gz'" in said
        assert "score.steps" in said
        assert "overwrite" in said
        assert shards(fresh) == before

    def test_overwrite(self, select: Any, fresh: Path, tmp_path: Path):
        (fresh / "mine.txt").write_text("not the run's")
        select(fresh, seed=7, overwrite=True)
        select(tmp_path / "other", seed=7)
        assert (fresh / "mine.txt").read_text() == "not the run's"
        (fresh / "mine.txt").unlink()
        same(fresh, tmp_path / "other")

    def test_overwrite_looks_first(self, fresh: Path, pool: Path, math: Path):
        """A wrong path, or the run's own output as the pool: nothing is removed."""
        before = shards(fresh)
        for wrong, said in (
            (pool / "nowhere", "no such file"),
            ([pool / "nowhere.jsonl"], "no such file"),
            (fresh, "is (to be overwritten|written to and cannot)"),
            (str(fresh / "data" / "*.jsonl"), "is (to be overwritten|written to and cannot)"),
        ):
            with pytest.raises(DataworthError, match=said):
                dataworth.select(wrong, math, "20%", out=fresh, overwrite=True)
            with pytest.raises(DataworthError, match=said):
                dataworth.select(pool, {"a": math, "b": wrong}, out=fresh, overwrite=True)
        assert shards(fresh) == before

    def test_workers_are_no_configuration(self, select: Any, fresh: Path):
        select(fresh, engine=Engine(2, "processes"))

    def test_touched_and_moved_inputs(self, select: Any, fresh: Path, pool: Path, tmp_path: Path):
        """Times and places of files change nothing: what they hold counts."""
        before = shards(fresh)
        times = {p: p.stat().st_mtime_ns for p in fresh.rglob("*.parquet")}
        os.utime(pool / "b.jsonl", (1, 1))
        select(fresh)
        moved = shutil.copytree(pool, tmp_path / "moved")
        again = dataworth.score(moved, out=fresh, steps="length")
        assert len(again.table) == len(dataworth.load(fresh).table)
        assert shards(fresh) == before
        assert times.items() <= {p: p.stat().st_mtime_ns for p in fresh.rglob("*.parquet")}.items()

    @pytest.mark.parametrize("change", ["longer", "in the middle", "removed", "added"])
    def test_changed_inputs(self, change: str, select: Any, fresh: Path, pool: Path):
        before = shards(fresh)
        path = pool / "b.jsonl"
        if change == "longer":
            path.write_bytes(path.read_bytes() + b'{"text": "one more"}\n')
        elif change == "in the middle":
            data = bytearray(path.read_bytes())
            assert len(data) > 3 * 65_536
            place = data.index(b" ", len(data) // 2)
            data[place : place + 1] = b"_"
            path.write_bytes(data)
        elif change == "removed":
            path.unlink()
        else:
            path = write(pool / "new.jsonl", [document("a new one")])
        for _ in range(2):  # a refusal leaves no mark by which the next one would pass
            with pytest.raises(RunError) as error:
                select(fresh)
        said = str(error.value)
        assert str(path) in said
        assert {"removed": "is gone", "added": "is new"}.get(change, "changed") in said
        assert "overwrite" in said
        assert shards(fresh) == before

    def test_changed_target(self, pool: Path, tmp_path: Path):
        target = write(tmp_path / "target.jsonl", [document("as it was before")] * 3)
        dataworth.select(pool, target, "10%", out=tmp_path / "out")
        write(target, [document("as it is afterwards")] * 3)
        with pytest.raises(RunError, match=r"target\.jsonl: changed"):
            dataworth.select(pool, target, "10%", out=tmp_path / "out")
        with pytest.raises(RunError, match=r"other\.jsonl: is new"):
            targets = {"target": target, "other": write(tmp_path / "other.jsonl", [document("x")])}
            dataworth.select(pool, targets, "10%", out=tmp_path / "out")

    def test_changed_tokenizer(self, select: Any, tokenizer: Path, tmp_path: Path):
        mine = tmp_path / "tokenizer.json"
        shutil.copy(tokenizer, mine)
        select(tmp_path / "out", tokenizer=mine)
        select(tmp_path / "out", tokenizer=mine)
        facts = json.loads(mine.read_text())
        facts["model"]["merges"] = []
        mine.write_text(json.dumps(facts))
        with pytest.raises(RunError, match="what is to be excluded"):
            select(tmp_path / "out", tokenizer=mine)

    def test_changed_exclusion(self, select: Any, lines: list[bytes], tmp_path: Path):
        seen = write(tmp_path / "seen.jsonl", lines[:50])
        select(tmp_path / "out", exclude=seen)
        select(tmp_path / "out", exclude=seen)
        before = shards(tmp_path / "out")
        write(seen, lines[:200])
        with pytest.raises(RunError, match="what is to be excluded"):
            select(tmp_path / "out", exclude=seen)
        assert shards(tmp_path / "out") == before

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize(
        "content", ["notes.txt", "data/train.jsonl", "README.md", "run.json", "table/a.parquet"]
    )
    def test_a_folder_of_others(self, content: str, overwrite: bool, select: Any, tmp_path: Path):
        path = tmp_path / "out" / content
        path.parent.mkdir(parents=True)
        path.write_text('{"somebody": "else\'s"}')
        with pytest.raises(RunError, match=r"out: is not empty and holds no run"):
            select(tmp_path / "out", overwrite=overwrite)
        assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == [path]
        assert path.read_text() == '{"somebody": "else\'s"}'

    def test_a_file(self, select: Any, tmp_path: Path):
        (tmp_path / "out").write_text("mine")
        with pytest.raises(RunError, match=r"out: is a file"):
            select(tmp_path / "out", overwrite=True)
        assert (tmp_path / "out").read_text() == "mine"

    def test_killed_before_the_record(self, select: Any, fresh: Path, tmp_path: Path):
        out = tmp_path / "out"
        out.mkdir()
        (out / ".lock").touch()
        (out / ".partial-7-run.json").write_text("{")
        select(out)
        same(out, fresh)

    def test_killed_while_overwriting(
        self, select: Any, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Half removed, it is still known as a run."""

        def stop(path: Path) -> None:
            rmtree(path)
            if path.name == "selections":
                raise KilledError

        rmtree = shutil.rmtree
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            patch.setattr("dataworth.table.run.shutil.rmtree", stop)
            select(fresh, seed=3, overwrite=True)
        select(fresh, seed=3, overwrite=True)
        select(tmp_path / "other", seed=3)
        same(fresh, tmp_path / "other")

    def test_two_at_once(self, select: Any, fresh: Path):
        program = (
            "import sys\nfrom pathlib import Path\nfrom dataworth.table.run import RunFolder\n"
            "import json\nfolder = Path(sys.argv[1])\n"
            "held = RunFolder.open(folder, json.loads((folder / 'run.json').read_text())"
            "['configuration'], overwrite=False)\nprint('held', flush=True)\nsys.stdin.read()\n"
        )
        before = shards(fresh)
        other = subprocess.Popen(
            [sys.executable, "-c", program, fresh], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            for overwrite in (False, True):
                with pytest.raises(RunError, match="another process is working in this folder"):
                    select(fresh, overwrite=overwrite)
            assert shards(fresh) == before
            other.kill()
        select(fresh)

    def test_load_what_is_no_run(self, select: Any, tmp_path: Path, fresh: Path):
        with pytest.raises(DataworthError, match=r"holds no run of dataworth"):
            dataworth.load(tmp_path / "nowhere")
        next(fresh.glob("table/dsir-*/00002.parquet")).unlink()
        with pytest.raises(DataworthError, match=r"00002\.parquet.*run the same command again"):
            dataworth.load(fresh)

    def test_the_pool_changed_after_the_run(self, fresh: Path, pool: Path, tmp_path: Path):
        """Choosing needs the table alone; the text of a changed file is not taken for it."""
        path = pool / "b.jsonl"
        data = path.read_bytes()
        path.write_bytes(data.replace(b"the", b"THE"))
        scores = dataworth.load(fresh)
        found = scores.choose("3%")
        assert len(found)
        with pytest.raises(RunError, match=r"b\.jsonl: changed since it was scored"):
            found.write(tmp_path / "written")
        assert not list(tmp_path.glob("written/data/*"))
