"""A pool of very many small files: files of each step, seconds to score and to choose again.

    python benchmarks/many_files.py                 100,000 files of one document
    python benchmarks/many_files.py --files 10000

Documents are real ones of the pool, in turn. Needs DATAWORTH_TEST_DATA.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from pathlib import Path

import dataworth
import pools
from common import scratch, table, write_results
from judging import target_file


def build(files: int) -> Path:
    """Return a folder of text files with a document each; written unless it is there."""
    folder = scratch("many_files") / f"{files}"
    if (folder / "done").is_file():
        return folder / "pool"
    rows = [
        row["text"] for file in pools.files(pools.build("plain")) for row in pools.read_rows(file)
    ]
    for number in range(files):
        place = folder / "pool" / f"{number // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        text = rows[number % len(rows)][:2000]
        (place / f"{number:06d}.txt").write_text(f"{number} {text}", "utf-8")
    (folder / "done").touch()
    return folder / "pool"


def main() -> None:
    """Score, choose again twice, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    files = parser.parse_args().files
    pool, out = build(files), scratch("many_files") / "run"
    shutil.rmtree(out, ignore_errors=True)
    started, spent = time.perf_counter(), time.process_time()
    scores = dataworth.score(pool, {"math": target_file("math")}, steps=["dsir", "bm25"], out=out)
    scored, worked = time.perf_counter() - started, time.process_time() - spent
    most = max(len(list(folder.glob("*.parquet"))) for folder in (out / "table").iterdir())
    rows: list[list[object]] = [
        ["files of the pool", f"{files:,}"],
        ["documents", f"{len(scores.table):,}"],
        ["files of each step, at most", most],
        ["to score with two steps, s", f"{scored:.0f} (of a core: {worked:.0f})"],
    ]
    for name in ("to open the run, s", "to choose 10 % again, s"):
        started, spent = time.perf_counter(), time.process_time()
        if name.startswith("to open"):
            scores = dataworth.load(out)
        else:
            chosen = scores.choose("10%", utility="dsir")
        took = time.perf_counter() - started
        rows.append([name, f"{took:.1f} (of a core: {time.process_time() - spent:.1f})"])
    rows.append(["chosen", f"{len(chosen):,}"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows.append(["peak RSS, MB", f"{peak:,.0f}"])
    body = table(["", ""], rows)
    print(body)
    write_results(
        "many_files", "A pool of very many small files", settings={"files": files}, body=body
    )


if __name__ == "__main__":
    main()
