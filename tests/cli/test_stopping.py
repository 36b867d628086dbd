"""Stopped at any moment, by Ctrl-C or by kill -9, a run goes on to the same end."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from commands import fingerprint, run, start

Invoke = Callable[..., Result]

MOMENTS = 3


@pytest.fixture(scope="module")
def words(data: Path, math: str) -> list[object]:
    """A command on files of every kind, so that there are several units."""
    names = ["biomed.jsonl.gz", "math.jsonl.zst", "sci_abstracts.parquet", "speeches.jsonl"]
    pool = [data / "pool" / name for name in names]
    return ["select", *pool, "-t", math, "-w", 1, "--format", "jsonl", "--shard-bytes", "300kB"]


@pytest.fixture(scope="module")
def whole(
    words: list[object], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], float]:
    """(what the run makes when nothing stops it, seconds)."""
    out = tmp_path_factory.mktemp("whole") / "out"
    started = time.perf_counter()
    shown = run(*words, "-o", out, "--quiet")
    assert shown.returncode == 0, shown.stderr
    return fingerprint(out), time.perf_counter() - started


def goes_on(
    dw: Invoke, words: list[object], out: Path, whole: tuple[dict[str, str], float]
) -> None:
    """In this process, where all is imported: the kill needs another, going on does not."""
    shown = dw(*words, "-o", out, "--quiet")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert fingerprint(out) == whole[0]
    assert not list(out.rglob(".partial-*"))
    assert not (out / "work").exists()


def test_the_same_command_twice(
    words: list[object], whole: tuple[dict[str, str], float], tmp_path: Path, dw: Invoke
) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        goes_on(dw, words, out, whole)


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_ctrl_c(
    moment: int,
    words: list[object],
    whole: tuple[dict[str, str], float],
    tmp_path: Path,
    dw: Invoke,
) -> None:
    out = tmp_path / "out"
    process = start(*words, "-o", out)
    time.sleep(0.3 + whole[1] * (moment + random.Random(moment).random()) / (MOMENTS + 1))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert "Traceback" not in stderr
    if process.returncode != 0 and not stdout:  # else it was quicker
        # Python may end itself by the signal after it was handled: to a shell, 130 too.
        assert process.returncode in (130, -signal.SIGINT)
        # A library that draws the charts may leave the signal to the system: then nothing is said.
        if process.returncode == 130:
            assert stderr.splitlines()[-1].startswith("stopped")
    goes_on(dw, words, out, whole)


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_kill(
    moment: int,
    words: list[object],
    whole: tuple[dict[str, str], float],
    tmp_path: Path,
    dw: Invoke,
) -> None:
    out = tmp_path / "out"
    for again in range(2):
        process = start(*words, "-o", out)
        time.sleep(whole[1] * random.Random(10 * moment + again).random())
        process.kill()
        process.communicate(timeout=30)
    goes_on(dw, words, out, whole)


def some(folder: str, pattern: str = "*") -> Callable[[Path], bool]:
    return lambda out: any((out / folder).glob(pattern))


@pytest.mark.parametrize(
    "reached",
    [
        some(".", "run.json"),
        some("fitted", "sample-*/sample.json"),
        some("table", "*/*.parquet"),
        some("table", "*/00002.parquet"),
        some("selections", "*/rows.parquet"),
        some("work"),
        some("data"),
    ],
    ids=["begun", "sampled", "scored", "half", "chosen", "writing", "written"],
)
def test_kill_when_something_has_just_been_written(
    reached: Callable[[Path], bool],
    words: list[object],
    whole: tuple[dict[str, str], float],
    tmp_path: Path,
    dw: Invoke,
) -> None:
    out = tmp_path / "out"
    process = start(*words, "-o", out)
    while process.poll() is None and not reached(out):
        time.sleep(0.0005)
    process.kill()
    process.communicate(timeout=30)
    goes_on(dw, words, out, whole)
