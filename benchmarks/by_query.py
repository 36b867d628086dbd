"""Choose by a matrix of utilities per query: seconds and memory of each rule.

    python benchmarks/by_query.py                  1,000,000 documents, 300 queries
    python benchmarks/by_query.py --documents 100000

The numbers are random, kept as float32 in a file that is read by blocks. Each rule runs in a
process of its own, whose memory beside that of the imports is told.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import scratch, table, write_results
from dataworth.mechanism.by_query import ByQuery
from dataworth.mechanism.cut import cut

RULES = ("round_robin", "max", "vote")


@dataclass
class Stored:
    """A documents table whose matrix lies in a file of float32 [documents, queries]."""

    path: Path
    documents: int
    queries: int
    matrices: tuple[str, ...] = ("matrix:step:target",)
    embeddings: tuple[str, ...] = ()
    utilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.uid = np.arange(self.documents, dtype=np.uint64)
        self.position = np.arange(self.documents)
        self.eligible = np.ones(self.documents, np.bool_)
        self.lengths = np.ones(self.documents, np.int64)

    def __len__(self) -> int:
        return self.documents

    def column(self, name: str) -> NDArray[np.float64]:
        """Raise KeyError: there is no column of single numbers."""
        raise KeyError(name)

    def vectors(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return consecutive rows."""
        count = len(rows) * self.queries
        with self.path.open("rb") as file:
            file.seek(int(rows[0]) * self.queries * 4)
            return np.fromfile(file, np.float32, count).reshape(len(rows), self.queries)


def measured(path: Path, documents: int, queries: int, rule: str) -> str:
    """Return one line: seconds, and MiB at the peak above those before."""
    stored = Stored(path, documents, queries)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    order = ByQuery(rule=rule).order(stored, 0)  # type: ignore[arg-type]
    counts = cut(order, stored.lengths, documents // 10)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chosen = int(counts.counts.sum())
    return f"{seconds:.1f} {peak / 1024:.0f} {(peak - before) / 1024:.0f} {chosen}"


def main() -> None:
    """Make the matrix, run each rule and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rule", choices=RULES)
    options = parser.parse_args()
    documents, queries = options.documents, options.queries
    path = scratch("by_query") / f"{documents}-{queries}.f32"
    if options.rule:
        print(measured(path, documents, queries, options.rule))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, documents, 10_000):
            size = (min(10_000, documents - start), queries)
            draw.standard_normal(size, np.float32).tofile(file)
    rows: list[list[object]] = []
    for rule in RULES:
        sizes = ["--documents", str(documents), "--queries", str(queries)]
        command = [sys.executable, __file__, *sizes, "--rule", rule]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        rows.append([rule, *told])
    path.unlink()
    header = ["rule", "s", "peak RSS, MiB", "above the imports and columns, MiB", "chosen"]
    settings = {"documents": documents, "queries": queries, "budget": "a tenth of the documents"}
    title = "Choosing by utilities per query"
    print(write_results("by_query", title, settings=settings, body=table(header, rows)))


if __name__ == "__main__":
    main()
