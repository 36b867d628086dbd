"""Measure how well near-duplicates are found across a pool, by share of words that were edited.

    python benchmarks/cross_document.py [--documents 400] [--embedder ngrams --embedder sentence]

Documents of the real pool that are unlike each other, and of each a copy in which a share of the
words are other words of the pool. Recall: of the planted pairs, those of which one is dropped.
Precision: of the dropped, those of a planted pair. Theory: the share of planted pairs that meet in
a band by their exact Jaccard similarity and reach the threshold, so what a perfect estimate would
find. Bias: the mean error of the estimated similarity, with its standard error.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from common import data_folder, table, write_results
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine.local import Engine
from dataworth.features.sketches import ShingleSet, Sketch, estimated_jaccard, exact_jaccard
from dataworth.flow.cross_document import run_cross_document
from dataworth.methods.base import Pool, State, Targets
from dataworth.methods.exact_duplicates import ExactDuplicates
from dataworth.methods.minhash import MinHash
from dataworth.methods.semdedup import SemDeDup
from dataworth.table.survey import Survey

RATES = (0.0, 0.01, 0.05, 0.1, 0.2)
SEED = 0
LEAST, MOST = 100, 1_000  # words of a document


def pool_texts(count: int) -> list[str]:
    """Documents of all domains, of which no two share a tenth of their shingles' sketch."""
    corpus = Corpus.open(data_folder() / "pool")
    texts: list[str] = []
    units = corpus.units[:: max(1, len(corpus.units) // 10)]
    for unit in units:
        found = (text for block in corpus.blocks(unit) for text in block.documents.texts())
        fit = [text for text in found if LEAST <= len(text.split()) <= MOST]
        texts += fit[: 2 * count // len(units)]
    sketch = Sketch().values(Documents.from_texts(texts))
    alone = [
        number
        for number in range(len(texts))
        if not number or (sketch[:number] == sketch[number]).mean(1).max() < 0.1
    ]
    return [texts[number] for number in alone][:count]


def edited(text: str, rate: float, words: Sequence[str], draw: np.random.Generator) -> str:
    """A copy of a text in which a share of the words are others."""
    copy = text.split(" ")
    for place in draw.choice(len(copy), round(rate * len(copy)), replace=False):
        copy[place] = words[int(draw.integers(len(words)))]
    return " ".join(copy)


def dropped(step: Any, texts: Sequence[str]) -> tuple[np.ndarray[Any, Any], float]:
    """Which texts a step drops, and its megabytes a second of a core."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        corpus = Corpus.open(path)
        sample = Documents.from_texts(texts)
        pool = Pool(corpus, Survey(documents=len(texts), sample=sample), Engine(1))
        state = State(step.fit(pool, Targets({})))
        start = time.process_time()
        found = run_cross_document(step, state, corpus, Engine(1), Path(folder) / "work")
        drop = pa.concat_tables(found)["drop"].is_valid().to_numpy()
        seconds = time.process_time() - start
    return drop, float(sample.text_bytes.sum()) / seconds / 1e6


def similarities(first: Sequence[str], second: Sequence[str]) -> tuple[Any, Any]:
    """Exact and estimated Jaccard similarity of each pair, [p]."""
    both = [text for pair in zip(first, second, strict=True) for text in pair]
    documents = Documents.from_texts(both)
    sketch = Sketch().values(documents)
    return exact_jaccard(ShingleSet().values(documents)), estimated_jaccard(
        sketch[0::2], sketch[1::2]
    )


def rows_of(step: Any, name: str, texts: list[str], copies: dict[float, list[str]]) -> list[Any]:
    """Recall and precision of one step at every rate."""
    rows = []
    for rate, planted in copies.items():
        others = texts[len(planted) :]
        drop, speed = dropped(step, [*texts, *planted])
        n = len(planted)
        hit = drop[:n] | drop[len(texts) :]
        false = int(drop[n : n + len(others)].sum())
        true = int(hit.sum())
        precision = true / (true + false) if true + false else float("nan")
        exact, _ = similarities(texts[:n], planted)
        theory: object = "-"
        if isinstance(step, MinHash):
            meet = 1 - (1 - exact**step.rows) ** step.bands
            reaches = exact >= step.threshold if step.verify_by != "none" else 1
            theory = float(np.mean(meet * reaches))
        rows.append([name, f"{rate:.0%}", float(exact.mean()), true / n, theory, precision, speed])
    return rows


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--embedder", action="append", default=[])
    options = parser.parse_args()
    texts = pool_texts(options.documents)
    draw = np.random.default_rng(SEED)
    words = [word for text in texts for word in text.split()[:50]]
    half = texts[: len(texts) // 2]
    copies = {rate: [edited(text, rate, words, draw) for text in half] for rate in RATES}
    steps: dict[str, Any] = {
        "minhash": MinHash(),
        "minhash(verify_by=exact)": MinHash(verify_by="exact"),
        "minhash(verify_by=none)": MinHash(verify_by="none"),
        "minhash(threshold=0.5, bands=28, rows=4)": MinHash(threshold=0.5, bands=28, rows=4),
        "exact_duplicates": ExactDuplicates(),
    }
    for embedder in options.embedder or ["ngrams"]:
        for epsilon in (0.01, 0.05, 0.1):
            step = SemDeDup(embedder=embedder, epsilon=epsilon)
            steps[f"semdedup(embedder={embedder}, epsilon={epsilon})"] = step
    for step in steps.values():
        dropped(step, texts[:10])  # compiles
    rows = [row for name, step in steps.items() for row in rows_of(step, name, texts, copies)]
    header = ["step", "edited", "Jaccard", "recall", "theory", "precision", "MB/s of a core"]
    bias = []
    for rate, planted in copies.items():
        exact, estimate = similarities(half, planted)
        error = estimate - exact
        spread = float(error.std() / np.sqrt(len(error)))
        bias.append([f"{rate:.0%}", float(exact.mean()), float(error.mean()), spread])
    body = table(header, rows) + "\n## Bias of the estimate\n\n"
    body += table(["edited", "Jaccard", "mean error", "standard error"], bias)
    write_results(
        "cross_document",
        "Near-duplicates across a pool",
        settings={
            "command": " ".join(
                ["python benchmarks/cross_document.py", f"--documents {options.documents}"]
                + [f"--embedder {name}" for name in options.embedder]
            ),
            "documents": f"{len(texts)}, of which {len(half)} have a copy",
            "seed": SEED,
        },
        body=body,
    )


if __name__ == "__main__":
    main()
