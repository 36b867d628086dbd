"""Selections on a small fixed slice of the test data, as facts that later versions must repeat.

Each registered step with its own mechanism, each mechanism and each published variant with the
default step.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import dataworth
from contract.cases import EMBEDDED, LIKE, PAIRS, variants
from contract.conftest import write_pairs
from dataworth.corpus.documents import Documents
from dataworth.mechanism.registry import MECHANISMS
from dataworth.methods.registry import DEFAULT, STEPS
from judge_server import standing
from testdata import POOL_SUFFIXES, find_target, read_rows, sample_pool

FILE = Path(__file__).parent / "selections.json"
BUDGET = "15%"
DOCUMENTS = 240
CHARACTERS = 240  # of a text
FEW = 80  # documents for what asks a model about each
QUERIES = 20
SHOWN = 8  # documents whose utilities are written down
DIGITS = 6
NEEDED: dict[str, dict[str, Any]] = {
    "field_in": {"field": "id", "values": ["none"], "keep": False},
    "fineweb": {"line_ends": 0, "short_lines": 1},
    "gopher_quality": {"least_words": 10, "alphabetic": 0.5},
    "known_scores": {"column": "q"},
    "language_id": {"model": ""},
    "ask_llm": {"context": 512},
    **{name: {"embedder": "ngrams", "model": ""} for name in ("embedding_similarity", *EMBEDDED)},
    "fasttext": {"model": "", "buckets": 1000, "dimension": 8},
    "metagradient": {"learning_rate": 1e-4},
}
MADE = ("sequence_classifier", "sklearn")
"""Steps whose model is no language model."""
MECHANISM_OPTIONS = {"threshold": "threshold(at=0.0)"}
"""Of mechanisms that have no defaults."""
VECTORS: dict[str, Any] = {"embed": NEEDED["embed"]}
"""The step before, for mechanisms that compare documents."""
QUERIES_APART = {"embedding_similarity": {**NEEDED["embedding_similarity"], "per_query": True}}
"""The step for mechanisms that choose by single queries."""


class Slice:
    """The pool, the target and a model of random weights, in a folder."""

    def __init__(self, data: Path, folder: Path) -> None:
        files = sorted(p for p in (data / "pool").iterdir() if p.name.endswith(POOL_SUFFIXES))
        rows = [orjson.loads(line) for line in sample_pool(files, documents=300)][:DOCUMENTS]
        target = list(read_rows(find_target(data, "math")))[:QUERIES]
        self.folder = folder
        self.pool = _write(folder / "pool.jsonl", rows)
        self.few = _write(folder / "few.jsonl", rows[:FEW])
        self.target = _write(folder / "target.jsonl", target)
        write_pairs(folder, [row["text"][:CHARACTERS] for row in rows])

    def beside(self, step: str) -> str:
        """Return a file of scores and a list of words, as a step of the name reads it."""
        scores, words = self.folder / "scores.jsonl", self.folder / "words.txt"
        rows = [{"id": row["id"], "q": len(row["text"])} for row in read_rows(self.pool)]
        uid = Documents.from_texts([row["text"] for row in read_rows(self.pool)]).uid.tolist()
        lines = [
            orjson.dumps({**row, "uid": f"{u:016x}"}) for row, u in zip(rows, uid, strict=True)
        ]
        scores.write_bytes(b"\n".join(lines))
        words.write_text("# licence: CC0\nwar\nof course\n")
        return str(scores if "score" in step else words)

    @property
    def model(self) -> str:
        """The model's folder; it is made when it is first asked for."""
        return self._model(0)

    def _model(self, seed: int) -> str:
        from features.models import causal_folder

        folder = self.folder / ("model" if seed == 0 else f"model-{seed}")
        if not folder.exists():
            texts = [row["text"] for row in read_rows(self.pool)]
            causal_folder(folder, texts, hidden=16, seed=seed)
        return str(folder)

    def needed(self, step: str) -> dict[str, Any]:
        """Return the options of a step that are files of the slice: models, tables of losses."""
        there = {field.name for field in fields(STEPS[step])}
        options: dict[str, Any] = {"model": self.model} if "model" in there else {}
        options |= {"models": [self.model]} if "models" in there else {}
        if step == "moore_lewis_models":
            options |= {"models": [self.model, self._model(1)]}
        if "losses" in there:
            from methods.losses import losses_of, uids, write_tables

            texts = [row["text"] for row in read_rows(self.pool)]
            good = [number % 3 == 0 for number in range(len(texts))]
            options |= write_tables(self.folder, uids(texts), losses_of(good))
        return options

    def made(self, step: str) -> str:
        """The model of a step that wants one of its own."""
        from features import models

        path = self.folder / step
        texts = [row["text"] for row in read_rows(self.pool)]
        if step == "sklearn":
            path = path.with_suffix(".skops")
            models.estimator_file(path, texts, [number % 2 == 0 for number in range(len(texts))])
        else:
            models.head_folder(path, texts)
        return str(path)


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    cut = ({"id": row["id"], "text": row["text"][:CHARACTERS]} for row in rows)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in cut))
    return path


def names() -> Iterator[str]:
    """What is selected by: `step`, `step:variant`, or `step + mechanism`."""
    (default,) = DEFAULT
    for step in STEPS:
        yield step
        yield from (f"{step}:{variant}" for variant in variants(STEPS[step]))
    for mechanism, cls in MECHANISMS.items():
        yield f"{default} + {MECHANISM_OPTIONS.get(mechanism, mechanism)}"
        yield from (f"{default} + {mechanism}:{variant}" for variant in variants(cls))


def select(name: str, part: Slice) -> dict[str, Any]:
    """Return what is chosen: the digest of the uids and counts, how much it is, some utilities."""
    step, _, mechanism = name.partition(" + ")
    steps: Any = step
    pool = part.pool
    if ":" not in step:
        there = {field.name for field in fields(STEPS[step])}
        options = part.needed(step)
        options |= standing() if "judge" in there else {}
        options |= NEEDED.get(step, {})
        options |= {"file": part.beside(step)} if "file" in there else {}
        options |= {"benchmarks": [str(part.target)]} if "benchmarks" in there else {}
        files = {"pairs": PAIRS, "like": LIKE}
        content = {f.name for f in fields(STEPS[step]) if f.metadata.get("content")}
        options |= {key: str(part.folder / files[key]) for key in files if key in content}
        options |= {"model": part.made(step)} if step in MADE else {}
        steps = [{step: options}]
        kind = MECHANISMS.get(mechanism.partition("(")[0].partition(":")[0])
        if kind is not None and "embedding" in {field.name for field in fields(kind)}:
            steps = [VECTORS, *steps]
        elif kind is not None and "rule" in {field.name for field in fields(kind)}:
            steps = [*steps, QUERIES_APART]
        pool = part.few if any(options.get(name) for name in ("model", "models")) else pool
    labels = {"id_field": "id"} if step == "field_in" else {}
    chosen = dataworth.select(
        *(pool, {"math": part.target}, BUDGET),
        **{"steps": steps, "mechanism": mechanism or None, "seed": 1, **labels},
    )
    table = chosen.table
    counts = dict(zip(table["uid"].to_pylist(), table["count"].to_pylist(), strict=True))
    listed = "".join(f"{uid:016x} {counts[uid]}\n" for uid in sorted(counts))
    return {
        "digest": hashlib.sha256(listed.encode()).hexdigest()[:32],
        "documents": sum(counts.values()),
        "tokens": sum(
            tokens * count
            for tokens, count in zip(
                table["tokens"].to_pylist(), table["count"].to_pylist(), strict=True
            )
        ),
        "utilities": _some(chosen.scores),
    }


def _some(scores: dataworth.Scores) -> dict[str, Any]:
    """Of each utility its mean and spread, and those of the documents of least uid."""
    rows = scores.to_arrow().sort_by("uid")
    found: dict[str, Any] = {}
    for name in scores.table.utilities:
        values = [math.nan if value is None else value for value in rows[name].to_pylist()]
        kept = np.array([value for value in values if not math.isnan(value)])
        uids = rows["uid"].to_pylist()[:SHOWN]
        found[name] = {
            "scored": len(kept),
            "mean": rounded(kept.mean()),
            "deviation": rounded(kept.std()),
            **{f"{uid:016x}": rounded(v) for uid, v in zip(uids, values, strict=False)},
        }
    return found


def rounded(value: float) -> float | None:
    """Return the value with few digits, None where there is none."""
    return None if math.isnan(value) else float(f"{value:.{DIGITS}g}")
