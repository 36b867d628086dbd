"""BM25 and embedding similarity against plain computations."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dataworth.errors import ConfigError, DataworthError
from dataworth.features.embeddings import NgramProjection
from dataworth.methods.bm25 import BM25
from dataworth.methods.embedding_similarity import EmbeddingSimilarity
from dataworth.methods.fitted import Fitted
from methods.fitting import docs, fit, utility

POOL = ["the cat sat on the mat", "a dog ran", "two and two are four", "the cat and the dog"]
TARGET = ["two cats and two dogs are four", "four and two", "two two two"]
SOME = [*POOL, "two", "the two two two cat", "unseen words only", " "]


def plain(text: str, step: BM25, queries: list[str] = TARGET) -> float:
    """The definition, word by word."""
    pool = [text.split() for text in POOL]
    mean = sum(map(len, pool)) / len(pool)
    words = Counter(text.split())
    total = 0.0
    for query in queries:
        for word in set(query.split()):
            held = sum(word in one for one in pool)
            rarity = math.log(1 + (len(pool) - held + 0.5) / (held + 0.5))
            full = step.k1 * (1 - step.b + step.b * sum(words.values()) / mean)
            total += rarity * words[word] * (step.k1 + 1) / (words[word] + full)
    return total / len(queries)


@pytest.mark.parametrize("step", [BM25(), BM25(k1=0.5, b=0.0), BM25(k1=2.0, b=1.0)])
def test_bm25_is_the_mean_over_queries(step: BM25) -> None:
    fitted = fit(step, POOL, {"sums": TARGET})
    told = utility(fitted, SOME)
    assert told[:-1] == pytest.approx([plain(text, step) for text in SOME[:-1]], rel=1e-5)
    assert told[-1] is None
    batch = fitted.annotate(docs(SOME))
    assert batch.column("drop").to_pylist()[-1] == "without a word"


def test_bm25_alone_saved_and_explained(tmp_path: Path) -> None:
    step = BM25()
    fitted = fit(step, POOL, {"a": TARGET, "b": ["a dog"]})
    whole = fitted.annotate(docs(SOME))
    alone = [fitted.annotate(docs([text])).column(1)[0].as_py() for text in SOME]
    assert alone == whole.column(1).to_pylist()
    fitted.save(tmp_path)
    assert Fitted.load(step, tmp_path).annotate(docs(SOME)).equals(whole)
    parts = fitted.explain(SOME[5], "utility:bm25:a")
    assert sum(value for _, value in parts) == pytest.approx(whole.column(0)[5].as_py(), rel=1e-5)
    assert parts[0][0] == "two"


def test_bm25_without_words() -> None:
    with pytest.raises(DataworthError, match="'empty'"):
        fit(BM25(), POOL, {"empty": [" "]})
    with pytest.raises(DataworthError, match="sample"):
        fit(BM25(), [" "], {"sums": TARGET})
    for options in ({"k1": -1.0}, {"b": 2.0}):
        with pytest.raises(ConfigError):
            BM25(**options)


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("nearest", [0, 1, 2, 9])
def test_similarity_is_the_mean_cosine_of_the_nearest(centre: bool, nearest: int) -> None:
    step = EmbeddingSimilarity("ngrams", nearest=nearest, centre=centre)
    told = utility(fit(step, POOL, {"sums": TARGET}), SOME[:-1])
    embedder = NgramProjection()
    mean = embedder.embed(POOL).mean(0) if centre else 0.0

    def unit(texts: list[str]) -> np.ndarray:
        rows = embedder.embed(texts) - mean
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    cosines = np.sort(unit(SOME[:-1]) @ unit(TARGET).T, axis=1)
    keep = min(nearest or len(TARGET), len(TARGET))
    assert told == pytest.approx(cosines[:, -keep:].mean(1), abs=1e-5)


def test_similarity_saved_and_refused(tmp_path: Path) -> None:
    step = EmbeddingSimilarity("ngrams", nearest=2)
    fitted = fit(step, POOL, {"sums": TARGET, "more": POOL})
    fitted.save(tmp_path)
    wanted = fitted.annotate(docs(SOME))
    assert Fitted.load(step, tmp_path).annotate(docs(SOME)).equals(wanted)
    facts = (tmp_path / "step.json").read_text()
    (tmp_path / "step.json").write_text(facts.replace('"embedder": "', '"embedder": "x'))
    with pytest.raises(DataworthError, match="another embedding model"):
        Fitted.load(step, tmp_path).annotate(docs(SOME))
    with pytest.raises(ConfigError, match="needs model"):
        EmbeddingSimilarity("states")
    with pytest.raises(ConfigError, match="embedder must be"):
        EmbeddingSimilarity("images")  # type: ignore[arg-type]
