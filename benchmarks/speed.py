"""Whole runs against the published package and against the limit of reading, and where time goes.

    python benchmarks/speed.py                        plain and repeat:1GB
    python benchmarks/speed.py --pool repeat:500MB --reference-seconds 310 --form

Needs a quiet machine. A run is `dataworth select` from the shell, starting Python included: sample,
fit, score, choose a tenth (`--budget`), write it as .jsonl.zst, measure it, write the report. Each
is run once to fill caches (compiled kernels, pages), then `--repeats` times; medians are shown.

The reference runs once on the same files as plain JSONL (reference.py keeps its time; it takes
minutes). The limit is the time in which pyarrow merely reads and parses the text column on as many
threads (reader_limit.py). The phases come from the public functions called one by one in a process
of their own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
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
from reader_limit import limit
from reference import Reference, measure_reference, plain_target

STEPS = ("dsir", "dsir(raw=all)", "dsir:reference")
FORMS = ("zst", "parquet")
TARGET = "wiki_books"
Line = list[object]
_RUNS: dict[tuple[str, str], list[Measurement]] = {}


def run(pool: str, step: str, arguments: argparse.Namespace) -> list[Measurement]:
    """Whole runs of dataworth on a pool, measured once for all tables."""
    if (pool, step) not in _RUNS:
        work = scratch("speed-run")
        path, target = pools.build(pool), plain_target(TARGET)
        command = select_command(
            path,
            target,
            work / "out",
            workers=arguments.workers,
            step=step,
            budget=arguments.budget,
        )
        _RUNS[pool, step] = measure_repeatedly(command, work, repeats=arguments.repeats)
        shutil.rmtree(work, ignore_errors=True)
    return _RUNS[pool, step]


def seconds_of(runs: Sequence[Measurement]) -> float:
    """The median."""
    return statistics.median(one.seconds for one in runs)


def against_reference(arguments: argparse.Namespace) -> str:
    """The table against the published package."""
    rows: list[Line] = []
    notes = []
    for place, pool in enumerate(arguments.pool):
        files = pools.files(pools.build(pool))
        size = sum(path.stat().st_size for path in files)
        documents = sum(path.read_bytes().count(b"\n") for path in files)
        known = known_reference(arguments, place)
        rows.append(
            [
                *("data-selection 1.0.3", pool, known.seconds, size / MB / known.seconds),
                *(known.cpu_seconds, known.peak_rss / MB, known.peak_pss / MB, 1.0),
            ]
        )
        size_text = pool.partition(":")[2]
        forms = [f"{form}:{size_text}" if size_text else form for form in arguments.form]
        steps = [(pool, step) for step in arguments.step]
        for other, step in [*steps, *((form, "dsir") for form in forms)]:
            measured = run(other, step, arguments)
            seconds = seconds_of(measured)
            rows.append(
                [
                    *(f"dataworth, {step}", other, seconds, size / MB / seconds),
                    statistics.median(one.cpu_seconds for one in measured),
                    max(one.peak_rss for one in measured) / MB,
                    max(one.peak_pss for one in measured) / MB,
                    known.seconds / seconds,
                ]
            )
        phases = ", ".join(f"{name} {value:.1f}" for name, value in known.phases.items())
        notes.append(
            f"- {pool}: {size / MB:,.0f} MB of plain JSONL, {documents:,} documents; reference "
            f"measured on {known.date}, seconds by phase: {phases or 'not known'}"
        )
    header = ["program", "pool", "seconds", "MB/s of JSONL", "CPU seconds", "peak RSS, MB"]
    header += ["peak PSS, MB", "times the reference"]
    return table(header, rows) + "\n" + "\n".join(notes)


def known_reference(arguments: argparse.Namespace, place: int) -> Reference:
    """The reference's measurement: the one given, the one kept, or a new one."""
    if arguments.reference_of is not None:
        return reference_in_proportion(arguments, place)
    if arguments.reference_seconds is None:
        return measure_reference(arguments.pool[place], TARGET, arguments.workers)
    nan = float("nan")
    seconds = arguments.reference_seconds[place]
    return Reference(seconds, nan, nan, nan, {}, "an earlier day (--reference-seconds)", "")


def reference_in_proportion(arguments: argparse.Namespace, place: int) -> Reference:
    """The reference's time on a smaller pool, in proportion to the bytes.

    It goes through its files line by line, twice, so its time grows with them. On a pool of some
    gigabytes it would take the better part of an hour.
    """
    smaller = measure_reference(arguments.reference_of, TARGET, arguments.workers)
    sizes = [
        sum(path.stat().st_size for path in pools.files(pools.build(name)))
        for name in (arguments.pool[place], arguments.reference_of)
    ]
    times = sizes[0] / sizes[1]
    phases = {name: seconds * times for name, seconds in smaller.phases.items()}
    note = f"{smaller.date} on {arguments.reference_of}, here in proportion to the bytes"
    nan = float("nan")
    return Reference(smaller.seconds * times, nan, nan, nan, phases, note, smaller.machine)


def against_limit(arguments: argparse.Namespace) -> str:
    """The table of total times over the time of reading alone."""
    rows: list[Line] = []
    for pool in arguments.pool:
        files = pools.files(pools.build(pool))
        size = sum(path.stat().st_size for path in files)
        least = limit(files, arguments.workers, repeats=max(arguments.repeats, 3))[0]
        rows.append(["pyarrow reads the text column", pool, size / MB, least, size / MB / least, 1])
        for step in arguments.step[:2]:
            seconds = seconds_of(run(pool, step, arguments))
            name = f"dataworth, {step}"
            rows.append([name, pool, size / MB, seconds, size / MB / seconds, seconds / least])
    return table(["program", "pool", "MB", "seconds", "MB/s", "times the limit"], rows)


def where_time_goes(arguments: argparse.Namespace) -> str:
    """Seconds by phase, for `raw=sample` and `raw=all`."""
    columns: dict[str, dict[str, float]] = {}
    for pool in arguments.pool:
        for step in arguments.step[:2]:
            work = scratch("speed-run")
            command: list[str | Path] = [sys.executable, Path(__file__), "--inside", step]
            command += ["--pool", pools.build(pool), "--workers", str(arguments.workers)]
            command += ["--budget", arguments.budget]
            measured = measure_repeatedly(
                [*command, "--work", work / "out"], work, repeats=arguments.repeats
            )
            shutil.rmtree(work, ignore_errors=True)
            middle = sorted(measured, key=lambda one: one.seconds)[len(measured) // 2]
            phases = json.loads(middle.output.strip().splitlines()[-1])
            phases["stop, and start of the interpreter"] = middle.seconds - sum(phases.values())
            columns[f"{pool}, {step}"] = phases
    names = list(dict.fromkeys(name for phases in columns.values() for name in phases))
    rows: list[Line] = [
        [name, *(phases.get(name, 0.0) for phases in columns.values())] for name in names
    ]
    rows.append(["**all**", *(sum(phases.values()) for phases in columns.values())])
    return table(["phase, seconds", *columns], rows)


def run_inside(pool: Path, step: str, out: Path, workers: int, budget: str) -> None:
    """The same run through the public functions one by one; prints seconds by phase as JSON."""
    start = time.perf_counter()
    import dataworth
    import dataworth.api  # what the first call would import
    from dataworth.engine.progress import Progress

    seconds = {"import": time.perf_counter() - start}
    progress = Progress()

    def phases() -> dict[str, float]:
        return {phase.name: phase.seconds for phase in progress.phases}

    def note(name: str, begin: float, known: dict[str, float]) -> None:
        new = {key: value for key, value in phases().items() if key not in known}
        seconds.update(new)
        seconds[name] = time.perf_counter() - begin - sum(new.values())

    begin = time.perf_counter()
    target = {"target": plain_target(TARGET)}
    options = {"steps": [step], "engine": workers, "progress": progress}
    scores = dataworth.score(pool, target, out=out, **options)  # type: ignore[arg-type]
    note("target, fit on the sample, set-up", begin, {})
    known, begin = phases(), time.perf_counter()
    selection = scores.choose(budget)
    note("choose, temperature", begin, known)
    known, begin = phases(), time.perf_counter()
    selection.write(out)
    note("finish shards, measure", begin, known)
    known, begin = phases(), time.perf_counter()
    selection.report(out / "report.html")
    note("report", begin, known)
    print(json.dumps(seconds), flush=True)


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inside", metavar="STEP", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--pool", nargs="+", default=["plain", "repeat:1GB"])
    parser.add_argument("--step", nargs="+", default=list(STEPS), help="the steps to run")
    parser.add_argument("--form", nargs="*", default=list(FORMS), help="the pools in these, too")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--reference-seconds", type=float, nargs="+", help="for each pool: do not run the reference"
    )
    parser.add_argument("--reference-of", metavar="POOL", help="its time on POOL, in proportion")
    parser.add_argument("--budget", default="10%", help="what is chosen and written")
    parser.add_argument("--name", default="speed", help="of the file in results/")
    parser.add_argument("--no-results", action="store_true", help="print only")
    arguments = parser.parse_args()
    if arguments.inside:
        given = (Path(arguments.pool[0]), arguments.inside, arguments.work, arguments.workers)
        run_inside(*given, arguments.budget)
        return
    parts = ["## Against the published package", against_reference(arguments)]
    parts += ["## Against the limit", against_limit(arguments)]
    parts += ["## Where the time goes", where_time_goes(arguments)]
    body = "\n\n".join(parts)
    print(body)
    if not arguments.no_results:
        settings = {
            "command": "python benchmarks/speed.py " + " ".join(sys.argv[1:]),
            "target": TARGET,
            "budget": arguments.budget,
            "workers": arguments.workers,
            "repeats": arguments.repeats,
        }
        write_results(arguments.name, "Speed of whole runs", settings=settings, body=body)


if __name__ == "__main__":
    main()
