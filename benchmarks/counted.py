"""Counted work: what a change costs, in numbers that do not depend on a machine's speed.

    python benchmarks/counted.py check      compare with benchmarks/counted.json; fail if more
    python benchmarks/counted.py write      take the counts of now as the baseline
    python benchmarks/counted.py check --no-instructions

Whole runs on a made-up pool, one worker: bytes that were read, files of the pool that were opened,
passes over its text, and the peak of what Python, NumPy and Arrow allocated. Kernels and the
reader: instructions per byte by valgrind, where it is installed, as the difference of a run with
more repetitions and one with fewer, so that start-up falls out; Numba compiles for a generic
processor there, so that the code is the same everywhere. Each count has a tolerance.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BASELINE = Path(__file__).parent / "counted.json"
# By how much a count may be above the baseline.
TOLERANCE = {"bytes read": 1.02, "files opened": 1.0, "passes": 1.0, "peak MB": 1.15}
TOLERANCE |= {"instructions per byte": 1.02}
DOCUMENTS = 4_000
REPEATS = (2, 6)  # of the work under valgrind
ENVIRONMENT = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "PYTHONHASHSEED": "0"}
Counts = dict[str, dict[str, float]]


def texts(count: int, seed: int) -> Iterator[str]:
    """Yield made-up texts of words with a long tail, the same everywhere."""
    source = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    words = ["".join(source.choices(letters, k=source.randint(2, 9))) for _ in range(5_000)]
    for _ in range(count):
        size = source.randint(20, 300)
        yield " ".join(words[int(5_000 * source.random() ** 3)] for _ in range(size)) + "."


def build(folder: Path) -> None:
    """Write the pool in three formats, and a target."""
    rows = [{"text": text} for text in texts(DOCUMENTS, 0)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for name in ("jsonl", "gzip", "parquet"):
        (folder / name).mkdir()
    (folder / "jsonl" / "pool.jsonl").write_bytes(lines)
    (folder / "gzip" / "pool.jsonl.gz").write_bytes(gzip.compress(lines, mtime=0))
    pq.write_table(pa.Table.from_pylist(rows), folder / "parquet" / "pool.parquet")
    target = "".join(json.dumps({"text": text}) + "\n" for text in texts(100, 1))
    (folder / "target.jsonl").write_text(target)


def runs(folder: Path) -> dict[str, tuple[str, Callable[[], object]]]:
    """Return the runs that are counted, each with the part of the pool that it reads."""
    import dataworth

    target = {"target": str(folder / "target.jsonl")}
    options: dict[str, Any] = {"engine": 1, "overwrite": True}

    def select(kind: str, out: str = "", **more: Any) -> object:
        place = folder / (out or f"out-{kind}")
        return dataworth.select(folder / kind, target, "10%", out=place, **{**options, **more})

    return {
        "select, JSONL": ("jsonl", lambda: select("jsonl")),
        "select, gzip": ("gzip", lambda: select("gzip")),
        "select, Parquet": ("parquet", lambda: select("parquet")),
        "select by two methods": (
            "jsonl",
            lambda: select("jsonl", "out-two", steps=["bm25", "dsir"]),
        ),
        "select again, nothing changed": ("jsonl", lambda: select("jsonl", overwrite=False)),
        "choose another budget": (
            "jsonl",
            lambda: dataworth.load(folder / "out-jsonl").choose("5%"),
        ),
    }


@contextlib.contextmanager
def counted(pool: Path) -> Iterator[dict[str, float]]:
    """Count what happens to a pool inside the block."""
    from dataworth.corpus.corpus import Corpus

    counts: dict[str, float] = {}
    opened, seen, watching = [], [0], [True]
    blocks = Corpus.blocks

    def watch(event: str, values: tuple[Any, ...]) -> None:
        if watching[0] and event == "open" and str(values[0]).startswith(str(pool)):
            opened.append(values[0])

    def counted_blocks(corpus: Corpus, unit: Any) -> Iterator[Any]:
        for block in blocks(corpus, unit):
            if str(unit.file.path).startswith(str(pool)):
                seen[0] += len(block.documents)
            yield block

    sys.addaudithook(watch)
    before = read_bytes()
    tracemalloc.start()
    with mock.patch.object(Corpus, "blocks", counted_blocks):
        yield counts
    counts["peak MB"] = round(tracemalloc.get_traced_memory()[1] / 1e6, 1)
    tracemalloc.stop()
    watching[0] = False
    if before is not None:
        counts["bytes read"] = (read_bytes() or 0) - before
    counts["files opened"] = len(opened)
    counts["passes"] = round(seen[0] / DOCUMENTS, 2)


def read_bytes() -> int | None:
    """Return the bytes that this process has read by system calls, where the system tells."""
    try:
        return int(re.findall(r"rchar: (\d+)", Path("/proc/self/io").read_text())[0])
    except OSError:
        return None


def whole_runs() -> Counts:
    """Count all runs, each once before it is counted, so that imports and kernels are there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        results: Counts = {}
        for label, (kind, run) in runs(folder).items():
            run()
            with counted(folder / kind) as counts:
                run()
            results[label] = counts
        return results


# Instructions


def work(name: str, pool: Path, repeats: int) -> None:
    """Do the work whose instructions are counted, so many times."""
    from dataworth.corpus.corpus import Corpus
    from dataworth.features.ngrams import HashedNgrams

    corpus = Corpus.open(pool)
    feature = HashedNgrams()
    weights = np.linspace(-1, 1, feature.buckets)[:, None]
    documents = [block.documents for unit in corpus.units for block in corpus.blocks(unit)]
    for _ in range(repeats):
        if name == "reader":
            for unit in corpus.units:
                for _block in corpus.blocks(unit):
                    pass
        for batch in documents if name != "reader" else ():
            feature.score(batch, weights) if name == "score" else feature.count(batch)


def instructions() -> Counts:
    """Count instructions per byte of the kernels and of the reader; none without valgrind."""
    if shutil.which("valgrind") is None:
        return {}
    results: Counts = {}
    with tempfile.TemporaryDirectory() as name:
        pool = Path(name) / "pool.jsonl"
        lines = [json.dumps({"text": text}) + "\n" for text in texts(400, 0)]
        pool.write_text("".join(lines))
        env = {**os.environ, **ENVIRONMENT, "NUMBA_CACHE_DIR": name}
        for kernel in ("score", "count", "reader"):
            few, many = (_instructions(kernel, pool, repeats, env) for repeats in REPEATS)
            size = pool.stat().st_size * (REPEATS[1] - REPEATS[0])
            results[f"kernel: {kernel}"] = {"instructions per byte": round((many - few) / size, 2)}
    return results


def _instructions(kernel: str, pool: Path, repeats: int, env: dict[str, str]) -> int:
    """Return the instructions of a process that does the work, its kernels compiled before."""
    words = [sys.executable, __file__, "work", kernel, str(pool), str(repeats)]
    subprocess.run(words, env=env, check=True)
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no"]
    valgrind += ["--cachegrind-out-file=/dev/null"]
    done = subprocess.run([*valgrind, *words], env=env, check=True, capture_output=True, text=True)
    (counted,) = re.findall(r"I\s+refs:\s+([\d,]+)", done.stderr)
    return int(counted.replace(",", ""))


# Comparing


def grown(counts: Counts, baseline: Counts) -> list[str]:
    """Return a line for each count that is above its baseline by more than its tolerance."""
    return [
        f"{label}: {name} {value:,} against {baseline[label][name]:,}"
        for label, values in counts.items()
        for name, value in values.items()
        if name in baseline.get(label, {}) and value > baseline[label][name] * TOLERANCE[name]
    ]


def show(counts: Counts, baseline: Counts) -> None:
    """Print a table of counts, each with its baseline where they differ."""
    names = [name for name in TOLERANCE if any(name in values for values in counts.values())]
    print("| | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for label, values in counts.items():
        cells = []
        for name in names:
            value, old = values.get(name), baseline.get(label, {}).get(name)
            more = f" ({old:,})" if old is not None and old != value else ""
            cells.append("" if value is None else f"{value:,}{more}")
        print(f"| {label} | " + " | ".join(cells) + " |")


def main() -> None:
    """Count, then compare or write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("check", "write", "work"))
    parser.add_argument("--no-instructions", action="store_true")
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.what == "work":
        name, pool, repeats = options.rest
        return work(name, Path(pool), int(repeats))
    baseline: Counts = json.loads(BASELINE.read_text()) if BASELINE.is_file() else {}
    counts = whole_runs() | ({} if options.no_instructions else instructions())
    show(counts, baseline)
    if options.what == "write":
        BASELINE.write_text(json.dumps(baseline | counts, indent=1) + "\n")
        return None
    for line in sorted(label for label in counts if label not in baseline):
        print(f"no baseline: {line} (python benchmarks/counted.py write)")
    worse = grown(counts, baseline)
    print("\n".join(worse) if worse else "no count has grown")
    sys.exit(int(bool(worse)))


if __name__ == "__main__":
    main()
