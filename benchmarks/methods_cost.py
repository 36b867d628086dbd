"""Measure what each method costs: core-seconds, MB/s, memory and lines of code in one table.

    python benchmarks/methods_cost.py [--documents 20000] [--only dsir --only d4]

Each one has a process of its own, with one worker. It first scores a few documents, which compiles
kernels and loads models; then the pool, timed by the time of the process on all its cores, so that
what else the machine does counts little. Mechanisms are timed while they choose a tenth by vectors
that are there. What was measured is kept in `$DATAWORTH_BENCH_DIR`; only what is missing is run.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import MB, data_folder, scratch, table, write_results

PACKAGE = Path(__file__).parent.parent / "src" / "dataworth"
TARGETED = ("dsir", "dsir_discriminative", "bm25", "classifier", "moore_lewis")
EMBEDDED = ("betr", "cluster_balanced", "d4", "density", "embedding_similarity", "semdedup")
PLAIN: tuple[str, ...] = (
    "length",
    "exact_duplicates",
    "exact_substrings",
    "minhash",
    "softdedup",
    "c4",
    "fineweb",
)
PLAIN += ("gopher_quality", "gopher_repetition", "refinedweb", "language_id", "ngram_perplexity")
STEPS: Mapping[str, str] = {
    **{name: name for name in (*PLAIN, *TARGETED, *EMBEDDED)},
    "embedding_similarity": "embedding_similarity(embedder=distilled)",
}
MECHANISMS = ("facility_location", "k_centre", "disf", "diverse")
FIRST = 200  # documents that are scored before


def rows_of(folder: Path, count: int) -> list[dict[str, str]]:
    """Return the texts of the pool, as many of each unit."""
    from dataworth.corpus.corpus import Corpus

    corpus = Corpus.open(folder)
    each = -(-count // len(corpus.units))
    rows: list[dict[str, str]] = []
    for unit in corpus.units:
        texts = (text for block in corpus.blocks(unit) for text in block.documents.texts())
        rows += [{"text": text} for text, _ in zip(texts, range(each), strict=False)]
    return rows[:count]


def child(name: str, documents: int) -> None:
    """Measure one method or mechanism in this process and print what came as JSON."""
    import resource
    import time

    import dataworth

    rows = rows_of(data_folder() / "pool", documents)
    target = {"math": str(next((data_folder() / "targets").glob("math.target*")))}
    options: dict[str, Any] = {"target": target, "engine": 1}
    with tempfile.TemporaryDirectory() as folder:
        mechanism = name in MECHANISMS
        steps = [STEPS.get(name, "embed")] + (["dsir"] if name == "diverse" else [])
        first = dataworth.score(rows[:FIRST], steps=steps, out=Path(folder) / "a", **options)
        if mechanism:
            first.choose("10-docs", mechanism=name)
            scores = dataworth.score(rows, steps=steps, out=Path(folder) / "b", **options)
        begin = time.process_time()
        if mechanism:
            scores.choose(f"{documents // 10}-docs", mechanism=name)
        else:
            dataworth.score(rows, steps=steps, out=Path(folder) / "b", **options)
        seconds = time.process_time() - begin
    usage = resource.getrusage(resource.RUSAGE_SELF)
    size = sum(len(row["text"].encode()) for row in rows)
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    said = {"documents": len(rows), "bytes": size, "seconds": seconds, "memory": memory}
    print("measured", json.dumps(said))


def code_lines(path: Path) -> int:
    """Return the lines of a file that hold code: no blank ones, comments or docstrings."""
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines: set[int] = set()
    begins = True
    for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
        if token.type in (*skipped, tokenize.ENDMARKER):
            begins = begins or token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
            continue
        if not (begins and token.type == tokenize.STRING):
            lines |= set(range(token.start[0], token.end[0] + 1))
        begins = False
    return len(lines)


def main() -> None:
    """Measure what is missing and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--one", help="for the processes that this script starts")
    options = parser.parse_args()
    if options.one:
        child(options.one, options.documents)
        return
    file = scratch() / "methods_cost.json"
    known: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    for name in options.only or (*STEPS, *MECHANISMS):
        if known.get(name, {}).get("documents") == options.documents:
            continue
        words = [sys.executable, __file__, "--one", name, "--documents", str(options.documents)]
        run = subprocess.run(words, capture_output=True, text=True, check=False)
        said = [line for line in run.stdout.splitlines() if line.startswith("measured ")]
        if not said:
            print(f"{name}: {run.stderr.strip().splitlines()[-1:]}")
            continue
        known[name] = json.loads(said[-1].removeprefix("measured "))
        file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
        print(name, known[name], flush=True)
    write(known)


def write(known: Mapping[str, Any]) -> None:
    """Write the table of all that is known."""
    rows: list[list[object]] = []
    for name in (name for name in (*STEPS, *MECHANISMS) if name in known):
        one = known[name]
        folder = "mechanism" if name in MECHANISMS else "methods"
        lines = code_lines(PACKAGE / folder / f"{name}.py")
        speed = one["bytes"] / MB / one["seconds"]
        memory = round(one["memory"] / MB)
        rows.append([name, one["documents"], one["seconds"], speed, memory, lines])
    header = ["method", "documents", "core-seconds", "MB/s of a core", "peak memory, MB", "lines"]
    write_results(
        "methods_cost",
        "What each method costs",
        settings={"command": "python benchmarks/methods_cost.py", "workers": 1, "before": FIRST},
        body=table(header, rows),
    )


if __name__ == "__main__":
    main()
