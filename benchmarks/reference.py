"""Against the published package (`data-selection` on PyPI): the same pool, target, workers, budget.

    python benchmarks/reference.py                    both on 40 MB, results to benchmarks/results/
    python benchmarks/reference.py --pool part:20MB --repeats 1 --only reference
    python benchmarks/reference.py --large repeat:1GB --large zst    dataworth on these too

A run is whole: fit the estimator, weigh every document, resample and write a tenth of the
documents. Each runs as a command of its own, measured from outside; the first run of each is
thrown away where it only fills caches (compiled kernels, page cache). The reference handles about
1 MB/s, so it gets a small pool, and its rate is compared with that of dataworth on the same pool
and on the larger one, where start-up no longer counts.

What the reference needs to run at all, found by trying (data-selection 1.0.3):
- plain JSONL without a blank or cut line and with a text in each row: else it ends with a
  traceback, a blank line included; the encoding is the locale's, so the locale has to be UTF-8;
- fewer documents asked for than are long enough (100 tokens): with as many, `argpartition` fails
  after all the work;
- an `out_dir` that does not exist: into one that does, the folder of parts is moved as it is;
- a fresh `cache_dir`: weights of an earlier run with another number of processes are used silently;
- nltk before 3.10, which reads `\\w+|[^\\w\\s]+` with Python's `re`. Later ones use another engine,
  in which `\\w` holds combining marks and not `²`: other tokens for Thai, Arabic, Hindi and more.
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
from common import MB, Measurement, data_folder, measure, scratch, table, write_results

SHARE = 0.1
TIME_LIMIT = 3_600.0


def run_reference(
    files: Sequence[Path], target: Path, work: Path, count: int, workers: int
) -> None:
    """What is measured of the reference: all its phases, with their seconds printed as JSON."""
    from data_selection import HashedNgramDSIR

    start = time.perf_counter()
    selector = HashedNgramDSIR(
        [str(path) for path in files],
        [str(target)],
        cache_dir=str(work / "cache"),
        num_proc=workers,
    )
    selector.fit_importance_estimator(num_tokens_to_fit="auto")
    fitted = time.perf_counter()
    selector.compute_importance_weights()
    weighed = time.perf_counter()
    selector.resample(str(work / "out"), num_to_sample=count, cache_dir=str(work / "partial"))
    end = time.perf_counter()
    phases = {"fit": fitted - start, "weigh": weighed - fitted, "write": end - weighed}
    print(json.dumps(phases), flush=True)


def reference_command(
    files: Sequence[Path], target: Path, work: Path, *, count: int, workers: int
) -> list[str | Path]:
    """This file as a command that runs the reference."""
    command: list[str | Path] = [sys.executable, Path(__file__), "--inside", "--work", work]
    command += ["--count", str(count), "--workers", str(workers), "--target", target]
    return command + list(files)


def dataworth_command(
    pool: Path, target: Path, work: Path, *, step: str, workers: int, extra: Sequence[str] = ()
) -> list[str | Path]:
    """The command line of dataworth for the same work."""
    program = Path(sys.executable).parent / "dataworth"
    if not program.exists():
        raise SystemExit(f"{program} is missing: install dataworth beside this Python")
    command: list[str | Path] = [program, "select", pool, "--target", f"target={target}"]
    command += ["--step", step, "--budget", f"{SHARE:.0%}", "--workers", str(workers)]
    return [*command, "--out", work / "out", "--overwrite", "--quiet", *extra]


def plain_target(name: str) -> Path:
    """A target of the real data as plain JSONL, which is all that the reference reads."""
    path = scratch("targets") / f"{name}.jsonl"
    if not path.exists():
        (source,) = (data_folder() / "targets").glob(f"{name}.target.jsonl*")
        path.write_bytes(b"".join(pools.encode(pools.read_rows(source))))
    return path


def repeat(
    command: Sequence[str | Path], work: Path, *, repeats: int, warm: bool
) -> list[Measurement]:
    """Run a command several times, each in an emptied folder; raises SystemExit if it fails."""
    measured = []
    for number in range(repeats + warm):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        one = measure(command, timeout=TIME_LIMIT)
        if one.failed:
            raise SystemExit(f"{one.output}\nexit code {one.exit_code}: {command}")
        if number >= warm:
            measured.append(one)
    return measured


def row(
    name: str, pool: str, size: int, documents: int, runs: Sequence[Measurement]
) -> list[object]:
    """A line of the table: medians over the runs."""
    seconds = statistics.median(run.seconds for run in runs)
    return [
        *(name, pool, size / MB, documents, len(runs), seconds, size / MB / seconds),
        statistics.median(run.cpu_seconds for run in runs),
        max(run.peak_rss for run in runs) / MB,
        max(run.peak_pss for run in runs) / MB,
    ]


HEADER = [
    *("program", "pool", "MB of JSONL", "documents", "runs", "seconds (median)", "MB/s"),
    *("CPU seconds", "peak RSS, MB", "peak PSS, MB"),
]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--pool", default="part:40MB", help="a pool of benchmarks/pools.py")
    parser.add_argument("--large", action="append", default=[], help="further pools for dataworth")
    parser.add_argument("--target", default="wiki_books", help="a target of the real data")
    parser.add_argument("--step", action="append", help="steps of dataworth to measure")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("reference", "dataworth"))
    arguments = parser.parse_args()
    if arguments.inside:
        given = (arguments.files, Path(arguments.target), arguments.work)
        run_reference(*given, count=arguments.count, workers=arguments.workers)
        return
    compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Measure the programs one after another, print the table and write it if both ran."""
    target = plain_target(arguments.target)
    work = scratch("reference-run")
    rows: list[list[object]] = []
    notes: list[str] = []
    for name in (arguments.pool, *arguments.large):
        pool = pools.build(name)
        files = pools.files(pool)
        size = sum(path.stat().st_size for path in files)
        documents = sum(path.read_bytes().count(b"\n") for path in files)
        if arguments.only != "dataworth" and name == arguments.pool:
            count = round(SHARE * documents)
            command = reference_command(files, target, work, count=count, workers=arguments.workers)
            runs = repeat(command, work, repeats=arguments.repeats, warm=False)
            rows.append(row("data-selection 1.0.3", name, size, documents, runs))
            notes += [f"Phases of the reference, in seconds: {phases(run)}" for run in runs]
        if arguments.only != "reference":
            for step in arguments.step or ("dsir", "dsir:reference"):
                command = dataworth_command(
                    pool, target, work, step=step, workers=arguments.workers
                )
                runs = repeat(command, work, repeats=arguments.repeats, warm=True)
                rows.append(row(f"dataworth, {step}", name, size, documents, runs))
    shutil.rmtree(work, ignore_errors=True)
    body = table([*HEADER, "times the reference"], with_ratio(rows)) + "\n" + "\n".join(notes)
    print(body)
    if arguments.only is None:
        settings = {
            "command": "python benchmarks/reference.py " + " ".join(sys.argv[1:]),
            "target": arguments.target,
            "budget": f"{SHARE:.0%} of the documents",
            "workers": arguments.workers,
        }
        write_results("reference", "Against the published package", settings=settings, body=body)


def with_ratio(rows: Sequence[list[object]]) -> list[list[object]]:
    """The rows with the ratio of their MB/s to that of the first row."""
    base = rows[0][6]
    return [
        [*line, line[6] / base if isinstance(line[6], float) and isinstance(base, float) else ""]
        for line in rows
    ]


def phases(run: Measurement) -> str:
    """The phases that the reference printed last."""
    printed = json.loads(run.output.strip().splitlines()[-1])
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in printed.items())


if __name__ == "__main__":
    main()
