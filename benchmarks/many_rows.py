"""A pool of very many rows, chosen from again: seconds and bytes of memory per row.

    python benchmarks/many_rows.py                      10 million rows
    python benchmarks/many_rows.py --rows 100000000

Rows are three made-up words, as all that counts here is how many there are. They are scored once
with `dsir`, kept beside the pool; the choices run in a process of their own, whose peak memory
less that of a choice among a thousand rows is divided by the number of rows.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common import cores, measure, program, scratch, table, write_results

_FILE = 1_000_000
WAYS = {
    "10 % of the tokens, temperature": ("10%", "gumbel_top_k"),
    "10 % of the tokens, best first": ("10%", "top_k"),
    "10,000 documents, best first": ("10000-docs", "top_k"),
}


def build(rows: int) -> Path:
    """Return a folder of Parquet files with so many rows; written unless it is there."""
    folder = scratch("many_rows") / f"pool-{rows}"
    if (folder / "done").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number, start in enumerate(range(0, rows, _FILE)):
        count = min(_FILE, rows - start)
        words = [
            pc.cast(pa.array(random.integers(0, 30_000, count)), pa.string()) for _ in range(3)
        ]
        texts = pc.binary_join_element_wise(*words, " ")
        pq.write_table(pa.table({"text": texts}), folder / f"{number:04d}.parquet")
    (folder / "done").touch()
    return folder


def score(pool: Path) -> tuple[Path, float]:
    """Return the run in which the pool is scored, and the seconds that took, 0 if it was there."""
    run = pool.with_name(pool.name.replace("pool", "run"))
    target = scratch("many_rows") / "target.txt"
    target.write_text("\n".join(str(word) for word in range(1000)), "utf-8")
    command: list[str | Path] = [
        program(),
        "score",
        *sorted(pool.glob("*.parquet")),
        "--target",
        target,
    ]
    made = measure([*command, "--step", "dsir", "--out", run, "--workers", str(cores())])
    if made.failed:
        raise SystemExit(made.output)
    return run, made.seconds


def main() -> None:
    """Score, choose and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    few, _ = score(build(1000))
    run, seconds = score(build(rows))
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    lines: list[list[object]] = []
    for name, (budget, mechanism) in WAYS.items():
        chosen = []
        for folder in (few, run):
            words = ["--budget", budget, "--mechanism", mechanism]
            made = measure([program(), "choose", folder, *words])
            if made.failed:
                raise SystemExit(made.output)
            chosen.append(made)
        base, made = chosen
        each = (made.peak_rss - base.peak_rss) / rows
        lines.append([name, made.seconds, made.cpu_seconds, made.peak_rss / 2**20, each])
    header = ["choice", "s", "core-seconds", "peak RSS, MiB", "bytes per row"]
    body = (
        f"{rows:,} rows, scored with one step in {seconds:,.0f} s (0: it was there); the run's "
        f"folder weighs {size / rows:.1f} bytes a row.\n\n{table(header, lines)}"
    )
    print(body)
    write_results("many_rows", "Choosing among very many rows", settings={"rows": rows}, body=body)


if __name__ == "__main__":
    main()
