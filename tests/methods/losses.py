"""Tables of losses for the methods that learn from them, and fits on pools in files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataworth.corpus.corpus import Corpus
from dataworth.corpus.documents import Documents
from dataworth.engine.local import Engine
from dataworth.methods.base import Targets
from dataworth.methods.fitted import Fitted, learn
from dataworth.methods.pool import Pool
from dataworth.table.survey import Survey

MODELS = 6


def losses_of(good: Sequence[bool], seed: int = 0) -> np.ndarray:
    """Losses [documents, models]: of good ones falling with the model, of others rising."""
    draw = np.random.default_rng(seed)
    rising = np.sort(draw.uniform(1, 3, (len(good), MODELS)), axis=1)
    return np.where(np.array(good)[:, None], rising[:, ::-1], rising)


def write_tables(
    folder: Path, names: Sequence[str], losses: np.ndarray, scores: Sequence[float] | None = None
) -> dict[str, str]:
    """Two files: a row for each document; later models score better."""
    paths = {"losses": str(folder / "losses.csv"), "scores": str(folder / "scores.csv")}
    models = [f"m{number}" for number in range(losses.shape[1])]
    lines = [",".join(["document", *models])]
    lines += [",".join([name, *map(repr, row)]) for name, row in zip(names, losses.tolist())]  # noqa: B905
    Path(paths["losses"]).write_text("\n".join(lines) + "\n")
    points = scores if scores is not None else np.linspace(0.2, 0.7, len(models)).tolist()
    lines = [f"{model},{point}" for model, point in zip(models, points, strict=True)]
    Path(paths["scores"]).write_text("\n".join(["model,exam", *lines]) + "\n")
    return paths


def uids(texts: Sequence[str]) -> list[str]:
    return [f"{uid:016x}" for uid in Documents.from_texts(texts).uid.tolist()]


def fit_on_file(step: Any, texts: Sequence[str], folder: Path) -> Fitted:
    """The step fitted on a pool in a file."""
    path = folder / "pool.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    survey = Survey(documents=len(texts), sample=Documents.from_texts(texts))
    return learn(step, Pool(Corpus.open(path), survey, Engine(1)), Targets({}))
