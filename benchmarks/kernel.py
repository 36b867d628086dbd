"""The kernels alone, on one core: MB of text a second, by script, by domain and by setting.

    python benchmarks/kernel.py
    python benchmarks/kernel.py --megabytes 16 --repeats 3

Needs a quiet machine. Documents lie in memory, in batches of 4 MiB as the readers make them, and
one thread counts or scores them; the median over the repeats is shown. `score` sums a table of
weights over the n-grams of every document (all of DSIR's work on a document), `count` adds the
n-grams up. The reader's rate is of JSONL bytes: scan, parse, hash every text to its uid.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

import pools
from common import MB, table, write_results
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.corpus.fields import Fields
from dataworth.corpus.units import Unit
from dataworth.features.ngrams import HashedNgrams

BATCH = 4 * 2**20
DEFAULT = HashedNgrams()
SETTINGS = {
    "1- and 2-grams (default)": DEFAULT,
    "1-grams": HashedNgrams(ngrams=1),
    "1- to 3-grams": HashedNgrams(ngrams=3),
    "100,000 buckets": HashedNgrams(buckets=100_000),
    "mixed tokens": HashedNgrams(tokens="mixed"),
    "characters": HashedNgrams(tokens="characters"),
    "SHA-256 buckets": HashedNgrams(hash="sha256"),
}


def load(pool: str, most: int) -> Documents:
    """The first `most` bytes of text of a pool."""
    corpus = Corpus.open(pools.build(pool), fields=Fields(groups=("domain",)))
    batches, held = [], 0
    for unit in corpus.units:
        for block in corpus.blocks(unit):
            batches.append(block.documents)
            held += int(block.documents.text_bytes.sum())
            if held >= most:
                return Documents.concatenate(batches)
    return Documents.concatenate(batches)


def cut(documents: Documents) -> list[Documents]:
    """Batches of about `BATCH` bytes, each with a buffer of its own."""
    ends = np.cumsum(documents.text_bytes)
    stops = np.searchsorted(ends, np.arange(BATCH, int(ends[-1]) + BATCH, BATCH)) + 1
    pieces, start = [], 0
    for stop in np.minimum(stops, len(documents)):
        if stop > start:
            pieces.append(documents.take(np.arange(start, stop)).compact())
        start = int(stop)
    return pieces


def rate(function: Callable[[], object], size: int, repeats: int) -> float:
    """MB a second, median; one run before fills caches."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return size / MB / statistics.median(seconds)


def score_rate(
    documents: Documents, repeats: int, *, feature: HashedNgrams = DEFAULT, targets: int = 1
) -> float:
    """MB a second of text scored."""
    batches = cut(documents)
    weights = np.random.default_rng(0).normal(size=(feature.buckets, targets))
    size = int(documents.text_bytes.sum())
    return rate(lambda: [feature.score(batch, weights) for batch in batches], size, repeats)


def count_rate(documents: Documents, repeats: int, feature: HashedNgrams = DEFAULT) -> float:
    """MB a second of text counted."""
    batches = cut(documents)
    size = int(documents.text_bytes.sum())
    return rate(lambda: [feature.count(batch) for batch in batches], size, repeats)


def by_script(sets: dict[str, Documents], repeats: int) -> str:
    """Rates of both kernels on whole pools."""
    rows: list[list[object]] = []
    for name, documents in sets.items():
        line: list[object] = [name, float(documents.text_bytes.sum() / MB)]
        line += [score_rate(documents, repeats, targets=targets) for targets in (1, 6)]
        rows.append([*line, count_rate(documents, repeats)])
    header = ["text", "MB", "score, MB/s", "score for 6 targets", "count"]
    return table(header, rows)


def by_setting(sets: dict[str, Documents], repeats: int) -> str:
    """Rates of scoring with other features."""
    rows: list[list[object]] = []
    for name, feature in SETTINGS.items():
        rates = [score_rate(documents, repeats, feature=feature) for documents in sets.values()]
        rows.append([name, *rates])
    return table(["score, MB/s", *sets], rows)


def by_domain(documents: Documents, repeats: int) -> str:
    """Rates of scoring on each domain of the pool."""
    domains = np.array(documents.columns["domain"].to_pylist())
    rows: list[list[object]] = []
    for name in np.unique(domains):
        part = documents.take(np.flatnonzero(domains == name)).compact()
        share = float((part.data < 128).mean())
        size = float(part.text_bytes.sum() / MB)
        rows.append([str(name), size, f"{share:.1%}", score_rate(part, repeats)])
    header = ["domain", "MB", "ASCII bytes", "score, MB/s"]
    return table(header, sorted(rows, key=lambda row: str(row[0])))


def reader_rates(names: Sequence[str], repeats: int, most: int) -> str:
    """Rates of the reader, on one core, of plain JSONL."""
    rows: list[list[object]] = []
    for name in names:
        corpus = Corpus.open(pools.build(name))
        units: list[Unit] = []
        size = 0
        for unit in corpus.units:
            if size < most:
                units.append(unit)
                size += unit.end - unit.start

        def read(corpus: Corpus = corpus, units: Sequence[Unit] = tuple(units)) -> int:
            return sum(len(block.documents) for unit in units for block in corpus.blocks(unit))

        rows.append([name, size / MB, rate(read, size, repeats)])
    return table(["pool", "MB of JSONL", "read, MB/s"], rows)


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=64, help="of text from each pool")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-results", action="store_true", help="print only")
    arguments = parser.parse_args()
    most, repeats = arguments.megabytes * MB, arguments.repeats
    sets = {name: load(name, most) for name in ("ascii", "mixed", "plain")}
    whole = load("plain", 10**12)
    parts = ["## The n-gram kernels, one core", by_script(sets, repeats)]
    parts += ["## Other settings", by_setting(sets, repeats)]
    parts += ["## By domain", by_domain(whole, repeats)]
    parts += ["## The reader, one core", reader_rates(list(sets), repeats, most)]
    body = "\n\n".join(parts)
    print(body)
    if not arguments.no_results:
        settings = {
            "command": "python benchmarks/kernel.py " + " ".join(sys.argv[1:]),
            "batches": f"{BATCH:,} bytes",
            "repeats": repeats,
        }
        write_results("kernel", "The kernels on one core", settings=settings, body=body)


if __name__ == "__main__":
    main()
