"""Workers and sizes: 1 against 2 workers, time and memory from 100 MB to 5 GB.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --sizes 100MB 500MB --repeats 1

Needs a quiet machine and disk space for the pools (DATAWORTH_BENCH_DIR). The pools are those of
pools.py, `repeat:SIZE`: the real pool over and over with varied texts, so that no document occurs
twice. A run is `dataworth select` from the shell, for a tenth of the tokens. Memory is summed over
all processes of the run: RSS counts shared pages once for each process, PSS shares them out; the
pages of memory-mapped files count in both. Workers are threads, so there is one process.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import pools
from common import (
    MB,
    Measurement,
    measure_repeatedly,
    scratch,
    select_command,
    table,
    write_results,
)
from reference import plain_target

TARGET = "wiki_books"
MILLION = 1_000_000


def run(pool: str, workers: int, step: str, repeats: int, budget: str = "10%") -> list[Measurement]:
    """Whole runs on a pool."""
    work = scratch("scaling-run")
    path, target = pools.build(pool), plain_target(TARGET)
    command = select_command(path, target, work / "out", workers=workers, step=step, budget=budget)
    measured = measure_repeatedly(command, work, repeats=repeats)
    shutil.rmtree(work, ignore_errors=True)
    return measured


def median(runs: Sequence[Measurement], name: str) -> float:
    """The median of one of the measured numbers."""
    return statistics.median(float(getattr(one, name)) for one in runs)


def by_workers(
    pool: str, workers: Sequence[int], step: str, repeats: int, budget: str = "10%"
) -> str:
    """Seconds by the number of workers."""
    rows: list[list[object]] = []
    first = 0.0
    for count in workers:
        runs = run(pool, count, step, repeats, budget)
        seconds = median(runs, "seconds")
        first = first or seconds
        rows.append(
            [
                *(pool, count, seconds, median(runs, "cpu_seconds"), first / seconds),
                max(one.peak_rss for one in runs) / MB,
            ]
        )
    header = ["pool", "workers", "seconds", "CPU seconds", "speed-up", "peak RSS, MB"]
    return table(header, rows)


def by_size(sizes: Sequence[str], workers: int, step: str, repeats: int) -> str:
    """Seconds and memory by the size of the pool, and what a million documents more take."""
    rows: list[list[object]] = []
    points: list[tuple[int, int, float, float, float]] = []
    for size in sizes:
        pool = f"repeat:{size}"
        files = pools.files(pools.build(pool))
        documents = sum(count_lines(path) for path in files)
        total = sum(path.stat().st_size for path in files)
        runs = run(pool, workers, step, repeats)
        seconds = median(runs, "seconds")
        rss = max(one.peak_rss for one in runs)
        pss = max(one.peak_pss for one in runs)
        points.append((total, documents, seconds, rss, pss))
        added = float("nan")
        if len(points) > 1 and seconds > points[-2][2]:
            added = (total - points[-2][0]) / MB / (seconds - points[-2][2])
        rows.append(
            [
                *(size, documents, seconds, 1000 * seconds / (total / MB), total / MB / seconds),
                *(added, rss / MB, pss / MB, max(one.processes for one in runs)),
            ]
        )
    header = ["pool", "documents", "seconds", "ms per MB", "MB/s", "MB/s of what was added"]
    header += ["peak RSS, MB", "peak PSS, MB", "processes"]
    text = table(header, rows)
    if len(points) > 1:
        low, high = points[-2], points[-1]
        millions = (high[1] - low[1]) / MILLION
        more, shared = ((high[i] - low[i]) / MB / millions for i in (3, 4))
        text += (
            f"\nFrom {sizes[-2]} to {sizes[-1]} memory grows by {more:.0f} MB per million documents"
            f" (RSS; PSS by {shared:.0f} MB)."
        )
    return text


def count_lines(path: Path) -> int:
    """Lines of a large file."""
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 24), b""))


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["100MB", "500MB", "1GB", "2GB", "5GB"])
    parser.add_argument("--pool", nargs="+", default=["repeat:1GB", "repeat:5GB"])
    parser.add_argument("--budget", default="10%", help="for the workers")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--step", default="dsir")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-results", action="store_true", help="print only")
    arguments = parser.parse_args()
    parts = [f"Step `{arguments.step}`, a tenth of the tokens, written as .jsonl.zst."]
    parts += ["## Workers"]
    parts += [
        by_workers(
            pool, arguments.workers, arguments.step, arguments.repeats, budget=arguments.budget
        )
        for pool in arguments.pool
    ]
    most = max(arguments.workers)
    parts += [f"## Size, {most} workers"]
    parts += [by_size(arguments.sizes, most, arguments.step, arguments.repeats)]
    body = "\n\n".join(parts)
    print(body)
    if not arguments.no_results:
        settings = {
            "command": "python benchmarks/scaling.py " + " ".join(sys.argv[1:]),
            "target": TARGET,
            "repeats": arguments.repeats,
        }
        write_results("scaling", "Workers and sizes", settings=settings, body=body)


if __name__ == "__main__":
    main()
