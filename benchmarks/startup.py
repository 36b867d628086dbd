"""Start-up: `dataworth --help`, a thousand documents, and the first run ever, which compiles.

    python benchmarks/startup.py

Needs a quiet machine. The first run has an empty NUMBA_CACHE_DIR, as where dataworth was just
installed; what it says of that is shown. Python's own byte code is there in every case, as pip
leaves it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pools
from common import (
    Measurement,
    measure_repeatedly,
    program,
    scratch,
    select_command,
    table,
    write_results,
)
from reference import plain_target

TARGET = "wiki_books"
DOCUMENTS = 1_000
SAYS = "compiling"


def small_pool() -> Path:
    """A file with the first documents of the pool."""
    path = scratch("startup") / "pool.jsonl"
    if not path.exists():
        (first, *_) = pools.files(pools.build("plain"))
        lines = first.read_bytes().split(b"\n")[:DOCUMENTS]
        path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def times(
    command: Sequence[str | Path],
    *,
    repeats: int,
    warm: bool,
    environment: Mapping[str, str] | None = None,
) -> list[Measurement]:
    """Some runs; the folder `startup-run` is emptied before each."""
    work = scratch("startup-run")
    runs = measure_repeatedly(command, work, repeats=repeats, warm=warm, environment=environment)
    shutil.rmtree(work, ignore_errors=True)
    return runs


def row(name: str, runs: Sequence[Measurement], least: str) -> list[object]:
    """A line of the table."""
    seconds = [run.seconds for run in runs]
    cpu = statistics.median(run.cpu_seconds for run in runs)
    return [name, len(runs), statistics.median(seconds), min(seconds), max(seconds), cpu, least]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-results", action="store_true", help="print only")
    arguments = parser.parse_args()
    repeats = arguments.repeats
    bare = times([sys.executable, "-c", "pass"], repeats=repeats, warm=True)
    rows = [row("python -c pass", bare, "")]
    for words in (["--help"], ["select", "--help"]):
        runs = times([program(), *words], repeats=repeats, warm=True)
        rows.append(row("dataworth " + " ".join(words), runs, "0.5 s"))
    work = scratch("startup-run")
    command = select_command(
        small_pool(), plain_target(TARGET), work / "out", workers=arguments.workers, extra=()
    )
    runs = times(command, repeats=repeats, warm=True)
    rows.append(row(f"select from {DOCUMENTS:,} documents", runs, "3 s"))
    first = times(
        command, repeats=3, warm=False, environment={"NUMBA_CACHE_DIR": str(work / "numba")}
    )
    rows.append(row("the same, first run ever", first, "15 s"))
    said = [line for line in first[-1].output.splitlines() if SAYS in line]
    header = ["what", "runs", "seconds (median)", "least", "most", "CPU seconds", "at most"]
    body = table(header, rows)
    body += f"\nThe first run says: `{said[0]}`" if said else "\nThe first run does not say why."
    print(body)
    if not arguments.no_results:
        settings = {
            "command": "python benchmarks/startup.py " + " ".join(sys.argv[1:]),
            "target": TARGET,
            "workers": arguments.workers,
        }
        write_results("startup", "Start-up", settings=settings, body=body)


if __name__ == "__main__":
    main()
