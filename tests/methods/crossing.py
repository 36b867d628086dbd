"""Run a step that compares documents on texts in a file, and what it decided about each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine.local import Engine
from dataworth.flow.cross_document import run_cross_document
from dataworth.methods.base import Batch, Pool, State, Targets
from dataworth.table.survey import Survey


def decide(step: Any, texts: Sequence[str], folder: Path, **options: Any) -> list[dict[str, Any]]:
    """The columns of each text, after the step was fitted on all of them."""
    path = folder / "pool.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    corpus = Corpus.open(path)
    documents = Documents.from_texts(texts)
    pool = Pool(corpus, Survey(documents=len(texts), sample=documents), Engine(1))
    state = State(step.fit(pool, Targets({})))
    engine = options.pop("engine", Engine(1))
    found = run_cross_document(step, state, corpus, engine, folder / "work", **options)
    return [row for table in found for row in table.to_pylist()]


def kept(rows: Sequence[dict[str, Any]]) -> list[int]:
    return [number for number, row in enumerate(rows) if row["drop"] is None]


def edited(text: str, share: float, draw: np.random.Generator) -> str:
    """The text with a share of its words replaced by words that are nowhere else."""
    words = text.split()
    count = round(share * len(words))
    for place in draw.choice(len(words), count, replace=False):
        words[place] = f"w{draw.integers(10**9)}"
    return " ".join(words)


def jaccard(step: Any, first: str, second: str) -> float:
    """The exact similarity of two texts' shingles, by sets."""
    from dataworth.features.sketches import ShingleSet

    sets = [
        set(one)
        for one in Batch(Documents.from_texts([first, second]))
        .values(ShingleSet(step.shingle))
        .to_pylist()
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])
