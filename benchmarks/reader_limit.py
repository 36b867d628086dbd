"""The limit: seconds in which pyarrow merely reads and parses the text column, by threads.

    python benchmarks/reader_limit.py                          plain and parquet, 2 threads
    python benchmarks/reader_limit.py repeat:1GB --threads 1 2

JSONL is read with an explicit schema of the one column, other fields ignored. The files are cut
into ranges at line ends, each range is parsed by one of the threads (pyarrow releases the GIL), its
own threads are off, and nothing of a range is kept once its rows are counted. That is the fastest
of the ways pyarrow offers: `read_json` on a whole file with its own threads is measured as well.
Parquet is read by row groups in the same manner. A total time divided by this is what everything
else (counting n-grams, scoring, choosing, writing) costs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

import pools
from common import MB, table, write_results

RANGE = 16 * 2**20
BLOCK = 1 * 2**20
SCHEMA = pa.schema([("text", pa.string())])
PARSE = pj.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore")
Job = Callable[[], tuple[int, int]]


def ranges(path: Path) -> Iterator[tuple[int, int]]:
    """Byte ranges of about `RANGE` that begin and end at line ends."""
    size = path.stat().st_size
    start = 0
    with path.open("rb") as file:
        while start < size:
            file.seek(min(start + RANGE, size))
            file.readline()
            end = min(file.tell(), size)
            yield start, end
            start = end


def parse_range(path: Path, start: int, end: int) -> tuple[int, int]:
    """Rows and text bytes of one range of a JSONL file."""
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(end - start)
    options = pj.ReadOptions(use_threads=False, block_size=BLOCK)
    parsed = pj.read_json(pa.BufferReader(data), read_options=options, parse_options=PARSE)
    return count(parsed)


def parse_group(path: Path, group: int) -> tuple[int, int]:
    """Rows and text bytes of one row group of a Parquet file."""
    with pq.ParquetFile(path) as file:
        return count(file.read_row_group(group, columns=["text"], use_threads=False))


def count(parsed: pa.Table) -> tuple[int, int]:
    """Rows and text bytes of a parsed table."""
    return parsed.num_rows, parsed.column("text").nbytes


def jobs(files: Sequence[Path]) -> list[Job]:
    """The pieces of a pool, each as a function without arguments that reads it."""
    found: list[Job] = []
    for path in files:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                found += [partial(parse_group, path, i) for i in range(file.num_row_groups)]
        else:
            found += [partial(parse_range, path, start, end) for start, end in ranges(path)]
    return found


def by_ranges(files: Sequence[Path], threads: int) -> int:
    """Read a pool range by range on `threads` threads; returns the number of rows."""
    with ThreadPoolExecutor(threads) as pool:
        return sum(rows for rows, _ in pool.map(lambda job: job(), jobs(files)))


def by_files(files: Sequence[Path], threads: int) -> int:
    """Read a pool file by file with pyarrow's own threads; returns the number of rows."""
    pa.set_cpu_count(threads)
    rows = 0
    for path in files:
        if path.suffix == ".parquet":
            rows += pq.read_table(path, columns=["text"]).num_rows
        else:
            options = pj.ReadOptions(use_threads=True, block_size=BLOCK)
            rows += pj.read_json(path, read_options=options, parse_options=PARSE).num_rows
    return rows


WAYS = {"ranges": by_ranges, "whole files": by_files}


def limit(
    files: Sequence[Path], threads: int, *, way: str = "ranges", repeats: int = 5
) -> tuple[float, float]:
    """Median wall and CPU seconds to read and parse the text column, with the page cache warm.

    The two tell a busy machine: on an idle one, wall time is little more than CPU / threads.
    """
    wall, cpu = [], []
    for _ in range(repeats + 1):
        start, used = time.perf_counter(), time.process_time()
        WAYS[way](files, threads)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    return statistics.median(wall[1:]), statistics.median(cpu[1:])


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pools", nargs="*", default=["plain", "parquet"])
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rows: list[list[object]] = []
    for name in arguments.pools:
        files = pools.files(pools.build(name))
        size = sum(path.stat().st_size for path in files)
        for threads in arguments.threads:
            for way in WAYS:
                wall, cpu = limit(files, threads, way=way, repeats=arguments.repeats)
                rows.append([name, way, threads, size / MB, wall, cpu, size / MB / wall])
    header = ["pool", "way", "threads", "MB on disk", "seconds", "CPU seconds", "MB/s"]
    body = table(header, rows)
    print(body)
    command = "python benchmarks/reader_limit.py " + " ".join(sys.argv[1:])
    settings = {"command": command, "repeats": arguments.repeats, "range": RANGE, "block": BLOCK}
    write_results("reader_limit", "The reading limit", settings=settings, body=body)


if __name__ == "__main__":
    main()
