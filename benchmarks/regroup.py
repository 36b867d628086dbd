"""Measure `regroup`: rows under many keys that meet, are paired and closed to components.

    python benchmarks/regroup.py [--rows 2000000] [--keys 26] [--workers 2]

Rows get random keys; a share of them are near-duplicates, which have one key in common with the row
before, so clusters are pairs and chains. Resident memory is that of the process, pages of mapped
files included. Scratch is what lies on disk at the end, beside the bound that is told beforehand.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import table, write_results
from dataworth.corpus.read.formats import SourceFile
from dataworth.corpus.uid import hash_uid
from dataworth.corpus.units import Unit
from dataworth.engine.grouping import Groups, Pairs, connect
from dataworth.engine.local import Engine, Tick
from dataworth.engine.progress import Progress
from dataworth.engine.regroup import regroup, scratch_bytes
from dataworth.engine.shuffle import Keyed

UNIT_ROWS = 50_000
BLOCK = 10_000
SHARE = 0.2
FILE = SourceFile("/benchmark.jsonl", "jsonl", None, 1, 0.0)


@dataclass(frozen=True)
class Rows:
    """Unit → its rows, made of hashes: nothing is read."""

    rows: int
    keys: int

    def __call__(self, unit: Unit, tick: Tick) -> Iterator[Keyed]:
        """Blocks of rows under their keys."""
        low = unit.index * UNIT_ROWS
        high = min(low + UNIT_ROWS, self.rows)
        for start in range(low, high, BLOCK):
            row = np.arange(start, min(start + BLOCK, high), dtype=np.uint64)
            uid = hash_uid(0, row)
            keys = np.stack([hash_uid(1, row, band) for band in range(self.keys)], 1)
            near = hash_uid(2, row) < np.uint64(int(SHARE * 2**63) * 2)
            keys[near, 0] = hash_uid(1, row[near] - np.uint64(1), self.keys - 1)
            yield Keyed(
                row.astype(np.int64) - low,
                keys,
                uid,
                np.zeros(len(row)),
                int(row[-1]) + 1 - low,
            )


def decide(groups: Groups) -> Pairs:
    """All that meet belong together."""
    return connect(groups)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--keys", type=int, default=26)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    count = -(-options.rows // UNIT_ROWS)
    units = [Unit(number, FILE, 0, number, number + 1) for number in range(count)]
    folder = Path(tempfile.mkdtemp(prefix="regroup-"))
    progress = Progress()
    try:
        started, cpu = time.perf_counter(), time.process_time()
        work = Rows(options.rows, options.keys)
        found = regroup(units, work, decide, folder, Engine(options.workers), progress=progress)
        closing = time.perf_counter()
        best = found.components()
        ended = time.perf_counter()
        clusters = int((best == np.arange(len(best))).sum())
        scratch = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    spill, resolve = (phase.seconds for phase in progress.phases)
    records = options.rows * options.keys
    row = [
        f"{options.rows:,}",
        options.keys,
        spill,
        resolve,
        ended - closing,
        time.process_time() - cpu,
        records / (ended - started) / 1e6,
        peak / 1e9,
        scratch / 1e9,
        scratch_bytes(options.rows, options.keys) / 1e9,
        f"{clusters:,}",
    ]
    header = ["rows", "keys", "spill s", "resolve s", "close s", "core s", "M records/s"]
    header += ["peak RSS GB", "scratch GB", "told GB", "clusters"]
    write_results(
        "regroup",
        "Rows that share a key",
        settings={
            "command": f"python benchmarks/regroup.py --rows {options.rows} --keys {options.keys}"
            f" --workers {options.workers}",
            "near-duplicates": f"{SHARE:.0%} of the rows",
        },
        body=table(header, [row]),
    )


if __name__ == "__main__":
    main()
