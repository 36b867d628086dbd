"""Measure how well `judge` finds near duplicates, by length of text and share of words that differ.

    python benchmarks/near_duplicates.py

Planted pairs: windows of the pool's documents, each with a copy in which a share of the words are
other words of the pool (at least one, unless the share is 0: then only case and punctuation
differ). Beside them lie as many windows of other documents. Recall is the share of planted pairs
that end up in one group; precision, of all pairs within groups, those that were planted. Jaccard is
the mean similarity of the planted pairs' 5-word shingles: the judge looks for 0.7 or more. Also
the speed of folding text for comparison, in seconds of a core.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np

from common import data_folder, table, write_results
from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.features.grams import ngrams_of, words_of
from dataworth.measures.duplicates import ALIKE, SHINGLE, near, sketches

LENGTHS = (5, 20, 50, 200)
RATES = (0.0, 0.02, 0.05, 0.1, 0.2)
PAIRS = 200
SPEED_BYTES = 400_000
SEED = 0


def pool_words(documents: int) -> list[list[str]]:
    """The words of some documents of the pool, each long enough for the longest window."""
    found: list[list[str]] = []
    corpus = Corpus.open(data_folder() / "pool")
    for unit in corpus.units[:: max(1, len(corpus.units) // 10)]:  # of every domain some
        texts = (text for block in corpus.blocks(unit) for text in block.documents.texts())
        words = [[word for word in text.split() if word.isalnum()] for text in texts]
        found += [item for item in words if len(item) >= LENGTHS[-1]][: documents // 5]
    return found[:documents]


def edited(
    words: Sequence[str], rate: float, others: Sequence[str], draw: np.random.Generator
) -> str:
    """A copy of a text in which a share of the words are others."""
    copy = list(words)
    if not rate:
        return " ".join(copy).upper() + " !"
    count = max(1, round(rate * len(copy)))
    for place in draw.choice(len(copy), count, replace=False):
        copy[place] = others[int(draw.integers(len(others)))]
    return " ".join(copy)


def similarity(first: Sequence[str], second: Sequence[str]) -> float:
    """Mean Jaccard similarity of the shingles of texts, pair by pair."""
    sets = []
    for texts in (first, second):
        words = words_of(Documents.from_texts(list(texts)), punctuation=False)
        grams = ngrams_of(words, SHINGLE)
        spans = grams.spans.tolist()
        sets.append([set(grams.hashes[a:b].tolist()) for a, b in itertools.pairwise(spans)])
    pairs = [(a, b) for a, b in zip(*sets, strict=True) if a | b]
    return float(np.mean([len(a & b) / len(a | b) for a, b in pairs])) if pairs else float("nan")


def row(documents: Sequence[Sequence[str]], length: int, rate: float) -> list[object]:
    """Precision and recall for one length and one share of other words."""
    draw = np.random.default_rng([SEED, length, round(100 * rate)])
    others = [word for words in documents[: 2 * PAIRS] for word in words[:50]]
    windows = [
        list(words[start : start + length])
        for words in documents[: 2 * PAIRS]
        for start in [int(draw.integers(len(words) - length + 1))]
    ]
    originals = [" ".join(words) for words in windows]
    copies = [edited(words, rate, others, draw) for words in windows[:PAIRS]]
    sketch, known = sketches(Documents.from_texts(originals + copies))
    assert known.all()
    group = near(sketch)
    sizes = np.bincount(group, minlength=len(group))
    pairs = int((sizes * (sizes - 1) // 2).sum())
    together = int((group[:PAIRS] == group[2 * PAIRS :]).sum())
    precision = together / pairs if pairs else float("nan")
    return [
        length,
        f"{rate:.0%}",
        similarity(originals[:PAIRS], copies),
        together / PAIRS,
        precision,
    ]


def speeds(documents: Sequence[Sequence[str]]) -> list[list[object]]:
    """Megabytes a second of a core by which words are cut, of text in several scripts."""
    text = " ".join(" ".join(words) for words in documents).encode("ascii", "ignore").decode()
    text = text[:SPEED_BYTES]
    latin = text.replace("e", "é").replace("a", "ä")
    greek = text.translate({ord("a") + i: chr(0x3B1 + i % 24) for i in range(26)})
    han = text.translate({ord("a") + i: chr(0x4E00 + 37 * i) for i in range(26)})
    rows: list[list[object]] = []
    for name, said in {"ASCII": text, "accents": latin, "Greek": greek, "Han": han}.items():
        lines = [said[start : start + 4000] for start in range(0, len(said), 4000)]
        given = Documents.from_texts(lines)
        best = np.inf
        for _ in range(3):
            start = time.process_time()
            words_of(given, punctuation=False)
            best = min(best, time.process_time() - start)
        rows.append([name, len(said.encode()) / best / 1e6])
    return rows


def main() -> None:
    """Measure and write the results."""
    documents = pool_words(2 * PAIRS)
    rows = [row(documents, length, rate) for length in LENGTHS for rate in RATES]
    header = ["words", "other words", "Jaccard", "recall", "precision"]
    body = table(header, rows)
    body += "\n\n" + table(["text", "MB/s of a core"], speeds(documents))
    write_results(
        "near_duplicates",
        "Near duplicates",
        settings={
            "command": "python benchmarks/near_duplicates.py",
            "pairs": PAIRS,
            "shingles": f"{SHINGLE} words, similarity {ALIKE} or more",
            "seed": SEED,
        },
        body=body,
    )


if __name__ == "__main__":
    main()
