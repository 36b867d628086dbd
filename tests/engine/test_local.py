"""Units on threads and processes: the same results in the same order, and clean ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataworth.corpus.read.formats import SourceFile
from dataworth.corpus.units import Unit
from dataworth.engine.local import Engine, StoppedError, Tick, cores, unit_sizes
from dataworth.engine.progress import Progress
from dataworth.errors import ConfigError, DataworthError

FILE = SourceFile("/pool/a.jsonl", "jsonl", None, 1000, 0.0)


def make_units(count: int) -> list[Unit]:
    return [Unit(n, FILE, 0, n * 10, n * 10 + 10) for n in range(count)]


class Slow:
    """Takes a random time, so that units end in another order than they began."""

    def __call__(self, unit: Unit, tick: Tick) -> int:
        time.sleep(random.Random(unit.index).random() * 0.01)
        tick(1, 10)
        return unit.index


class Fails:
    """Fails at one unit, and says so of others if they are stopped."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, unit: Unit, tick: Tick) -> int:
        if unit.index == self.at:
            raise DataworthError("this unit")
        for _ in range(5):
            time.sleep(0.001)
            tick(0, 0)
        return unit.index


class Dies:
    """Its process is killed, as for want of memory."""

    def __call__(self, unit: Unit, tick: Tick) -> int:
        if unit.index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return unit.index


class Floats:
    def __call__(self, unit: Unit, tick: Tick) -> float:
        return float(np.random.default_rng(unit.index).normal() * 10.0**unit.index)


def plus(left: float, right: float) -> float:
    return left + right


class Waits:
    def __call__(self, unit: Unit, tick: Tick) -> int:
        if unit.index:
            time.sleep(300)
        return unit.index


DRIVER = """
import os, time
from dataclasses import dataclass
from pathlib import Path
from dataworth.engine.local import Engine

@dataclass
class Item:
    number: int
    size: int = 1

def wait(item, tick):
    Path(f"{item.number}.pid").write_text(str(os.getpid()))
    time.sleep(300)

if __name__ == "__main__":
    list(Engine(2, "processes").map(wait, [Item(0), Item(1)]))
"""


def is_alive(pid: int) -> bool:
    """Tell if a process runs; one that has ended may wait to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestMap:
    @pytest.mark.parametrize("workers", [1, 2, 7])
    def test_order(self, workers: int):
        assert list(Engine(workers).map(Slow(), make_units(40))) == [*range(40)]

    def test_processes(self):
        assert list(Engine(2, "processes").map(Slow(), make_units(12))) == [*range(12)]

    def test_nothing_to_do(self):
        assert list(Engine(3).map(Slow(), [])) == []
        assert Engine(3).fold(Floats(), plus, []) is None

    def test_a_failure_comes_at_once(self):
        """Not when its turn comes; and no thread works on."""
        seen = []

        def work(unit: Unit, tick: Tick) -> int:
            seen.append(unit.index)
            if unit.index == 0:
                for _ in range(500):
                    time.sleep(0.01)
                    tick(0, 0)
            return Fails(3)(unit, tick)

        started = time.monotonic()
        with pytest.raises(DataworthError, match="this unit"):
            list(Engine(2).map(work, make_units(100)))
        assert time.monotonic() - started < 4
        assert len(seen) < 20
        assert not [t for t in threading.enumerate() if t.name.startswith("dataworth")]

    def test_a_failure_in_a_process(self):
        with pytest.raises(DataworthError, match="this unit"):
            list(Engine(2, "processes").map(Fails(1), make_units(4)))

    def test_a_killed_process(self):
        with pytest.raises(DataworthError, match=r"worker process was killed.*fewer workers"):
            list(Engine(2, "processes").map(Dies(), make_units(4)))

    def test_left_early(self):
        """A caller that needs no more stops the rest."""
        done = []

        def work(unit: Unit, tick: Tick) -> int:
            tick(0, 0)
            done.append(unit.index)
            return unit.index

        results = Engine(2).map(work, make_units(1000))
        assert next(results) == 0
        results.close()
        assert len(done) < 50
        assert not [t for t in threading.enumerate() if t.name.startswith("dataworth")]

    def test_processes_left_early_end_at_once(self):
        started = time.monotonic()
        results = Engine(2, "processes").map(Waits(), make_units(9))
        assert next(results) == 0
        results.close()
        assert time.monotonic() - started < 60

    def test_processes_end_with_the_one_that_started_them(self, tmp_path: Path):
        (tmp_path / "driver.py").write_text(DRIVER)
        driver = subprocess.Popen([sys.executable, tmp_path / "driver.py"], cwd=tmp_path)
        marks = [tmp_path / f"{number}.pid" for number in range(2)]
        while not all(mark.is_file() and mark.read_text() for mark in marks):
            assert driver.poll() is None
            time.sleep(0.02)
        driver.kill()
        driver.wait()
        deadline = time.monotonic() + 60
        while any(is_alive(int(mark.read_text())) for mark in marks):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def test_few_results_wait(self):
        """Memory: a slow first unit does not let the others run far ahead."""
        done = []

        def work(unit: Unit, tick: Tick) -> int:
            if unit.index == 0:
                time.sleep(0.2)
            done.append(unit.index)
            return unit.index

        results = Engine(2).map(work, make_units(500))
        next(results)
        assert len(done) <= 2 * 2 + 3
        results.close()

    def test_interrupted(self):
        def work(unit: Unit, tick: Tick) -> int:
            if unit.index == 3:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            tick(0, 0)
            return unit.index

        with pytest.raises(KeyboardInterrupt):
            list(Engine(2).map(work, make_units(200)))
        assert not [t for t in threading.enumerate() if t.name.startswith("dataworth")]

    def test_stop(self):
        event = threading.Event()
        tick = Tick(make_units(1)[0], 10, None, event)
        tick(1, 1)
        event.set()
        with pytest.raises(StoppedError):
            tick(1, 1)


class TestFold:
    @pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 21])
    def test_floats_are_the_same(self, count: int):
        """Bit for bit, though sums of floats depend on their order."""
        found = {
            Engine(workers).fold(Floats(), plus, make_units(count)) for workers in (1, 2, 5, 7)
        }
        assert len(found) == 1
        tick: Any = None
        assert found.pop() == pytest.approx(
            sum(Floats()(unit, tick) for unit in make_units(count)), rel=1e-9
        )

    def test_units_in_order(self):
        def name(unit: Unit, tick: Tick) -> str:
            return f"{unit.index} "

        joined = Engine(3).fold(name, lambda left, right: left + right, make_units(21))
        assert joined is not None
        assert joined.split() == [str(n) for n in range(21)]


class TestSettings:
    def test_sizes(self):
        assert Engine().size == cores() >= 1
        assert Engine(5).size == 5
        assert Engine(5, "processes").threads() == Engine(5)

    @pytest.mark.parametrize("options", [{"workers": -1}, {"kind": "cluster"}])
    def test_wrong(self, options: dict[str, Any]):
        with pytest.raises(ConfigError):
            Engine(**options)

    def test_unit_sizes(self):
        """Bytes of Parquet files are shared by their units, which are rows."""
        parquet = SourceFile("/pool/b.parquet", "parquet", None, 900, 0.0)
        units = [*make_units(2), *(Unit(2 + n, parquet, 1, n * 5, n * 5 + 5) for n in range(3))]
        assert unit_sizes(units) == [10, 10, 300, 300, 300]

    @pytest.mark.parametrize("kind", ["threads", "processes"])
    def test_progress(self, kind: Any):
        """All bytes on disk are told, in a process too."""
        progress = Progress()
        list(Engine(2, kind).map(Slow(), make_units(10), progress=progress, name="look"))
        (phase,) = progress.phases
        assert phase.name == "look"
        assert phase.seconds > 0
        assert progress._done == progress._total == 100
        if kind == "threads":
            assert phase.documents == 10
