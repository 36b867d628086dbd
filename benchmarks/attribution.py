"""Check the estimates of time and memory of an attribution against what it takes.

    python benchmarks/attribution.py [--sizes tiny small] [--solvers ekfac]

For each size of model and each solver: a model of random weights is saved (time and memory do not
hang on what it has learned), `dataworth attribute` runs in a process of its own, and what it told
before it started is compared with the peak resident memory that its kernel reports and with its
clock (loading the model and forecasting are in, starting Python is not).

Writes benchmarks/results/attribution.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from common import MB, data_folder, table, write_results
from dataworth.corpus.corpus import Corpus
from dataworth.lm.model import SIZES, build, save_model
from dataworth.lm.tokenizer import train_tokenizer

ALLOWED = 0.25
DENSE = "dense"  # of the norms of the first size alone: it takes a product for each parameter


def main() -> None:
    """Run the cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--queries", type=int, nargs="*", default=[1, 40])
    parser.add_argument("--sizes", nargs="*", default=["tiny", "small"], choices=list(SIZES))
    parser.add_argument("--solvers", nargs="*", default=["identity", "diagonal", "kfac", "ekfac"])
    parser.add_argument(
        "--slow", nargs="*", default=["ekfac_cg", "lissa", DENSE], help="for the fewest queries"
    )
    parser.add_argument("--sample", type=int, default=32)
    parser.add_argument("--no-results", action="store_true", help="print the table only")
    given = parser.parse_args()
    texts = some_texts(given.documents)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pool = folder / "pool.jsonl"
        pool.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
        tokenizer = train_tokenizer(texts, 4096)
        for size in given.sizes:
            save_model(build(SIZES[size].model, 0), folder / size, tokenizer)
            for count in given.queries:
                queries = folder / f"queries-{count}.jsonl"
                lines = [json.dumps({"text": text[:400]}) + "\n" for text in texts[:count]]
                queries.write_text("".join(lines), "utf-8")
                slow = given.slow if count == min(given.queries) else ()
                for solver in (*given.solvers, *slow):
                    if solver == DENSE and size != given.sizes[0]:
                        continue
                    rows.append(case(folder, size, solver, count, pool, queries, given.sample))
                    print(rows[-1], flush=True)
    body = report(rows)
    print(body)
    if not given.no_results:
        settings = {
            "command": " ".join(["python benchmarks/attribution.py", *sys.argv[1:]]),
            "documents": given.documents,
            "workers": 1,
        }
        title = "Time and memory of an attribution, as estimated and as measured"
        write_results("attribution", title, settings=settings, body=body)
    if any(abs(float(row["ratio"]) - 1) > ALLOWED for row in rows):
        sys.exit("the estimate of memory is off by more than 25 %")


def some_texts(count: int) -> list[str]:
    """Documents of the pool, about as many of each of its files."""
    corpus = Corpus.open(data_folder() / "pool")
    each = -(-count // len(corpus.units))
    texts: list[str] = []
    for unit in corpus.units:
        texts += next(iter(corpus.blocks(unit))).documents.texts()[:each]
    return texts[:count]


def case(
    folder: Path, size: str, solver: str, count: int, pool: Path, queries: Path, sample: int
) -> dict[str, float | str]:
    """One attribution in a process of its own."""
    out = folder / f"out-{size}-{solver}-{count}"
    words = [sys.executable, "-m", "dataworth", "attribute", folder / size, pool]
    words += ["--queries", queries, "--solver", solver, "--sample", sample, "--out", out]
    words += ["--workers", 1, "--top", 3, "--quiet"]
    words += ["--layers", "*norm*"] if solver == DENSE else []
    child = os.spawnv(os.P_NOWAIT, sys.executable, [str(word) for word in words])
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"{size}, {solver}: the command failed")
    facts = json.loads((out / "attribution.json").read_text("utf-8"))
    peak = usage.ru_maxrss * 1024
    return {
        "size": size,
        "solver": f"{solver}, norms alone" if solver == DENSE else solver,
        "queries": count,
        "told": facts["predicted"]["memory"],
        "peak": peak,
        "ratio": facts["predicted"]["memory"] / peak,
        "told_seconds": facts["predicted"]["seconds"],
        "seconds": facts["used"]["seconds"],
    }


HEADER = (
    *("model", "solver", "queries", "memory estimated, MB", "peak, MB", "ratio"),
    *("time estimated, s", "taken, s"),
)


def report(rows: list[dict[str, float | str]]) -> str:
    """The table."""
    shown = [
        [
            row["size"],
            row["solver"],
            row["queries"],
            round(float(row["told"]) / MB),
            round(float(row["peak"]) / MB),
            f"{row['ratio']:.2f}",
            row["told_seconds"],
            row["seconds"],
        ]
        for row in rows
    ]
    return table(HEADER, shown)


if __name__ == "__main__":
    main()
