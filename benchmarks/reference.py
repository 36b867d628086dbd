"""The published package (`data-selection` on PyPI) as a command to be measured.

    python benchmarks/reference.py                     on the plain pool, 2 workers
    python benchmarks/reference.py --pool part:20MB

A run is whole: fit the estimator, weigh every document, resample and write a tenth of the
documents. It handles about 1.5 MB/s, so a measurement is kept under $DATAWORTH_BENCH_DIR and used
again by speed.py, until `--again` asks for a new one.

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
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import pools
from common import data_folder, machine, measure_repeatedly, scratch

SHARE = 0.1


@dataclass(frozen=True)
class Reference:
    """One measured run: `phases` in seconds, memory in bytes."""

    seconds: float
    cpu_seconds: float
    peak_rss: float
    peak_pss: float
    phases: dict[str, float]
    date: str
    machine: str


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


def plain_target(name: str) -> Path:
    """A target of the real data as plain JSONL, which is all that the reference reads."""
    path = scratch("targets") / f"{name}.jsonl"
    if not path.exists():
        (source,) = (data_folder() / "targets").glob(f"{name}.target.jsonl*")
        path.write_bytes(b"".join(pools.encode(pools.read_rows(source))))
    return path


def measure_reference(pool: str, target: str, workers: int, *, again: bool = False) -> Reference:
    """A whole run on a pool of pools.py, or the measurement kept from the last one."""
    kept = scratch("reference") / f"{pool.replace(':', '-')}-{target}-{workers}.json"
    if kept.exists() and not again:
        return Reference(**json.loads(kept.read_text()))
    files = pools.files(pools.build(pool))
    count = round(SHARE * sum(path.read_bytes().count(b"\n") for path in files))
    work = scratch("reference-run")
    command: list[str | Path] = [sys.executable, Path(__file__), "--inside", "--work", work]
    command += ["--count", str(count), "--workers", str(workers)]
    command += ["--target", plain_target(target), *files]
    (run,) = measure_repeatedly(command, work, repeats=1, warm=False)
    shutil.rmtree(work, ignore_errors=True)
    phases = json.loads(run.output.strip().splitlines()[-1])
    found = Reference(
        seconds=run.seconds,
        cpu_seconds=run.cpu_seconds,
        peak_rss=run.peak_rss,
        peak_pss=run.peak_pss,
        phases=phases,
        date=date.today().isoformat(),
        machine=machine(),
    )
    kept.write_text(json.dumps(asdict(found)))
    return found


def main() -> None:
    """Measure the reference and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--pool", default="plain", help="a pool of benchmarks/pools.py")
    parser.add_argument("--target", default="wiki_books", help="a target of the real data")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="measure, whatever is kept")
    arguments = parser.parse_args()
    if arguments.inside:
        target = Path(arguments.target)
        run_reference(arguments.files, target, arguments.work, arguments.count, arguments.workers)
        return
    found = measure_reference(
        arguments.pool, arguments.target, arguments.workers, again=arguments.again
    )
    print(json.dumps(asdict(found), indent=2))


if __name__ == "__main__":
    main()
